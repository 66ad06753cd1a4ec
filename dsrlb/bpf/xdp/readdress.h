/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * wire/readdress.py: a packet with other addresses and ports behind another link header, one hop further; and
 * every checksum right again.
 *
 *           0          l3_at                              l4_at
 *           +-----------+----------------------------------+-------------------------------+- - -+
 *     in    | MACs, tags| TTL, sum, source, destination    | ports, sum                    |     |
 *           +-----------+----------------------------------+-------------------------------+- - -+
 *               +-------+----------------------------------+-------------------------------+- - -+
 *     out       | link  | -1   adj. c       c              | c      adjusted               |     |
 *               +-------+----------------------------------+-------------------------------+- - -+
 *               0       link_bytes
 *
 * What words lose a checksum gains, both as one's complement sums, whatever the byte order.
 * Source: RFC 1624, section 3 (equation 3); RFC 768 (a sum of 0 is sent as 0xFFFF).
 */
#ifndef DSRLB_XDP_READDRESS_H
#define DSRLB_XDP_READDRESS_H

#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include "csum.h"
#include "frame.h"

/* What one word less another is: as a sum, to be folded. */
static ALWAYS_INLINE __u64 less(__u32 before, __u32 after)
{
    return (__u64)before + (__u32)~after;
}

static ALWAYS_INLINE __u64 less_address(const struct address *before, const struct address *after)
{
    return sum_of_address(before) + 4 * 0xffffffffULL - sum_of_address(after);
}

/* readdress.adjust: a checksum whose words have lost so much in all; it is never 0xffff. */
static ALWAYS_INLINE __be16 adjusted(__be16 sum, __u64 lost)
{
    __u16 total = folded(lost + sum);

    return total == 0xffff ? 0 : total;
}

/* The same of UDP: 0 says that there is none. */
static ALWAYS_INLINE __be16 adjusted_udp(__be16 sum, __u64 lost)
{
    __be16 total = adjusted(sum, lost);

    return !sum || total ? total * !!sum : 0xffff;
}

/* readdress.lives_on: whether a router may send a packet on. */
static ALWAYS_INLINE int lives_on(struct xdp_md *ctx, const struct job *job)
{
    const struct iphdr *ip = part_of(ctx, job->l3_at, sizeof(*ip));

    if (!ip)
        return 0; /* cannot be: it was read before */
    return (job->version == 4 ? ip->ttl : ((const struct ipv6hdr *)ip)->hop_limit) > 1;
}

/* Whether a router may cut a packet. */
static ALWAYS_INLINE int may_cut(struct xdp_md *ctx, const struct job *job)
{
    const struct iphdr *ip = part_of(ctx, job->l3_at, sizeof(*ip));

    return job->version == 4 && ip && !(ip->frag_off & bpf_htons(0x4000));
}

/* Let the frame begin with another link header before the packet at l3_at. */
static ALWAYS_INLINE int put_link(struct xdp_md *ctx, __u32 l3_at, const __u8 *link, __u32 link_bytes)
{
    struct ethhdr *head;
    void *tag;

    if (l3_at != link_bytes && bpf_xdp_adjust_head(ctx, (int)l3_at - (int)link_bytes))
        return 0;
    head = part_of(ctx, 0, sizeof(*head));
    if (!head)
        return 0;
    for (int i = 0; i < 3; i++)
        ((__u32 *)head)[i] = ((const __u32 *)link)[i];
    head->h_proto = ((const struct ethhdr *)link)->h_proto;
#pragma unroll
    for (__u32 at = ETH_HLEN; at < BACK_LINK_BYTES; at += TAG_BYTES) {
        tag = at < link_bytes ? part_of(ctx, at, TAG_BYTES) : 0;
        if (tag)
            __builtin_memcpy(tag, link + at, TAG_BYTES);
    }
    return 1;
}

