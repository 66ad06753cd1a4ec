/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * answers.answer_arp: who-has for a VIP is answered, since the host does not own it.
 *
 *     0       2       4  5  6       8        14       18       24       28
 *     +-------+-------+--+--+-------+--------+--------+--------+--------+
 *     | 1     | 0x800 |6 |4 | op    |snd MAC | snd IP |tgt MAC | tgt IP |
 *     +-------+-------+--+--+-------+--------+--------+--------+--------+
 *
 * Source: RFC 826; RFC 5227 for probes and announcements.
 */
#ifndef DSRLB_XDP_ARP_H
#define DSRLB_XDP_ARP_H

#include "frame.h"
#include "front.h"

#define ARP_ETHERNET 1
#define ARP_REQUEST 1
#define ARP_ANSWER 2

struct arp {
    __be16 hardware, protocol;
    __u8 hardware_bytes, protocol_bytes;
    __be16 operation;
    __u8 sender_mac[ETH_ALEN];
    __be32 sender;
    __u8 target_mac[ETH_ALEN];
    __be32 target;
} __attribute__((packed));

static ALWAYS_INLINE int is_ipv4_vip(__be32 address)
{
    struct address mapped = {.word = {0, 0, MAPPED, address}};

    return is_vip(&mapped);
}

static ALWAYS_INLINE int is_arp_for_ipv4(const struct arp *asked)
{
    return asked->hardware == bpf_htons(ARP_ETHERNET) && asked->protocol == bpf_htons(ETH_P_IP) &&
           asked->hardware_bytes == ETH_ALEN && asked->protocol_bytes == sizeof(__be32);
}

/* Say, in the place of the frame that asked: the address is at this MAC.  VLAN tags are kept. */
static ALWAYS_INLINE int reply_arp(struct xdp_md *ctx, __u32 at, const struct interface *here)
{
    struct ethhdr *link;
    struct arp *arp;
    __be32 asked_for;

    if (cut_at(ctx, at + sizeof(*arp)))
        return hand_over();
    link = part_of(ctx, 0, sizeof(*link));
    arp = part_of(ctx, at, sizeof(*arp));
    if (!link || !arp)
        return hand_over(); /* cannot be: the frame was cut behind them */
    turn_back(link);
    __builtin_memcpy(link->h_source, here->mac, ETH_ALEN);
    asked_for = arp->target;
    arp->operation = bpf_htons(ARP_ANSWER);
    __builtin_memcpy(arp->target_mac, arp->sender_mac, ETH_ALEN);
    arp->target = arp->sender;
    __builtin_memcpy(arp->sender_mac, here->mac, ETH_ALEN);
    arp->sender = asked_for;
    count_reason(ARP_REPLY);
    return XDP_TX;
}

/* Answer who-has for a VIP; notice anyone else who claims one. */
static ALWAYS_INLINE int answer_arp(struct xdp_md *ctx, const struct job *job, const struct interface *here)
{
    const struct ethhdr *link = part_of(ctx, 0, sizeof(*link));
    const struct arp *asked = part_of(ctx, job->l3_at, sizeof(*asked));
    int is_own;

    if (!here || !has_mac(here) || !link || !asked || !is_arp_for_ipv4(asked))
        return stop(ARP_OTHER);
    is_own = is_same_mac(asked->sender_mac, here->mac);
    if (!is_own && is_ipv4_vip(asked->sender))
        return stop(VIP_CONFLICT);
    if (is_own || asked->operation != bpf_htons(ARP_REQUEST) || !is_ipv4_vip(asked->target))
        return stop(ARP_OTHER);
    if (!(link->h_dest[0] & 1) && !is_same_mac(link->h_dest, here->mac))
        return stop(ARP_OTHER);
    return reply_arp(ctx, job->l3_at, here);
}

#endif
