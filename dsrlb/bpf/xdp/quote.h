/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * requote.quote_of: the TCP or UDP packet that an ICMP error quotes, as much of it as the error has.
 *
 *     l3_at         l4_at    l4_at + 8 = at              quote l4_at      end
 *     +-------------+--------+---------------------------+-------+- - - - +
 *     | IP          | error  | IP, options, extensions   | ports | ...    |
 *     +-------------+--------+---------------------------+-------+- - - - +
 *
 * The quoted packet's lengths and checksums may be stale, and are not looked at.
 */
#ifndef DSRLB_XDP_QUOTE_H
#define DSRLB_XDP_QUOTE_H

#include <linux/in.h>

#include "icmp.h"
#include "ipv4.h"
#include "ipv6.h"

struct quote { /* what the quoted packet says; offsets count from the frame's first byte */
    struct address src, dst;
    __be16 sport, dport;
    __u32 at, l4_at;
    __u8 protocol;
};

/* Read a quoted IPv4 header; returns whether there is one, and not of a later piece. */
static ALWAYS_INLINE int read_quoted_ipv4(struct xdp_md *ctx, __u32 end, struct quote *quote)
{
    const struct iphdr *ip = part_of(ctx, quote->at, sizeof(*ip));
    __u8 first;

    if (!ip || quote->at + sizeof(*ip) > end)
        return 0;
    first = *(const __u8 *)ip;
    if (first >> 4 != 4 || (first & 15) < sizeof(*ip) / 4 || ip->frag_off & bpf_htons(IPV4_OFFSET))
        return 0;
    quote->src = (struct address){.word = {0, 0, MAPPED, ip->saddr}};
    quote->dst = (struct address){.word = {0, 0, MAPPED, ip->daddr}};
    quote->protocol = ip->protocol;
    quote->l4_at = quote->at + 4 * (first & 15);
    return 1;
}

/* The same of IPv6: the quote is cut to fit, so its packet ends where the error does. */
static ALWAYS_INLINE int read_quoted_ipv6(struct xdp_md *ctx, __u32 end, struct quote *quote)
{
    const struct ipv6hdr *ip = part_of(ctx, quote->at, sizeof(*ip));
    struct chain chain = {.at = quote->at + sizeof(*ip), .end = end};

    if (!ip || chain.at > end || *(const __u8 *)ip >> 4 != 6)
        return 0;
    __builtin_memcpy(&quote->src, &ip->saddr, sizeof(quote->src));
    __builtin_memcpy(&quote->dst, &ip->daddr, sizeof(quote->dst));
    chain.protocol = ip->nexthdr;
    if (is_mapped(&quote->src) || is_mapped(&quote->dst) || skip_extensions(ctx, &chain))
        return 0;
    quote->protocol = chain.protocol;
    quote->l4_at = chain.at;
    return !chain.is_fragment || chain.is_first;
}

/* Read the packet that the error under way quotes; returns whether it is TCP or UDP, as far as the ports. */
static ALWAYS_INLINE int read_quote(struct xdp_md *ctx, const struct job *job, struct quote *quote)
{
    const __be16 *ports;
    int is_read;

    quote->at = job->l4_at + ICMP_BYTES;
    if (job->end > HIGHEST_AT)
        return 0;
    is_read = job->version == 4 ? read_quoted_ipv4(ctx, job->end, quote)
                                : read_quoted_ipv6(ctx, job->end, quote);
    if (!is_read)
        return 0;
    FORGET(); /* where the frame begins: a pointer that was narrowed meanwhile is none for older kernels */
    ports = part_of(ctx, quote->l4_at, 2 * sizeof(*ports));
    if (!ports || quote->l4_at + 2 * sizeof(*ports) > job->end)
        return 0;
    quote->sport = ports[0];
    quote->dport = ports[1];
    return quote->protocol == IPPROTO_TCP || quote->protocol == IPPROTO_UDP;
}

#endif
