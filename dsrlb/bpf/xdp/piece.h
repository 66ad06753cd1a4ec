/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * datapath._later_fragment: a later piece goes where its first one went, if that is still a backend of the
 * service.
 */
#ifndef DSRLB_XDP_PIECE_H
#define DSRLB_XDP_PIECE_H

#include <linux/in.h>

#include "fragments.h"

static ALWAYS_INLINE int piece(struct xdp_md *ctx)
{
    const struct fragment_owner *owner;
    const struct service *service;
    const struct target *target;
    struct job *job = this_job();
    __u32 id, *index;

    if (!job)
        return hand_over();
    if (job->version == 4 && job->protocol == IPPROTO_ICMP)
        return stop(ICMP_IGNORED); /* IPv6 names its protocol for sure in the first piece only */
    owner = owner_of_piece(job);
    if (!owner)
        return hand_over();
    id = owner->service;
    job->target = owner->target;
    index = bpf_map_lookup_elem(&current, &id);
    target = bpf_map_lookup_elem(&targets, &job->target);
    if (!index || !*index || !target || target->service != id || !(target->flags & MEMBER))
        return stop(NO_BACKEND);
    job->service = *index;
    job->reason = FRAGMENT_FORWARDED;
    service = bpf_map_lookup_elem(&services, &job->service);
    return service ? go_on(ctx, MODE_L2DSR + service->mode) : hand_over();
}

#endif
