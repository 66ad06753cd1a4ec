/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * wire/ipv4.py: the header of an IPv4 packet.
 *
 *     0     1     2           4           6           8     9     10          12       16       20
 *     +-----+-----+-----------+-----------+-----------+-----+-----+-----------+--------+--------+- -
 *     |4|IHL| TOS | length    | ident     |fl| offset | TTL |proto| checksum  | source | dest   | options
 *     +-----+-----+-----------+-----------+-----------+-----+-----+-----------+--------+--------+- -
 *
 * Source: RFC 791, section 3.1.
 */
#ifndef DSRLB_XDP_IPV4_H
#define DSRLB_XDP_IPV4_H

#include <linux/ip.h>

#include "csum.h"
#include "frame.h"
#include "hash.h"

#define IPV4_OFFSET 0x1fff
#define IPV4_MORE_AND_OFFSET 0x3fff
#define MOST_IPV4_WORDS 15
#define HOP_LIMIT 64 /* of packets of the balancer's own, IPv6 as well */

/* Whether a header of so many 32-bit words, whole in the frame, adds up. */
static ALWAYS_INLINE int adds_up(struct xdp_md *ctx, __u32 at, __u32 words)
{
    __u64 sum = 0;

    for (__u32 i = 0; i < MOST_IPV4_WORDS && i < words; i++) {
        __u32 *word = part_of(ctx, at + 4 * i, sizeof(*word));

        if (!word)
            return 0; /* cannot be */
        sum += *word;
    }
    return folded(sum) == 0xffff;
}

/* Note which datagram a piece belongs to, and whether it is the first one. */
static ALWAYS_INLINE void note_ipv4_piece(struct job *job, const struct iphdr *ip)
{
    job->is_fragment = 1;
    job->is_first = !(ip->frag_off & bpf_htons(IPV4_OFFSET));
    job->datagram.src = job->key.src;
    job->datagram.dst = job->key.dst;
    *(__be32 *)job->datagram.rest = bpf_htonl(bpf_ntohs(ip->id));
    job->datagram.rest[4] = ip->protocol;
}

/* Read the packet at job->l3_at into the job, which is clean.  Returns 0, or the Reason why there is none
 * (NOT_IP: nobody knows for whom it is). */
static ALWAYS_INLINE int read_ipv4(struct xdp_md *ctx, struct job *job)
{
    __u32 at = job->l3_at, words;
    struct iphdr *ip = part_of(ctx, at, sizeof(*ip));

    if (!ip || *(__u8 *)ip >> 4 != 4)
        return NOT_IP;
    words = *(__u8 *)ip & 15;
    job->version = 4;
    job->key.src = (struct address){.word = {0, 0, MAPPED, ip->saddr}};
    job->key.dst = (struct address){.word = {0, 0, MAPPED, ip->daddr}};
    job->key.protocol = job->protocol = ip->protocol;
    job->l4_at = at + 4 * words;
    job->end = at + bpf_ntohs(ip->tot_len);
    if (words < sizeof(*ip) / 4)
        return MALFORMED;
    if (ends_before(ctx, job->end) || ends_before(ctx, job->l4_at))
        return TRUNCATED;
    if (job->end < job->l4_at)
        return MALFORMED;
    if (!adds_up(ctx, at, words))
        return BAD_CHECKSUM;
    if (ip->frag_off & bpf_htons(IPV4_MORE_AND_OFFSET))
        note_ipv4_piece(job, ip);
    return 0;
}

/* Write a whole header: DF set, TTL 64, no options; addresses are mapped. */
static ALWAYS_INLINE void write_ipv4(struct iphdr *ip, const struct address *src, const struct address *dst,
                                     __u8 protocol, __u16 payload_bytes)
{
    __be32 first = bpf_htonl(0x45000000 | (sizeof(*ip) + payload_bytes));
    __be32 second = bpf_htonl(0x4000), third = bpf_htonl(HOP_LIMIT << 24 | protocol << 16);

    ((__be32 *)ip)[0] = first;
    ((__be32 *)ip)[1] = second; /* identification 0 */
    ((__be32 *)ip)[2] = third;
    ip->saddr = src->word[3];
    ip->daddr = dst->word[3];
    ip->check = checksum((__u64)first + second + third + ip->saddr + ip->daddr);
}

/* Whether no packet may come from an address (mapped): this network, loopback, multicast, reserved and
 * broadcast.  Source: RFC 1122, section 3.2.1.3. */
static ALWAYS_INLINE int is_ipv4_martian(const struct address *src)
{
    __u8 first = src->byte[12];

    return first == 0 || first == 127 || first >= 224;
}

#endif
