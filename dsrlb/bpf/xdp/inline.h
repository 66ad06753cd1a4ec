/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * modes/inline.py, the way to the server: a client's packet gets the server's address and port as
 * destination, and with snat an address and a port of the balancer's as source.  The story is told there; the
 * other way is reply.h.
 */
#ifndef DSRLB_XDP_INLINE_H
#define DSRLB_XDP_INLINE_H

#include "forward.h"
#include "fragments.h"
#include "l2dsr.h"
#include "naming.h"
#include "readdress.h"
#include "sampling.h"

/* Tell a client that its new flow, or a packet that has come too far, goes no further. */
static ALWAYS_INLINE int refuse(struct xdp_md *ctx, struct job *job, __u8 told, __u8 silent)
{
    job->told = told;
    job->silent = silent;
    return go_on(ctx, TELL);
}

/* Tell the name that a packet's answer has, and its target.  A later piece only needs the addresses.  Returns
 * 0, or the Reason why not. */
static ALWAYS_INLINE int name_packet(struct xdp_md *ctx, struct job *job, const struct service *service)
{
    const struct target *target;

    if (!job->is_fragment || job->is_first)
        return tell_name(ctx, job, service);
    target = bpf_map_lookup_elem(&targets, &job->target);
    if (!target)
        return NO_BACKEND;
    job->name.src = target->address;
    job->name.dst = service->flags & SNAT ? service->source : job->key.src;
    return 0;
}

/* Stop a packet that has no name. */
static ALWAYS_INLINE int stop_unnamed(struct xdp_md *ctx, struct job *job, int why)
{
    if (why == REFUSED || why == SNAT_EXHAUSTED)
        return refuse(ctx, job, why, why);
    return stop(why == LOST_RACE ? REFUSED : why);
}

/* Send a packet, which fits, to its target. */
static ALWAYS_INLINE int send_to_server(struct xdp_md *ctx, const struct job *job, const struct hop *hop)
{
    __u64 octets = frame_bytes(ctx);
    struct ethhdr link;

    readdress_link(&link, hop);
    link.h_proto = bpf_htons(job->version == 4 ? ETH_P_IP : ETH_P_IPV6);
    if (!readdress(ctx, job, &job->name, (const __u8 *)&link, sizeof(link)))
        return XDP_ABORTED; /* cannot be: a frame may begin a little later */
    count_sent(job->target, octets, job->reason);
    sample(job);
    return send_by(ctx, hop->ifindex);
}

static ALWAYS_INLINE int send_inline(struct xdp_md *ctx)
{
    struct job *job = this_job();
    struct service *service = job ? bpf_map_lookup_elem(&services, &job->service) : 0;
    const struct target *target;
    const struct hop *hop;
    int why;

    if (!job || !service)
        return hand_over();
    why = name_packet(ctx, job, service);
    target = bpf_map_lookup_elem(&targets, &job->target);
    if (why || !target)
        return stop_unnamed(ctx, job, why);
    if (job->is_fragment && job->is_first)
        remember_piece(job);
    hop = hop_to(target);
    if (!hop)
        return stop(BACKEND_UNRESOLVED);
    if (!lives_on(ctx, job))
        return refuse(ctx, job, TTL_EXCEEDED, TTL_DROPPED);
    if (is_aggregate(ctx, job))
        return hand_over();
    if (target->mtu_bytes && job->end - job->l3_at > target->mtu_bytes)
        return refuse_long(ctx, job, target->mtu_bytes);
    return send_to_server(ctx, job, hop);
}

#endif
