/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * modes/l3dsr.py: the client's packet wrapped in another IP header; the story and the reasons are told there.
 *
 *           0      12   14 + tags                      end
 *           +------+- - -+----+----------------------------+- - - - -+
 *     in    | MACs | tags|type| the client's packet        | padding |
 *           +------+- - -+----+----------------------------+- - - - -+
 *                             |                            |
 *           +------+----+------------+----------------------------+
 *     out   | MACs |type| outer      | the client's packet        |
 *           +------+----+------------+----------------------------+
 *           0      12   14           14 + overhead
 *
 *     outer:  IPv4 (20) or IPv6 (40) [ UDP (8) [ GUE (4): 00 | protocol | 00 00 ] ]
 */
#ifndef DSRLB_XDP_L3DSR_H
#define DSRLB_XDP_L3DSR_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>

#include "csum.h"
#include "hash.h"
#include "ipv4.h"
#include "l2dsr.h"
#include "mss.h"
#include "sampling.h"
#include "steps.h"

#define GUE_BYTES 4
#define FIRST_SPORT 49152 /* the dynamic ports (RFC 6335, section 6) */
#define SPORT_MASK 0x3fff
#define LABEL_MASK 0xfffff
#define MOST_IP_BYTES 0xffff
#define LEAST_MTU4 68
#define LEAST_MTU6 1280
#define DONT_FRAGMENT bpf_htons(0x4000)

struct wrapping { /* what is put before a packet goes by */
    const struct target *target;
    const struct hop *hop;
    const struct address *source; /* IPv6 outside */
    __u32 hash;                   /* of the flow */
    int inner_bytes;
    int overhead;
    int room; /* what fits into the tunnel */
    __be16 dport; /* of UDP outside */
    __u8 encap;
    __u8 inner_protocol; /* of the client's packet in another */
    __u8 tos;
};

/* Write a link header without tags; the type is written whole, though the struct is packed. */
static ALWAYS_INLINE void write_link(struct ethhdr *link, const struct hop *hop, __u16 type)
{
    readdress_link(link, hop);
    ((__be16 *)(link + 1))[-1] = bpf_htons(type);
}

/* Write link and outer IPv4 header of a frame that has room for them. */
static ALWAYS_INLINE void wrap_in_ipv4(struct ethhdr *link, const struct hop *hop,
                                       const struct target *target, __u8 tos, __u16 payload_bytes,
                                       __u8 protocol)
{
    struct iphdr *outer = (struct iphdr *)(link + 1);
    __u16 bytes = payload_bytes + sizeof(*outer);
    __u32 sum = target->outer_sum + protocol - IPPROTO_IPIP + tos + bytes; /* outer_sum is of IPIP */

    write_link(link, hop, ETH_P_IP);
    *(__be32 *)outer = bpf_htonl(0x45000000 | tos << 16 | bytes);
    *(__be32 *)&outer->id = bpf_htonl(0x4000); /* identification 0, DF */
    *(__be16 *)&outer->ttl = bpf_htons(HOP_LIMIT << 8 | protocol);
    sum = (sum & 0xffff) + (sum >> 16);
    outer->check = bpf_htons(~(sum + (sum >> 16)) & 0xffff);
    outer->saddr = target->source4;
    outer->daddr = target->address.word[3];
}

/* Write both headers of an IPv4 packet to an IPv4 server: the frame already begins 20 bytes earlier. */
static ALWAYS_INLINE void wrap_ipip(struct ethhdr *link, const struct hop *hop, const struct target *target,
                                    __u8 tos, __u16 inner_bytes)
{
    wrap_in_ipv4(link, hop, target, tos, inner_bytes, IPPROTO_IPIP);
}

static ALWAYS_INLINE void wrap_in_ipv6(struct ethhdr *link, const struct wrapping *how, __u16 payload_bytes,
                                       __u8 protocol)
{
    struct ipv6hdr *outer = (struct ipv6hdr *)(link + 1);

    write_link(link, how->hop, ETH_P_IPV6);
    *(__be32 *)outer = bpf_htonl(6U << 28 | (__u32)how->tos << 20 | (how->hash & LABEL_MASK));
    outer->payload_len = bpf_htons(payload_bytes);
    *(__be16 *)&outer->nexthdr = bpf_htons(protocol << 8 | HOP_LIMIT);
    *(struct address *)&outer->saddr = *how->source;
    *(struct address *)&outer->daddr = how->target->address;
}

