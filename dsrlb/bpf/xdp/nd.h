/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#ifndef DSRLB_XDP_ND_H
#define DSRLB_XDP_ND_H

#include <linux/in.h>

#include "frame.h"

static ALWAYS_INLINE int is_nd(struct xdp_md *ctx, const struct job *job)
{
    const __u8 *type;

    if (job->version != 6 || job->protocol != IPPROTO_ICMPV6 || job->is_fragment)
        return 0;
    type = part_of(ctx, job->l4_at, sizeof(*type));
    return type && (*type == 135 || *type == 136);
}

static ALWAYS_INLINE int answer_nd(struct xdp_md *ctx, const struct job *job, const struct interface *here)
{
    (void)ctx;
    (void)job;
    (void)here;
    return hand_over();
}

#endif
