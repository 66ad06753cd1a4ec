/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * modes/l2dsr.py: the two MAC addresses and nothing else.
 */
#ifndef DSRLB_XDP_L2DSR_H
#define DSRLB_XDP_L2DSR_H

#include <linux/if_ether.h>

#include "steps.h"

static ALWAYS_INLINE void readdress_link(struct ethhdr *link, const struct hop *hop)
{
    __builtin_memcpy(link->h_dest, hop->dst_mac, 2 * ETH_ALEN); /* both: they lie side by side in either */
}

static ALWAYS_INLINE int send_l2dsr(struct xdp_md *ctx)
{
    (void)ctx;
    return hand_over();
}

#endif
