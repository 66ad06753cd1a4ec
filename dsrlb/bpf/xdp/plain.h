/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * The short way (shortcut.py): a plain IPv4 packet, TCP or UDP, of a service, that needs no record or has one
 * that it does not change.  What is looked at, once each, mostly a cache line: interface, front, service,
 * slot or flow, target, counts.  What goes into more than an IPv4 header is left to l3dsr.h, what is not
 * translated plainly to inline.h, what inline servers answer to reply.h; whatever is not as plain goes
 * the long way with nothing changed.
 *
 * Headers are read as six words of eight bytes, and the fields are cut out of these: less to load, and a
 * frame that was just written by words is not waited for.
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
#include "states.h"
#include "steps.h"
#include "translate.h"

#define LONG_WAY -1
#define PLAIN_BYTES 40 /* of headers, behind the link header: of IPv4 and TCP */

/* `count` bytes of a word of eight, from byte `at` on, as the number that the same bytes make in memory; such a
 * number of two halves of 16 bits; and bytes 12 to 14 of a frame. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define BYTES(word, at, count) ((word) >> 8 * (at) & ~0ULL >> 8 * (8 - (count)))
#define JOINED(first, second) ((first) | (second) << 16)
#define IPV4_WITHOUT_OPTIONS 0x450008
#else
#define BYTES(word, at, count) ((word) >> 8 * (8 - (at) - (count)) & ~0ULL >> 8 * (8 - (count)))
#define JOINED(first, second) ((first) << 16 | (second))
#define IPV4_WITHOUT_OPTIONS 0x080045
#endif

struct plain { /* what was read of it; numbers in the order of the wire unless said otherwise */
    __u64 word[6];
    __be32 src, dst, ports;
    __u8 protocol, tcp_flags, tos;
    __u8 is_from_server; /* perhaps */
    __u16 frame_bytes, ip_bytes; /* host order */
};

/* Whether the 20 bytes of an IPv4 header add up: their sum is a multiple of 0xffff. */
static ALWAYS_INLINE int sums_up(const __u64 *word)
{
    __u64 sum = BYTES(word[1], 6, 2) + BYTES(word[2], 0, 4) + BYTES(word[2], 4, 4) + BYTES(word[3], 0, 4) +
                BYTES(word[3], 4, 4) + BYTES(word[4], 0, 2);

    sum = (sum & 0xffff) + (sum >> 16);
    return (sum & 0xffff) + (sum >> 16) == 0xffff; /* < 2^17 after the first */
}

/* Whether a source, whose hash_of_place this is, is martian or a VIP: not plain. */
static ALWAYS_INLINE int is_odd_source(const struct interface *here, const struct address *src, __u64 hash)
{
    __u8 first = src->byte[12];

    if ((__u8)(first - 1) >= 223 || first == 127)
        return 1;
    return UNLIKELY(is_in_filter(here->vip_filter, FILTER_BIT(hash))) && is_vip_at(src, hash);
}

struct found { /* where a packet goes */
    __u32 target;      /* 0: to be found the long way */
    struct flow *flow; /* its record, if there is one */
    __u32 until_s;     /* ... and until when that holds, if the packet is sent */
};

/* The target of a flow on record whose packet changes nothing but the time. */
static ALWAYS_INLINE struct found target_on_record(const struct service *service, const struct flow_key *key,
                                                   __u32 hash, __u8 tcp_flags)
{
    struct flow *flow = flow_of(key, hash);
    __u32 now = now_s(), wanted = key->protocol == IPPROTO_TCP ? ESTABLISHED : UDP_FLOW;

    if (!flow || tcp_flags & (TH_SYN | TH_FIN | TH_RST))
        return (struct found){};
    if (flow->state != wanted || flow->service != service->id || now > flow->until_s)
        return (struct found){};
    return (struct found){flow->target, flow, now + service->timeout_s[wanted]};
}

/* The target of a flow of this service. */
static ALWAYS_INLINE struct found plain_target(const struct service *service, const struct plain *packet)
{
    __u32 hash = hash_of_flow4(packet->src, packet->dst, packet->ports, packet->protocol);

    if (service->flags & LOOKS_UP) {
        struct flow_key key = {
            .src = {.word = {0, 0, MAPPED, packet->src}},
            .dst = {.word = {0, 0, MAPPED, packet->dst}},
            .protocol = packet->protocol,
        };
        *(__be32 *)&key.sport = packet->ports;
        if (!(service->flags & RECORDS_ALL))
            return (struct found){};
        return target_on_record(service, &key, hash, packet->tcp_flags);
    }
    if (service->flags & HASHES_CLIENT) {
        struct address network = {.word = {0, 0, MAPPED, packet->src}};

        if (service->prefix4 < 32)
            network.word[3] &= service->prefix4 ? bpf_htonl(~0U << (32 - service->prefix4)) : 0;
        hash = hash_of_client(&network);
    }
    return (struct found){.target = target_by_hash(service->slots, service->slot_count, hash)};
}

