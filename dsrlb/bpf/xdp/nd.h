/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * answers.answer_nd: a neighbour solicitation for a VIP is answered, since the host does not own it.
 *
 *     0     1     2           4                 8                24    25    26                32
 *     +-----+-----+-----------+-----------------+----------------+-----+-----+-----------------+
 *     |135  | 0   | checksum  | 0               | target         | options, or none            |  solicited
 *     |136  | 0   | checksum  | R S O, 0        | target         | 2   | 1   | MAC             |  advertised
 *     +-----+-----+-----------+-----------------+----------------+-----+-----+-----------------+
 *
 * Source: RFC 4861, sections 4.3, 4.4, 7.1.1 and 7.1.2.
 */
#ifndef DSRLB_XDP_ND_H
#define DSRLB_XDP_ND_H

#include <linux/in.h>

#include "csum.h"
#include "front.h"
#include "ipv6.h"

#define SOLICITATION 135
#define ADVERTISEMENT 136
#define SOLICITED_OVERRIDE bpf_htonl(0x60000000)
#define OVERRIDE bpf_htonl(0x20000000)
#define ND_HOP_LIMIT 255

struct neighbour_message {
    __u8 type, code;
    __be16 sum;
    __be32 flags;
    struct address target;
};

struct advertisement {
    struct neighbour_message said;
    __u8 option, option_words; /* target link-layer address: 2; 1: eight bytes */
    __u8 mac[ETH_ALEN];
};

/* What an advertisement is made of, once the solicitation is overwritten. */
struct solicited {
    struct address target; /* VIP */
    struct address to;
    __u8 to_mac[ETH_ALEN];
    __be32 flags;
};

/* Whether a packet is a neighbour solicitation or advertisement. */
static ALWAYS_INLINE int is_nd(struct xdp_md *ctx, const struct job *job)
{
    const __u8 *type;

    if (job->version != 6 || job->protocol != IPPROTO_ICMPV6 || job->is_fragment)
        return 0;
    type = part_of(ctx, job->l4_at, sizeof(*type));
    return type && (*type == SOLICITATION || *type == ADVERTISEMENT);
}

/* The message, if it is whole and its target a VIP. */
static ALWAYS_INLINE struct neighbour_message *message_about_vip(struct xdp_md *ctx, const struct job *job)
{
    struct neighbour_message *message = part_of(ctx, job->l4_at, sizeof(*message));
    struct address target;

    if (!message || job->end - job->l4_at < sizeof(*message))
        return 0;
    target = message->target;
    return !is_mapped(&target) && is_vip(&target) ? message : 0;
}

/* Whether the message is to be heeded: it is from this very link. */
static ALWAYS_INLINE int is_sound_nd(struct xdp_md *ctx, const struct job *job,
                                     const struct neighbour_message *message)
{
    const struct ipv6hdr *ip = part_of(ctx, job->l3_at, sizeof(*ip));
    __u32 bytes = job->end - job->l4_at;

    if (!ip || ip->hop_limit != ND_HOP_LIMIT || message->code)
        return 0;
    return folded(sum_of(ctx, job->l4_at, bytes) +
                  sum_of_pseudo(&job->key.src, &job->key.dst, bytes, IPPROTO_ICMPV6)) == 0xffff;
}

/* To whom the answer goes: one without a source is another's duplicate address detection, answered to all. */
static ALWAYS_INLINE void note_solicited(struct solicited *asked, const struct job *job,
                                         const struct ethhdr *link, const struct neighbour_message *message)
{
    static const __u8 all_nodes_mac[ETH_ALEN] = {0x33, 0x33, 0, 0, 0, 1}; /* RFC 2464, section 7 */

    asked->target = message->target;
    if (is_zero(&job->key.src)) {
        asked->to = (struct address){.word = {bpf_htonl(0xff020000), 0, 0, bpf_htonl(1)}};
        __builtin_memcpy(asked->to_mac, all_nodes_mac, ETH_ALEN);
        asked->flags = OVERRIDE;
    } else {
        asked->to = job->key.src;
        __builtin_memcpy(asked->to_mac, link->h_source, ETH_ALEN);
        asked->flags = SOLICITED_OVERRIDE;
    }
}

/* Say, in the place of the frame that asked: the target is at this MAC.  VLAN tags are kept. */
static ALWAYS_INLINE int advertise(struct xdp_md *ctx, __u32 l3_at, const struct solicited *asked,
                                   const struct interface *here)
{
    struct advertisement answer = {{ADVERTISEMENT, 0, 0, asked->flags, asked->target}, 2, 1, {}};
    const __u32 *word = (const __u32 *)&answer;
    struct {
        struct ipv6hdr ip;
        struct advertisement answer;
    } *out;
    struct ethhdr *link;
    __u64 sum = sum_of_pseudo(&asked->target, &asked->to, sizeof(answer), IPPROTO_ICMPV6);

    if (cut_at(ctx, l3_at + sizeof(*out)))
        return hand_over();
    link = part_of(ctx, 0, sizeof(*link));
    out = part_of(ctx, l3_at, sizeof(*out));
    if (!link || !out)
        return hand_over(); /* cannot be: the frame was cut behind them */
    __builtin_memcpy(answer.mac, here->mac, ETH_ALEN);
#pragma unroll
    for (__u32 i = 0; i < sizeof(answer) / sizeof(*word); i++)
        sum += word[i];
    answer.said.sum = checksum(sum);
    __builtin_memcpy(link->h_dest, asked->to_mac, ETH_ALEN);
    __builtin_memcpy(link->h_source, here->mac, ETH_ALEN);
    write_ipv6(&out->ip, &asked->target, &asked->to, IPPROTO_ICMPV6, sizeof(answer), ND_HOP_LIMIT);
    out->answer = answer;
    count_reason(ND_REPLY);
    return XDP_TX;
}

/* Answer a neighbour solicitation for a VIP; notice anyone else who advertises one. */
static ALWAYS_INLINE int answer_nd(struct xdp_md *ctx, const struct job *job, const struct interface *here)
{
    const struct ethhdr *link = part_of(ctx, 0, sizeof(*link));
    const struct neighbour_message *message = message_about_vip(ctx, job);
    struct solicited asked = {};

    if (!here || !has_mac(here) || !link || !message || is_same_mac(link->h_source, here->mac))
        return stop(ND_OTHER);
    if (!(link->h_dest[0] & 1) && !is_same_mac(link->h_dest, here->mac))
        return stop(NOT_FOR_US);
    if (job->end - job->l4_at > SUM_MOST)
        return hand_over();
    if (!is_sound_nd(ctx, job, message))
        return stop(MALFORMED);
    if (!is_zero(&job->key.src) && is_ipv6_martian(&job->key.src))
        return stop(MARTIAN_SOURCE);
    if (message->type == ADVERTISEMENT || is_vip(&job->key.src))
        return stop(VIP_CONFLICT);
    note_solicited(&asked, job, link, message);
    return advertise(ctx, job->l3_at, &asked, here);
}

#endif
