/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * A packet whose target is known goes on to be rewritten.
 */
#ifndef DSRLB_XDP_ONWARD_H
#define DSRLB_XDP_ONWARD_H

#include "fragments.h"
#include "front.h"

/* Whether a packet is longer than its interface takes: the kernel has put it together of several. */
static ALWAYS_INLINE int is_aggregate(const struct xdp_md *ctx, const struct job *job)
{
    const struct interface *here = interface_of(ctx->ingress_ifindex);

    return here && here->mtu_bytes && job->end - job->l3_at > here->mtu_bytes;
}

/* Go on to the service's mode with job->target, if there is one. */
static ALWAYS_INLINE int go_to_target(struct xdp_md *ctx, struct job *job, const struct service *service)
{
    if (!job->target)
        return stop(service->slot_count ? BACKEND_UNRESOLVED : NO_BACKEND);
    job->reason = FORWARDED;
    if (service->mode == INLINE)
        return go_on(ctx, MODE_INLINE);
    if (job->is_fragment)
        remember_piece(job);
    if (is_aggregate(ctx, job))
        return hand_over();
    return service->mode == L2DSR ? go_on(ctx, MODE_L2DSR) : go_on(ctx, MODE_L3DSR);
}

#endif
