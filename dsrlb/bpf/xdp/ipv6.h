/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * wire/ipv6.py: the header of an IPv6 packet, and the extension headers between it and the transport.
 *
 *     0                 4           6     7     8                24               40
 *     +--+-------+------+-----------+-----+-----+----------------+----------------+- -
 *     |6 | class | flow | length    |next | hops| source         | destination    | extensions
 *     +--+-------+------+-----------+-----+-----+----------------+----------------+- -
 *
 *     0     1      2           4                 8
 *     +-----+------+-----------+-----------------+- - -
 *     |next | size | ...       |                 |        hop-by-hop, destination: (size + 1) * 8 bytes
 *     |next | size |kind |left |                 |        routing: the same; `left`: segments left
 *     |next |  -   |offset 13|M| identification  |        fragment: 8 bytes
 *     +-----+------+-----------+-----------------+- - -
 *
 * Source: RFC 8200, sections 3 and 4.
 */
#ifndef DSRLB_XDP_IPV6_H
#define DSRLB_XDP_IPV6_H

#include <linux/ipv6.h>

#include "address.h"
#include "frame.h"

#define HOP_BY_HOP 0
#define ROUTING 43
#define FRAGMENT 44
#define DESTINATION 60
#define MAX_EXTENSIONS 8 /* a longer chain is nobody's honest traffic */

struct extension {
    __u8 next, size;
    union {
        __be16 place;
        struct {
            __u8 kind, left;
        };
    };
    __be32 ident;
};

/* A chain of extension headers, walked as far as `at`; offsets count from the frame's first byte. */
struct chain {
    __u32 at, end; /* the packet's end, which is in the frame */
    __be32 ident;
    __u8 protocol; /* of what is at `at` */
    __u8 is_fragment, is_first;
};

static ALWAYS_INLINE int is_extension(__u8 protocol)
{
    return protocol == HOP_BY_HOP || protocol == ROUTING || protocol == FRAGMENT || protocol == DESTINATION;
}

/* Walk over one extension header; returns whether it makes sense. */
static ALWAYS_INLINE int skip_extension(struct xdp_md *ctx, struct chain *chain)
{
    const struct extension *header;
    __u32 at = chain->at, bytes = sizeof(*header);

    UNKNOWN(at); /* else the end that is checked below is taken for a bound here */
    header = part_of(ctx, at, sizeof(*header));
    if (!header || chain->at + bytes > chain->end)
        return 0;
    if (chain->protocol == ROUTING && header->left)
        return 0; /* segments left: the VIP is not its last destination */
    if (chain->protocol != FRAGMENT) {
        bytes = (header->size + 1) << 3;
    } else if (header->place & bpf_htons(0xfff9)) { /* else atomic (RFC 6946): the whole datagram */
        chain->is_fragment = 1;
        chain->is_first = !(header->place & bpf_htons(0xfff8));
        chain->ident = header->ident;
    }
    chain->protocol = header->next;
    chain->at += bytes;
    return chain->at <= chain->end;
}

/* Walk to the transport header, or to a later piece's contents.  Returns 0 or MALFORMED. */
static ALWAYS_INLINE int skip_extensions(struct xdp_md *ctx, struct chain *chain)
{
    for (int turn = 0; turn <= MAX_EXTENSIONS; turn++) { /* the last turn only finds the transport */
        if (!is_extension(chain->protocol) || (chain->is_fragment && !chain->is_first))
            return 0;
        if (!skip_extension(ctx, chain))
            return MALFORMED;
    }
    return chain->is_fragment && !chain->is_first ? 0 : MALFORMED;
}

/* Note which datagram a piece belongs to, and whether it is the first one. */
static ALWAYS_INLINE void note_ipv6_piece(struct job *job, const struct chain *chain)
{
    job->is_fragment = 1;
    job->is_first = chain->is_first;
    job->datagram.src = job->key.src;
    job->datagram.dst = job->key.dst;
    *(__be32 *)job->datagram.rest = chain->ident;
    job->datagram.rest[4] = FRAGMENT;
}

/* Read the packet at job->l3_at into the job, which is clean.  Returns 0, or the Reason why there is none
 * (NOT_IP: nobody knows for whom it is). */
static ALWAYS_INLINE int read_ipv6(struct xdp_md *ctx, struct job *job)
{
    struct chain chain = {.at = job->l3_at + sizeof(struct ipv6hdr)};
    struct ipv6hdr *ip = part_of(ctx, job->l3_at, sizeof(*ip));
    int reason;

    if (!ip || *(__u8 *)ip >> 4 != 6)
        return NOT_IP;
    job->version = 6;
    __builtin_memcpy(&job->key, &ip->saddr, 2 * sizeof(struct address));
    chain.end = chain.at + bpf_ntohs(ip->payload_len);
    chain.protocol = ip->nexthdr;
    if (ends_before(ctx, chain.end))
        return TRUNCATED;
    if (is_mapped(&job->key.dst))
        return MALFORMED; /* that stands for an IPv4 address inside a host only */
    reason = skip_extensions(ctx, &chain);
    job->l4_at = chain.at;
    job->end = chain.end;
    job->key.protocol = job->protocol = chain.protocol;
    if (chain.is_fragment)
        note_ipv6_piece(job, &chain);
    return reason;
}

/* Write a whole header: no traffic class, no flow label. */
static ALWAYS_INLINE void write_ipv6(struct ipv6hdr *ip, const struct address *src, const struct address *dst,
                                     __u8 protocol, __u16 payload_bytes, __u8 hop_limit)
{
    *(__be32 *)ip = bpf_htonl(0x60000000);
    ip->payload_len = bpf_htons(payload_bytes);
    ip->nexthdr = protocol;
    ip->hop_limit = hop_limit;
    __builtin_memcpy(&ip->saddr, src, sizeof(*src));
    __builtin_memcpy(&ip->daddr, dst, sizeof(*dst));
}

/* Whether no packet may come from an address: multicast, unspecified, loopback; IPv4-mapped, which would pass
 * for an IPv4 client.  Source: RFC 4291, section 2; RFC 4038, section 4.2. */
static ALWAYS_INLINE int is_ipv6_martian(const struct address *src)
{
    if (src->byte[0] == 0xff || is_mapped(src))
        return 1;
    return src->half[0] == 0 && src->word[2] == 0 && (src->word[3] == 0 || src->word[3] == bpf_htonl(1));
}

#endif
