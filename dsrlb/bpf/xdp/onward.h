/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * A packet whose target is known goes on to be rewritten.
 */
#ifndef DSRLB_XDP_ONWARD_H
#define DSRLB_XDP_ONWARD_H

#include <linux/in.h>

#include "fragments.h"
#include "front.h"
#include "states.h"

/* Whether a packet is longer than its interface takes: the kernel has put it together of several. */
static ALWAYS_INLINE int is_aggregate(const struct xdp_md *ctx, const struct job *job)
{
    const struct interface *here = interface_of(ctx->ingress_ifindex);

    return here && here->mtu_bytes && job->end - job->l3_at > here->mtu_bytes;
}

/* No target takes a packet: who opens a flow may be told so. */
static ALWAYS_INLINE int go_nowhere(struct xdp_md *ctx, struct job *job, const struct service *service)
{
    if (!(service->flags & REFUSES) || (job->protocol == IPPROTO_TCP && !is_opening(job->tcp_flags)))
        return stop(service->slot_count ? BACKEND_UNRESOLVED : NO_BACKEND);
    job->told = job->silent = REFUSED;
    return go_on(ctx, TELL);
}

/* Go on to the service's mode with job->target, if there is one. */
static ALWAYS_INLINE int go_to_target(struct xdp_md *ctx, struct job *job, const struct service *service)
{
    note_target(job->target);
    if (!job->target)
        return go_nowhere(ctx, job, service);
    job->reason = FORWARDED;
    job->samples = (service->flags & SAMPLES) != 0;
    if (service->mode == INLINE)
        return go_on(ctx, MODE_INLINE);
    if (job->is_fragment)
        remember_piece(job);
    if (is_aggregate(ctx, job))
        return hand_over();
    return service->mode == L2DSR ? go_on(ctx, MODE_L2DSR) : go_on(ctx, MODE_L3DSR);
}

#endif