/* Whether a packet needs one IPv4 header before it and nothing else. */
static ALWAYS_INLINE int is_wrapped_plainly(const struct plain *packet, const struct service *service,
                                            const struct target *target)
{
    __u16 outer_bytes = packet->ip_bytes + sizeof(struct iphdr);

    return service->encap == IPIP && (target->flags & (IS_V4 | HAS_SOURCE)) == (IS_V4 | HAS_SOURCE) &&
           (!target->mtu_bytes || outer_bytes <= target->mtu_bytes) &&
           packet->frame_bytes == packet->ip_bytes + sizeof(struct ethhdr);
}

static ALWAYS_INLINE int begins_unrecorded(const struct plain *packet, const struct service *service)
{
    return !(service->flags & RECORDS_ALL) && (packet->tcp_flags & (TH_SYN | TH_ACK)) == TH_SYN;
}

/* Tell another step what was read, as classify would. */
static ALWAYS_INLINE void fill_job(struct job *job, const struct plain *packet)
{
    job->key.src = (struct address){.word = {0, 0, MAPPED, packet->src}};
    job->key.dst = (struct address){.word = {0, 0, MAPPED, packet->dst}};
    *(__be32 *)&job->key.sport = packet->ports;
    *(__u32 *)&job->key.protocol = bpf_htonl((__u32)packet->protocol << 24); /* and zeros */
    job->hash = hash_of_flow4(packet->src, packet->dst, packet->ports, packet->protocol);
    job->l3_at = sizeof(struct ethhdr);
    job->l4_at = sizeof(struct ethhdr) + sizeof(struct iphdr);
    job->end = sizeof(struct ethhdr) + packet->ip_bytes;
    job->version = 4;
    job->protocol = packet->protocol;
    job->tcp_flags = packet->tcp_flags;
    job->is_fragment = job->is_first = 0;
}

/* Leave a packet whose target is known to the step of its service's mode. */
static ALWAYS_INLINE int go_on_rewriting(struct xdp_md *ctx, const struct plain *packet,
                                         const struct service *service, __u32 number, __u32 target)
{
    struct count *count = bpf_map_lookup_elem(&counts, &target);
    struct job *job = this_job();

    if (!job || !count)
        return LONG_WAY;
    fill_job(job, packet);
    job->service = number;
    job->target = target;
    job->reason = FORWARDED;
    count->flows += begins_unrecorded(packet, service);
    return service->mode == INLINE ? go_on(ctx, MODE_INLINE) : go_on(ctx, MODE_L3DSR);
}

/* Send a packet of a translated flow to its target. */
static ALWAYS_INLINE int send_translated(struct xdp_md *ctx, const struct plain *packet,
                                         const struct service *service, __u32 number,
                                         const struct found *found, const struct target *target,
                                         const struct hop *hop)
{
    struct ethhdr *link = (void *)(long)ctx->data;

    if ((void *)link + sizeof(struct ethhdr) + PLAIN_BYTES > (void *)(long)ctx->data_end || !found->flow ||
        !is_translated_plainly(link, ctx->ingress_ifindex, found->flow, target))
        return go_on_rewriting(ctx, packet, service, number, found->target);
    translate(link, found->flow, target);
    readdress_link(link, hop);
    count_sent(found->target, packet->frame_bytes, FORWARDED);
    return send_by(ctx, hop->ifindex);
}

