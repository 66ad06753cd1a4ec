/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * The least that a balancer can do, which all is timed against: two MAC addresses swapped, the frame sent back.
 */
#ifndef DSRLB_FLOOR_H
#define DSRLB_FLOOR_H

#include "helpers.h"

static ALWAYS_INLINE int send_back(struct xdp_md *ctx)
{
    __u16 *mac = (void *)(long)ctx->data, old[3];

    if ((void *)(mac + 7) > (void *)(long)ctx->data_end)
        return XDP_ABORTED;
    __builtin_memcpy(old, mac, 6);
    __builtin_memcpy(mac, mac + 3, 6);
    __builtin_memcpy(mac + 3, old, 6);
    return XDP_TX;
}

#endif
