/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * modes/l3dsr.py: the client's packet wrapped in another IP header.
 */
#ifndef DSRLB_XDP_L3DSR_H
#define DSRLB_XDP_L3DSR_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>

#include "l2dsr.h"
#include "steps.h"

#define HOP_LIMIT 64

/* Write link and outer header of an IPv4 packet to an IPv4 server: the frame already begins 20 bytes earlier. */
static ALWAYS_INLINE void wrap_ipip(struct ethhdr *link, const struct hop *hop, const struct target *target,
                                    __u8 tos, __u16 inner_bytes)
{
    struct iphdr *outer = (struct iphdr *)(link + 1);
    __u16 bytes = inner_bytes + sizeof(*outer);
    __u32 sum = target->outer_sum + tos + bytes;

    readdress_link(link, hop);
    link->h_proto = bpf_htons(ETH_P_IP);
    *(__be32 *)outer = bpf_htonl(0x45000000 | tos << 16 | bytes);
    *(__be32 *)&outer->id = bpf_htonl(0x4000); /* identification 0, DF */
    *(__be16 *)&outer->ttl = bpf_htons(HOP_LIMIT << 8 | IPPROTO_IPIP);
    sum = (sum & 0xffff) + (sum >> 16);
    outer->check = bpf_htons(~(sum + (sum >> 16)) & 0xffff);
    outer->saddr = target->source4;
    outer->daddr = target->address.word[3];
}

static ALWAYS_INLINE int send_l3dsr(struct xdp_md *ctx)
{
    (void)ctx;
    return hand_over();
}

#endif
