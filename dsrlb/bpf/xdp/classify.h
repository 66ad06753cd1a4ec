/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * datapath.decide, up to knowing what a frame is.  Whose a frame is comes before what is wrong with it: the
 * host's own frames are never dropped.
 */
#ifndef DSRLB_XDP_CLASSIFY_H
#define DSRLB_XDP_CLASSIFY_H

#include <linux/in.h>

#include "arp.h"
#include "front.h"
#include "ipv4.h"
#include "ipv6.h"
#include "nd.h"

/* Whether inline services exist: then answers of their servers are looked for. */
static ALWAYS_INLINE int has_servers(void)
{
    __u32 zero = 0;
    struct setup *all = bpf_map_lookup_elem(&setup, &zero);

    return all && all->has_servers;
}

/* Begin a job: nothing of the frame before it is left where it is read. */
static ALWAYS_INLINE void begin(struct job *job, __u16 l3_at)
{
    job->l3_at = l3_at;
    job->is_fragment = job->is_first = job->samples = 0;
    *(__u64 *)&job->key.sport = 0; /* and all behind */
    *(__u64 *)job->datagram.rest = 0;
    FORGET(); /* how many tags there were: else all that follows is verified once for each number */
}

static ALWAYS_INLINE int is_icmp(const struct job *job)
{
    return job->protocol == (job->version == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
}

/* Stop a packet that cannot be read: if it is not for a VIP, it is the host's. */
static ALWAYS_INLINE int stop_unread(const struct job *job, int why, int is_ours)
{
    if (why == NOT_IP)
        return stop(why);
    if (!is_ours)
        return stop(NOT_FOR_US);
    if (job->version == 6 && is_mapped(&job->key.dst))
        return stop(NOT_VIP);
    return stop(is_vip(&job->key.dst) ? why : NOT_VIP);
}

/* Go on with a packet to an interface of ours by what it is, if it is to a VIP.  ICMP about tunnels is to the
 * host's own address: the packet engine hears it where it passes. */
static ALWAYS_INLINE int go_on_by_kind(struct xdp_md *ctx, const struct job *job)
{
    if (!is_vip(&job->key.dst))
        return stop(NOT_VIP);
    if (job->version == 4 ? is_ipv4_martian(&job->key.src) : is_ipv6_martian(&job->key.src))
        return stop(MARTIAN_SOURCE);
    if (is_vip(&job->key.src))
        return stop(MARTIAN_SOURCE);
    if (job->is_fragment && !job->is_first)
        return go_on(ctx, PIECE);
    if (job->protocol == IPPROTO_TCP || job->protocol == IPPROTO_UDP)
        return go_on(ctx, FORWARD);
    return is_icmp(job) ? go_on(ctx, MESSAGE) : stop(PROTOCOL_UNKNOWN);
}

static ALWAYS_INLINE int classify(struct xdp_md *ctx)
{
    struct interface *here = interface_of(ctx->ingress_ifindex);
    struct ethhdr *link = part_of(ctx, 0, sizeof(*link));
    struct job *job = this_job();
    int is_ours, why = NOT_IP;
    __u16 l3_at = 0;
    __be16 type;

    if (!job || !link)
        return hand_over();
    is_ours = is_to_us(link, here);
    type = skip_tags(ctx, &l3_at);
    begin(job, l3_at);
    if (type == bpf_htons(ETH_P_ARP))
        return answer_arp(ctx, job, here);
    if (type == bpf_htons(ETH_P_IP))
        why = read_ipv4(ctx, job);
    else if (type == bpf_htons(ETH_P_IPV6))
        why = read_ipv6(ctx, job);
    if (why)
        return stop_unread(job, why, is_ours);
    FORGET(); /* by which way the packet was read */
    if (is_nd(ctx, job))
        return answer_nd(ctx, job, here);
    if (!is_ours)
        return stop(NOT_FOR_US);
    return has_servers() ? go_on(ctx, REPLY) : go_on_by_kind(ctx, job);
}

/* The step behind `reply`, for what is not an answer of a server. */
static ALWAYS_INLINE int own(struct xdp_md *ctx)
{
    struct job *job = this_job();

    return job ? go_on_by_kind(ctx, job) : hand_over();
}

#endif
