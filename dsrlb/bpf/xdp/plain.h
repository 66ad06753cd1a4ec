/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * The short way (shortcut.py): a plain IPv4 packet, TCP or UDP, of a service whose mode is l2dsr, or l3dsr with
 * IPv4 in IPv4, that needs no record or has one that it does not change.  What is looked at, once each, mostly a
 * cache line: interface, front, service, slot or flow, target, counts.  Whatever is not as plain as that goes the
 * long way with nothing changed.
 *
 *     0       12        16       20       23    26    30    34      38       46     47
 *     +-- - --+---------+-- - ---+-- - ---+- - -+-----+-----+-------+-- - ---+------+------
 *     | MAC   |08 00 45 | length | place  |proto| src | dst | ports | UDP    |TCP   |TCP
 *     |       |         |        |        |     |     |     |       | length |offset|flags
 *     +-- - --+---------+-- - ---+-- - ---+- - -+-----+-----+-------+-- - ---+------+------
 */
#ifndef DSRLB_XDP_PLAIN_H
#define DSRLB_XDP_PLAIN_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include "flows.h"
#include "front.h"
#include "l2dsr.h"
#include "l3dsr.h"
#include "slots.h"
#include "steps.h"

#define LONG_WAY -1

struct plain { /* the headers of a plain packet */
    struct ethhdr link;
    struct iphdr ip;
    union {
        struct {
            __be32 ports;
            __be32 seq, ack;
            __u8 offset, flags;
            __be16 window, sum, urgent;
        } tcp;
        struct udphdr udp;
    };
} __attribute__((packed));

struct known { /* what was read of it */
    __u32 ifindex;
    __u16 frame_bytes, ip_bytes;
    __u8 tcp_flags;
};

static ALWAYS_INLINE int sums_up(const void *header)
{
    const __u32 *word = header;
    __u64 sum = (__u64)word[0] + word[1] + word[2] + word[3] + word[4];

    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return ((sum & 0xffff) + (sum >> 16)) == 0xffff;
}

static ALWAYS_INLINE int is_to(const struct ethhdr *link, const struct interface *here)
{
    return *(const __u32 *)link->h_dest == *(const __u32 *)here->mac &&
           *(const __u16 *)&link->h_dest[4] == *(const __u16 *)&here->mac[4];
}

/* Martian, a VIP's own, or perhaps an inline server's: not plain. */
static ALWAYS_INLINE int is_odd_source(const struct interface *here, __be32 src)
{
    struct address address = {.word = {0, 0, MAPPED, src}};
    __u64 hash = hash_of_place(&address, 0);
    __u8 first = *(__u8 *)&src;

    if (first == 0 || first == 127 || first >= 224 || is_in_filter(here->server_filter, FILTER_BIT(hash)))
        return 1;
    return is_in_filter(here->vip_filter, FILTER_BIT(hash)) && is_vip_at(&address, hash);
}

/* The target of a flow on record whose packet changes nothing but the time; 0: not so plain. */
static ALWAYS_INLINE __u32 target_on_record(const struct service *service, const struct flow_key *key,
                                            __u32 hash, __u8 tcp_flags)
{
    struct flow *flow = flow_of(key, hash);
    __u32 now = now_s(), wanted = key->protocol == IPPROTO_TCP ? ESTABLISHED : UDP_FLOW, until;

    if (!flow || tcp_flags & (TH_SYN | TH_FIN | TH_RST))
        return 0;
    if (flow->state != wanted || flow->service != service->id || now > flow->until_s)
        return 0;
    until = now + service->timeout_s[wanted];
    if (flow->until_s != until)
        flow->until_s = until;
    return flow->target;
}

/* The target of a flow of this service; 0: to be found the long way. */
static ALWAYS_INLINE __u32 plain_target(const struct service *service, const struct plain *packet,
                                        __u8 tcp_flags)
{
    struct flow_key key = {
        .src = {.word = {0, 0, MAPPED, packet->ip.saddr}},
        .dst = {.word = {0, 0, MAPPED, packet->ip.daddr}},
        .protocol = packet->ip.protocol,
    };
    __u32 hash = hash_of_flow4(packet->ip.saddr, packet->ip.daddr, packet->tcp.ports, key.protocol);

    if (service->flags & LOOKS_UP) {
        *(__be32 *)&key.sport = packet->tcp.ports;
        if (!(service->flags & RECORDS_ALL))
            return 0;
        return target_on_record(service, &key, hash, tcp_flags);
    }
    if (service->flags & HASHES_CLIENT) {
        if (service->prefix4 < 32)
            key.src.word[3] &= service->prefix4 ? bpf_htonl(~0U << (32 - service->prefix4)) : 0;
        hash = hash_of_client(&key.src);
    }
    return target_by_hash(service->slots, service->slot_count, hash);
}