/* Send a plain packet to its target; LONG_WAY: it cannot be done here. */
static ALWAYS_INLINE int send_plain(struct xdp_md *ctx, const struct plain *packet,
                                    const struct service *service, __u32 number, const struct found *found)
{
    struct target *target = bpf_map_lookup_elem(&targets, &found->target);
    const struct hop *hop;

    if (!target || target->hop_in_use > 1)
        return LONG_WAY;
    if (found->flow && packet->protocol != IPPROTO_TCP && !(target->flags & UP))
        return LONG_WAY; /* it is picked anew */
    hop = &target->hop[target->hop_in_use & 1];
    if (found->flow && found->flow->until_s != found->until_s)
        found->flow->until_s = found->until_s;
    if (service->mode == INLINE)
        return send_translated(ctx, packet, service, number, found, target, hop);
    if (service->mode == L3DSR) {
        if (!is_wrapped_plainly(packet, service, target))
            return go_on_rewriting(ctx, packet, service, number, found->target);
        if (bpf_xdp_adjust_head(ctx, -(int)sizeof(struct iphdr)))
            return LONG_WAY;
    }
    struct ethhdr *link = (void *)(long)ctx->data;

    if ((void *)link + sizeof(struct ethhdr) + sizeof(struct iphdr) > (void *)(long)ctx->data_end)
        return XDP_ABORTED; /* cannot be */
    if (service->mode == L3DSR)
        wrap_ipip(link, hop, target, packet->tos, packet->ip_bytes);
    else
        readdress_link(link, hop);
    struct count *count = bpf_map_lookup_elem(&counts, &found->target);

    if (count) {
        count->packets++;
        count->octets += packet->frame_bytes;
        count->flows += begins_unrecorded(packet, service);
    }
    count_reason(FORWARDED);
    return send_by(ctx, hop->ifindex);
}

/* Read a frame; 0: it is not plain. */
static ALWAYS_INLINE int read_plain(struct xdp_md *ctx, struct plain *packet)
{
    const __u64 *at = (void *)(long)ctx->data;
    void *end = (void *)(long)ctx->data_end;
    struct interface *here = interface_of(ctx->ingress_ifindex);
    __u64 *word = packet->word;

    if (!here || (void *)at + sizeof(struct ethhdr) + PLAIN_BYTES > end)
        return 0;
#pragma unroll
    for (int i = 0; i < 6; i++)
        word[i] = at[i];
    if (BYTES(word[0] ^ *(const __u64 *)here->mac, 0, 6) || BYTES(word[1], 4, 3) != IPV4_WITHOUT_OPTIONS ||
        BYTES(word[2], 4, 2) & bpf_htons(0x3fff) || !sums_up(word))
        return 0;
    packet->frame_bytes = end - (void *)at;
    packet->ip_bytes = bpf_ntohs(BYTES(word[2], 0, 2));
    packet->tos = BYTES(word[1], 7, 1);
    packet->src = BYTES(word[3], 2, 4);
    if (packet->ip_bytes + sizeof(struct ethhdr) > packet->frame_bytes ||
        (here->mtu_bytes && packet->ip_bytes > here->mtu_bytes))
        return 0;
    struct address src = {.word = {0, 0, MAPPED, packet->src}};
    __u64 hash = hash_of_place(&src, 0);

    if (is_odd_source(here, &src, hash))
        return 0;
    packet->is_from_server = is_in_filter(here->server_filter, FILTER_BIT(hash));
    packet->dst = JOINED(BYTES(word[3], 6, 2), BYTES(word[4], 0, 2));
    packet->ports = BYTES(word[4], 2, 4);
    packet->protocol = BYTES(word[2], 7, 1);
    packet->tcp_flags = 0;
    if (packet->protocol == IPPROTO_TCP) {
        __u32 header_bytes = BYTES(word[5], 6, 1) >> 4 << 2;

        packet->tcp_flags = BYTES(word[5], 7, 1);
        return header_bytes >= 20 && header_bytes + sizeof(struct iphdr) <= packet->ip_bytes;
    }
    __u32 udp_bytes = bpf_ntohs(BYTES(word[4], 6, 2));

    return packet->protocol == IPPROTO_UDP && udp_bytes >= 8 &&
           udp_bytes + sizeof(struct iphdr) <= packet->ip_bytes;
}

/* Leave a packet to the step that knows what inline servers answer. */
static ALWAYS_INLINE int go_on_answering(struct xdp_md *ctx, const struct plain *packet)
{
    struct job *job = this_job();

    if (!job)
        return LONG_WAY;
    fill_job(job, packet);
    return go_on(ctx, REPLY);
}

static ALWAYS_INLINE int plain(struct xdp_md *ctx)
{
    struct plain packet;
    struct found found = {};
    __u32 index;

    if (!read_plain(ctx, &packet))
        return LONG_WAY;
    struct address vip = {.word = {0, 0, MAPPED, packet.dst}};

    index = service_at(&vip, BYTES(packet.word[4], 4, 2), packet.protocol);
    struct service *service = index ? bpf_map_lookup_elem(&services, &index) : 0;

    if (service && service->flags & PLAIN && !(service->flags & CLAMPS_MSS && packet.tcp_flags & TH_SYN))
        found = plain_target(service, &packet);
    if (!found.flow && UNLIKELY(packet.is_from_server))
        return go_on_answering(ctx, &packet);
    return service && found.target ? send_plain(ctx, &packet, service, index, &found) : LONG_WAY;
}

#endif
