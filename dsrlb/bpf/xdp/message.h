/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
#ifndef DSRLB_XDP_MESSAGE_H
#define DSRLB_XDP_MESSAGE_H

#include "steps.h"

static ALWAYS_INLINE int message(struct xdp_md *ctx)
{
    (void)ctx;
    return hand_over();
}

#endif