/* Send a plain packet to its target; LONG_WAY: it cannot be done here. */
static ALWAYS_INLINE int send_plain(struct xdp_md *ctx, struct plain *packet, const struct service *service,
                                    __u32 number, const struct known *known)
{
    struct target *target = bpf_map_lookup_elem(&targets, &number);
    const struct hop *hop;

    if (!target || target->hop_in_use > 1)
        return LONG_WAY;
    hop = &target->hop[target->hop_in_use & 1];
    if (service->mode == L2DSR) {
        readdress_link(&packet->link, hop);
    } else {
        __u16 outer_bytes = known->ip_bytes + sizeof(struct iphdr);
        __u8 tos = packet->ip.tos;

        if ((target->flags & (IS_V4 | HAS_SOURCE)) != (IS_V4 | HAS_SOURCE) ||
            (target->mtu_bytes && outer_bytes > target->mtu_bytes) ||
            known->frame_bytes != known->ip_bytes + sizeof(struct ethhdr))
            return LONG_WAY;
        if (bpf_xdp_adjust_head(ctx, -(int)sizeof(struct iphdr)))
            return LONG_WAY;
        struct ethhdr *link = (void *)(long)ctx->data;

        if ((void *)link + sizeof(struct ethhdr) + sizeof(struct iphdr) > (void *)(long)ctx->data_end)
            return XDP_ABORTED; /* cannot be: the frame has just grown */
        wrap_ipip(link, hop, target, tos, known->ip_bytes);
    }
    count_sent(number, known->frame_bytes, FORWARDED);
    if (service->flags & RECORDS_ALL || (known->tcp_flags & (TH_SYN | TH_ACK)) != TH_SYN)
        return send_by(ctx, hop->ifindex);
    struct count *count = bpf_map_lookup_elem(&counts, &number);

    if (count)
        count->flows++;
    return send_by(ctx, hop->ifindex);
}

static ALWAYS_INLINE int plain(struct xdp_md *ctx)
{
    struct plain *packet = (void *)(long)ctx->data;
    void *end = (void *)(long)ctx->data_end;
    struct known known = {.ifindex = ctx->ingress_ifindex};
    struct interface *here = interface_of(known.ifindex);
    __u32 index;

    if (!here || (void *)(packet + 1) > end || !is_to(&packet->link, here))
        return LONG_WAY;
    if (packet->link.h_proto != bpf_htons(ETH_P_IP) || *(__u8 *)&packet->ip != 0x45 ||
        packet->ip.frag_off & bpf_htons(0x3fff) || !sums_up((void *)packet + ETH_HLEN))
        return LONG_WAY;
    known.frame_bytes = end - (void *)packet;
    known.ip_bytes = bpf_ntohs(packet->ip.tot_len);
    if (known.ip_bytes + sizeof(struct ethhdr) > known.frame_bytes ||
        (here->mtu_bytes && known.ip_bytes > here->mtu_bytes) || is_odd_source(here, packet->ip.saddr))
        return LONG_WAY;
    if (packet->ip.protocol == IPPROTO_TCP) {
        __u32 header_bytes = packet->tcp.offset >> 4 << 2;

        if (header_bytes < 20 || header_bytes + sizeof(struct iphdr) > known.ip_bytes)
            return LONG_WAY;
        known.tcp_flags = packet->tcp.flags;
    } else if (packet->ip.protocol == IPPROTO_UDP) {
        __u32 udp_bytes = bpf_ntohs(packet->udp.len);

        if (udp_bytes < 8 || udp_bytes + sizeof(struct iphdr) > known.ip_bytes)
            return LONG_WAY;
    } else {
        return LONG_WAY;
    }
    struct address vip = {.word = {0, 0, MAPPED, packet->ip.daddr}};

    index = service_at(&vip, packet->udp.dest, packet->ip.protocol);
    struct service *service = index ? bpf_map_lookup_elem(&services, &index) : 0;

    if (!service || !(service->flags & PLAIN) ||
        (service->flags & CLAMPS_MSS && known.tcp_flags & TH_SYN))
        return LONG_WAY;
    index = plain_target(service, packet, known.tcp_flags);
    return index ? send_plain(ctx, packet, service, index, &known) : LONG_WAY;
}

#endif