/* Write the UDP header, without a checksum, and that of GUE. */
static ALWAYS_INLINE void wrap_in_udp(struct udphdr *udp, const struct wrapping *how, __u16 bytes)
{
    udp->source = bpf_htons(FIRST_SPORT + (how->hash & SPORT_MASK));
    udp->dest = how->dport;
    udp->len = bpf_htons(bytes);
    udp->check = 0;
    if (how->encap == GUE)
        *(__be32 *)(udp + 1) = bpf_htonl((__u32)how->inner_protocol << 16);
}

/* hash_of: by ports only where every packet of the flow has them. */
static ALWAYS_INLINE __u32 hash_of_packet(const struct job *job, const void *ip, const void *end)
{
    struct flow_key key = {.protocol = job->protocol};

    if (!job->is_fragment && (job->protocol == IPPROTO_TCP || job->protocol == IPPROTO_UDP))
        return job->hash;
    if (job->version == 4) {
        key.src.word[2] = key.dst.word[2] = MAPPED;
        key.src.word[3] = ((const struct iphdr *)ip)->saddr;
        key.dst.word[3] = ((const struct iphdr *)ip)->daddr;
    } else if (ip + sizeof(struct ipv6hdr) <= end) {
        key.src = *(const struct address *)&((const struct ipv6hdr *)ip)->saddr;
        key.dst = *(const struct address *)&((const struct ipv6hdr *)ip)->daddr;
    }
    return hash_of_flow(&key);
}

static ALWAYS_INLINE int is_v4(const struct target *target)
{
    return target->flags & IS_V4;
}

/* Where packets to a target come from, if they are wrapped in IPv6; 0: this host has no address for them. */
static ALWAYS_INLINE const struct address *source_to(const struct target *target)
{
    __u32 index = target->source6;

    return target->flags & HAS_SOURCE ? bpf_map_lookup_elem(&sources, &index) : 0;
}

/* The way into the tunnel to a target. */
static ALWAYS_INLINE struct wrapping way_to(const struct target *target, const struct service *service,
                                            const struct job *job)
{
    struct wrapping how = {
        .target = target,
        .hop = hop_to(target),
        .source = source_to(target),
        .overhead = is_v4(target) ? sizeof(struct iphdr) : sizeof(struct ipv6hdr),
        .inner_bytes = job->end - job->l3_at,
        .dport = service->encap_port,
        .encap = service->encap,
        .inner_protocol = job->version == 4 ? IPPROTO_IPIP : IPPROTO_IPV6,
    };

    if (how.encap != IPIP)
        how.overhead += sizeof(struct udphdr) + (how.encap == GUE ? GUE_BYTES : 0);
    how.room = (target->mtu_bytes ? target->mtu_bytes : MOST_IP_BYTES) - how.overhead;
    return how;
}

/* Only IPv6 wants UDP to have a checksum (RFC 8200, section 8.1). */
static ALWAYS_INLINE int has_udp_checksum(const struct wrapping *how)
{
    return how->encap != IPIP && !is_v4(how->target);
}

/* Take over what the packet's own header says to the outer one. */
static ALWAYS_INLINE void heed_packet(struct wrapping *how, const struct job *job, const struct iphdr *ip,
                                      const void *end)
{
    how->tos = bpf_ntohl(*(const __be32 *)ip) >> (job->version == 4 ? 16 : 20);
    if (how->encap != IPIP || !is_v4(how->target))
        how->hash = hash_of_packet(job, ip, end);
}

/* What becomes of a packet that does not fit: its sender is told, or it is cut elsewhere. */
static ALWAYS_INLINE int send_too_long(struct xdp_md *ctx, const struct wrapping *how, struct job *job,
                                       const struct iphdr *ip)
{
    int least = job->version == 4 ? LEAST_MTU4 : LEAST_MTU6;

    if (job->version == 4 ? !(ip->frag_off & DONT_FRAGMENT) : how->inner_bytes <= LEAST_MTU6)
        return hand_over();
    job->mtu_bytes = how->room > least ? how->room : least;
    job->told = TOO_BIG_ANSWERED;
    job->silent = TOO_BIG_DROPPED;
    return go_on(ctx, TELL);
}

