/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * modes/l2dsr.py: the two MAC addresses and nothing else.
 */
#ifndef DSRLB_XDP_L2DSR_H
#define DSRLB_XDP_L2DSR_H

#include "frame.h"
#include "sampling.h"

static ALWAYS_INLINE void readdress_link(struct ethhdr *link, const struct hop *hop)
{
    const __u32 *from = (const __u32 *)hop->dst_mac; /* both MACs: they lie side by side in either */
    __u32 *to = (__u32 *)link->h_dest;

    to[0] = from[0];
    to[1] = from[1];
    to[2] = from[2];
}

/* The way to a target; 0: there is none now. */
static ALWAYS_INLINE const struct hop *hop_to(const struct target *target)
{
    __u32 place = target->hop_in_use;

    if (place > 1)
        return 0;
    UNKNOWN(place);
    return &target->hop[place & 1];
}

static ALWAYS_INLINE int send_l2dsr(struct xdp_md *ctx)
{
    struct ethhdr *link = (void *)(long)ctx->data;
    struct job *job = this_job();
    struct target *target = job ? bpf_map_lookup_elem(&targets, &job->target) : 0;
    const struct hop *hop;

    if (!target || (void *)(link + 1) > (void *)(long)ctx->data_end)
        return hand_over();
    hop = hop_to(target);
    if (!hop)
        return stop(BACKEND_UNRESOLVED);
    readdress_link(link, hop);
    count_sent(job->target, frame_bytes(ctx), job->reason);
    sample(job);
    return send_by(ctx, hop->ifindex);
}

#endif