/* Write the addresses into an IPv4 header, one hop further; returns what they lose. */
static ALWAYS_INLINE __u64 readdress_ipv4(struct iphdr *ip, const struct address *src,
                                          const struct address *dst)
{
    __u64 lost = less(ip->saddr, src->word[3]) + less(ip->daddr, dst->word[3]);

    ip->ttl--;
    ip->check = adjusted(ip->check, lost + bpf_htons(0x0100));
    ip->saddr = src->word[3];
    ip->daddr = dst->word[3];
    return lost;
}

static ALWAYS_INLINE __u64 readdress_ipv6(struct ipv6hdr *ip, const struct address *src,
                                          const struct address *dst)
{
    struct address *ends = (struct address *)&ip->saddr;
    __u64 lost = less_address(&ends[0], src) + less_address(&ends[1], dst);

    ip->hop_limit--;
    __builtin_memcpy(&ends[0], src, sizeof(*src));
    __builtin_memcpy(&ends[1], dst, sizeof(*dst));
    return lost;
}

/* Write the addresses of the IP packet at an offset; returns what they lose. */
static ALWAYS_INLINE __u64 readdress_ip(struct xdp_md *ctx, __u32 at, __u8 version, const struct address *src,
                                        const struct address *dst)
{
    struct ipv6hdr *ip6 = version == 6 ? part_of(ctx, at, sizeof(*ip6)) : 0;
    struct iphdr *ip4 = version == 4 ? part_of(ctx, at, sizeof(*ip4)) : 0;

    if (ip6)
        return readdress_ipv6(ip6, src, dst);
    return ip4 ? readdress_ipv4(ip4, src, dst) : 0; /* one of the two is there: it was read before */
}

/* Write the ports of the transport header at an offset; `lost`: by the addresses. */
static ALWAYS_INLINE void readdress_l4(struct xdp_md *ctx, __u32 at, __u8 protocol, __be32 ports, __u64 lost)
{
    struct udphdr *udp = part_of(ctx, at, sizeof(*udp));
    struct tcphdr *tcp = part_of(ctx, at, sizeof(*tcp));

    if (!udp)
        return; /* cannot be: it was found sound */
    lost += less(*(__be32 *)udp, ports);
    *(__be32 *)udp = ports;
    if (protocol == IPPROTO_UDP)
        udp->check = adjusted_udp(udp->check, lost);
    else if (tcp)
        tcp->check = adjusted(tcp->check, lost);
}

/* Source and destination port of what is answered under this name, as they lie in a packet. */
static ALWAYS_INLINE __be32 ports_to(const struct flow_key *name)
{
    union {
        __be16 port[2];
        __be32 word;
    } ports = {{name->dport, name->sport}};

    return ports.word;
}

/* readdress.readdressed: let the frame be one whose answer has this name, but for the ports where it is a
 * later piece.  Returns whether it is; what was there before is lost if not. */
static ALWAYS_INLINE int readdress(struct xdp_md *ctx, const struct job *job, const struct flow_key *name,
                                   const __u8 *link, __u32 link_bytes)
{
    __u64 lost;

    if (!put_link(ctx, job->l3_at, link, link_bytes))
        return 0;
    lost = readdress_ip(ctx, link_bytes, job->version, &name->dst, &name->src);
    if (!job->is_fragment || job->is_first)
        readdress_l4(ctx, link_bytes + job->l4_at - job->l3_at, job->protocol, ports_to(name), lost);
    return 1;
}

/* Tell the sender of a packet what size fits, or leave it to be cut elsewhere. */
static ALWAYS_INLINE int refuse_long(struct xdp_md *ctx, struct job *job, __u32 mtu_bytes)
{
    if (may_cut(ctx, job))
        return hand_over();
    job->mtu_bytes = mtu_bytes;
    job->told = TOO_BIG_ANSWERED;
    job->silent = TOO_BIG_DROPPED;
    return go_on(ctx, TELL);
}

#endif