/* Make room before the packet, and end the frame where it ends. */
static ALWAYS_INLINE int make_room(struct xdp_md *ctx, const struct job *job, int overhead)
{
    int padding = (int)frame_bytes(ctx) - (int)job->end;

    if (bpf_xdp_adjust_head(ctx, job->l3_at - ETH_HLEN - overhead))
        return 0;
    return padding <= 0 || !bpf_xdp_adjust_tail(ctx, -padding);
}

static ALWAYS_INLINE int opens_connection(const struct job *job)
{
    return job->protocol == IPPROTO_TCP && job->tcp_flags & TH_SYN && (!job->is_fragment || job->is_first);
}

/* Let a connection's first segment, which is wrapped, announce no longer ones than fit. */
static ALWAYS_INLINE void clamp(struct xdp_md *ctx, const struct wrapping *how, const struct job *job)
{
    int headers = TCP_BYTES + (job->version == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));
    int most = how->room - headers;

    clamp_mss(ctx, ETH_HLEN + how->overhead + job->l4_at - job->l3_at, most > 1 ? most : 1);
}

/* Write the outer headers; the frame already begins earlier, and ends with the packet. */
static ALWAYS_INLINE int wrap(struct xdp_md *ctx, const struct wrapping *how)
{
    struct ethhdr *link = (void *)(long)ctx->data;
    void *end = (void *)(long)ctx->data_end;
    int ip_bytes = is_v4(how->target) ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
    int payload_bytes = how->overhead - ip_bytes + how->inner_bytes;
    __u8 protocol = how->encap == IPIP ? how->inner_protocol : IPPROTO_UDP;
    struct udphdr *udp = (void *)(link + 1) + ip_bytes;

    /* The second is for the verifier, for which either version may follow: a packet has a header of its own. */
    if ((void *)(udp + 1) + GUE_BYTES > end || (void *)(link + 1) + sizeof(struct ipv6hdr) > end)
        return 0;
    if (how->encap != IPIP)
        wrap_in_udp(udp, how, payload_bytes);
    if (is_v4(how->target))
        wrap_in_ipv4(link, how->hop, how->target, how->tos, payload_bytes, protocol);
    else
        wrap_in_ipv6(link, how, payload_bytes, protocol);
    if (has_udp_checksum(how)) {
        __be16 sum = checksum(sum_of(ctx, ETH_HLEN + sizeof(struct ipv6hdr), payload_bytes) +
                              sum_of_pseudo(how->source, &how->target->address, payload_bytes, IPPROTO_UDP));

        udp->check = sum ? sum : 0xffff; /* 0 would say that there is none */
    }
    return 1;
}

static ALWAYS_INLINE int send_wrapped(struct xdp_md *ctx, const struct wrapping *how, const struct job *job,
                                      int clamps)
{
    __u64 octets = frame_bytes(ctx);

    if (!make_room(ctx, job, how->overhead))
        return hand_over();
    if (clamps && opens_connection(job))
        clamp(ctx, how, job);
    if (!wrap(ctx, how))
        return XDP_ABORTED; /* cannot be: the packet has a header of its own */
    count_sent(job->target, octets, job->reason);
    sample(job);
    return send_by(ctx, how->hop->ifindex);
}

static ALWAYS_INLINE int send_l3dsr(struct xdp_md *ctx)
{
    struct job *job = this_job();
    struct target *target = job ? bpf_map_lookup_elem(&targets, &job->target) : 0;
    struct service *service = job ? bpf_map_lookup_elem(&services, &job->service) : 0;
    const struct iphdr *ip = (void *)(long)ctx->data + (job ? job->l3_at & 31 : 0);
    const void *end = (void *)(long)ctx->data_end;
    struct wrapping how;

    if (!target || !service || (void *)(ip + 1) > end)
        return hand_over();
    how = way_to(target, service, job);
    if (!how.hop || !how.source)
        return stop(BACKEND_UNRESOLVED);
    if (how.inner_bytes > how.room)
        return send_too_long(ctx, &how, job, ip);
    if (has_udp_checksum(&how) && how.overhead + how.inner_bytes > SUM_MOST)
        return hand_over();
    heed_packet(&how, job, ip, end);
    return send_wrapped(ctx, &how, job, service->flags & CLAMPS_MSS);
}

#endif
