/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * datapath._forward: a TCP or UDP packet goes to the target that owns its flow, or to one picked for it.
 */
#ifndef DSRLB_XDP_FORWARD_H
#define DSRLB_XDP_FORWARD_H

#include <linux/in.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include "frame.h"
#include "onward.h"
#include "pick.h"

/* Read ports and flags; returns whether the header is sound (l4.tcp_is_sound). */
static ALWAYS_INLINE int read_tcp(struct xdp_md *ctx, struct job *job)
{
    struct tcphdr *tcp = part_of(ctx, job->l4_at, sizeof(*tcp));
    __u32 l4_bytes = job->end - job->l4_at, header_bytes;

    if (!tcp || l4_bytes < sizeof(*tcp))
        return 0;
    header_bytes = ((__u8 *)tcp)[12] >> 4 << 2;
    job->key.sport = tcp->source;
    job->key.dport = tcp->dest;
    job->tcp_flags = ((__u8 *)tcp)[13];
    return sizeof(*tcp) <= header_bytes && header_bytes <= l4_bytes;
}

/* The same of UDP (l4.udp_is_sound): of a first piece, the rest of the datagram is in later ones. */
static ALWAYS_INLINE int read_udp(struct xdp_md *ctx, struct job *job)
{
    struct udphdr *udp = part_of(ctx, job->l4_at, sizeof(*udp));
    __u32 l4_bytes = job->end - job->l4_at, udp_bytes;

    if (!udp || l4_bytes < sizeof(*udp))
        return 0;
    udp_bytes = bpf_ntohs(udp->len);
    job->key.sport = udp->source;
    job->key.dport = udp->dest;
    job->tcp_flags = 0;
    return sizeof(*udp) <= udp_bytes && (job->is_fragment || udp_bytes <= l4_bytes);
}

static ALWAYS_INLINE int forward(struct xdp_md *ctx)
{
    struct job *job = this_job();
    const struct service *service;
    struct seen *seen;

    if (!job)
        return hand_over();
    if (!(job->protocol == IPPROTO_TCP ? read_tcp(ctx, job) : read_udp(ctx, job)))
        return stop(MALFORMED);
    job->service = find_service(&job->key.dst, job->key.dport, job->protocol);
    service = bpf_map_lookup_elem(&services, &job->service);
    if (!job->service || !service)
        return stop(NO_SERVICE);
    job->hash = hash_of_flow(&job->key);
    seen = see(service, &job->key, job->hash);
    if (!seen)
        return hand_over();
    seen->is_tcp = job->protocol == IPPROTO_TCP;
    seen->tcp_flags = job->tcp_flags;
    seen->opens = seen->is_tcp && is_opening(job->tcp_flags);
    job->target = pick_backend(service, seen);
    return job->target == BEGINS ? go_on(ctx, BEGIN) : go_to_target(ctx, job, service);
}

#endif
