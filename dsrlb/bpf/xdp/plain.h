/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * The short way (shortcut.py): a plain packet that needs no record, or has one of which it changes nothing
 * but the time.  What is looked at, once each, mostly a cache line: interface, front, service, slot or flow,
 * target, counts.  What goes into more than an IPv4 header is left to l3dsr.h, what is not translated plainly
 * to inline.h, what inline servers answer to reply.h; whatever is not as plain as that goes the long way with
 * nothing changed.
 *
 * The records of many flows are in no cache.  The processor looks only so many instructions ahead of one that
 * waits for memory; so what can be done before a record is looked at is done before, and little is left to do
 * behind: then the next frame is fetched at the same time.
 */
#ifndef DSRLB_XDP_PLAIN_H
#define DSRLB_XDP_PLAIN_H

#include "l2dsr.h"
#include "l3dsr.h"
#include "plain_packet.h"
#include "plain_record.h"
#include "sampling.h"
#include "slots.h"
#include "states.h"
#include "translate.h"

#define LONG_WAY -1
#define OTHER_HEADERS -2 /* the target is known; its headers are written by the step of the mode */

struct way { /* what a packet has met so far */
    struct service *service;
    struct reasons *reasons; /* this CPU's */
    __u32 hash;              /* of its flow */
    __u32 opens;             /* 1: it begins a flow that has no record */
    struct ethhdr *link;     /* first byte of the frame as it is to be sent */
    int is_grown;            /* ... which has room for an outer IPv4 header already */
};

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
    job->is_fragment = job->is_first = job->samples = 0;
}

/* Leave a packet whose target is known to the step of its service's mode. */
static ALWAYS_INLINE int go_on_rewriting(struct xdp_md *ctx, const struct plain *packet,
                                         const struct way *way, __u32 number, __u32 target)
{
    struct count *count = bpf_map_lookup_elem(&counts, &target);
    struct job *job = this_job();

    if (!job || !count)
        return LONG_WAY;
    fill_job(job, packet);
    job->service = number;
    job->target = target;
    job->reason = FORWARDED;
    count->flows += way->opens;
    return way->service->mode == INLINE ? go_on(ctx, MODE_INLINE) : go_on(ctx, MODE_L3DSR);
}

/* Leave a packet, of which classify could tell no more, to the step that looks for its flow: perhaps as what an
 * inline server answers. */
static ALWAYS_INLINE int go_on_looking(struct xdp_md *ctx, const struct plain *packet)
{
    struct job *job = this_job();

    if (!job)
        return LONG_WAY;
    fill_job(job, packet);
    return packet->is_from_server ? go_on(ctx, REPLY) : go_on(ctx, FORWARD);
}

/* Whether one IPv4 header more is what a packet needs on its way to a target. */
static ALWAYS_INLINE int takes_wrapped(const struct target *target, const struct plain *packet)
{
    return (target->flags & (IS_V4 | HAS_SOURCE)) == (IS_V4 | HAS_SOURCE) &&
           (__u16)(target->mtu_bytes - 1) >= packet->ip_bytes + sizeof(struct iphdr) - 1; /* 0: no limit */
}

/* Write the headers of a packet to a target; returns 0: not here. */
static ALWAYS_INLINE int rewrite_plain(const struct plain *packet, const struct way *way,
                                       const struct target *target, const struct hop *hop,
                                       const struct flow *flow)
{
    if (way->is_grown) {
        if (!takes_wrapped(target, packet))
            return 0;
        wrap_ipip(way->link, hop, target, packet->tos, packet->ip_bytes);
        return 1;
    }
    if (way->service->mode != L2DSR) {
        if (way->service->mode != INLINE || !flow ||
            !is_translated_plainly(way->link, packet->here->ifindex, flow, target))
            return 0;
        translate(way->link, flow, target);
    }
    readdress_link(way->link, hop);
    return 1;
}

/* Send a packet to a target.  `flow`: its record, if it has one, and until when that holds if it is sent. */
static ALWAYS_INLINE int send_plain(const struct plain *packet, const struct way *way, __u32 number,
                                    struct flow *flow, __u32 until)
{
    const struct target *target = bpf_map_lookup_elem(&targets, &number);
    const struct hop *hop;
    struct count *count;

    if (!target || target->hop_in_use > 1)
        return LONG_WAY;
    hop = &target->hop[target->hop_in_use];
    if (flow) {
        if (packet->protocol != IPPROTO_TCP && !(target->flags & UP))
            return LONG_WAY; /* it is picked anew */
        if (flow->until_s != until)
            flow->until_s = until;
    }
    if (!rewrite_plain(packet, way, target, hop, flow))
        return OTHER_HEADERS;
    count = bpf_map_lookup_elem(&counts, &number);
    if (count) {
        count->packets++;
        count->octets += packet->frame_bytes;
        if (!flow)
            count->flows += way->opens;
    }
    way->reasons->of[FORWARDED]++;
    note_reason(FORWARDED);
    note_target(number);
    note_way_out(hop->ifindex);
    return hop->ifindex == packet->here->ifindex ? XDP_TX : (int)bpf_redirect(hop->ifindex, 0);
}

/* Send a packet by its record. */
static ALWAYS_INLINE int send_by_record(const struct plain *packet, const struct way *way, __u32 *target)
{
    const struct service *service = way->service;
    __u32 now = now_s();
    __u32 until = now + service->timeout_s[packet->protocol == IPPROTO_TCP ? ESTABLISHED : UDP_FLOW];
    struct flow *flow = plain_record(service, packet, way->hash, now, target);

    return flow ? send_plain(packet, way, *target, flow, until) : LONG_WAY;
}

/* Send a packet by what the slots tell. */
static ALWAYS_INLINE int send_by_slots(const struct plain *packet, const struct way *way, __u32 *target)
{
    const struct service *service = way->service;
    __u32 hash = way->hash;

    if (service->flags & HASHES_CLIENT) {
        struct address network = {.word = {0, 0, MAPPED, packet->src}};

        if (service->prefix4 < 32)
            network.word[3] &= service->prefix4 ? bpf_htonl(~0U << (32 - service->prefix4)) : 0;
        hash = hash_of_client(&network);
    }
    *target = target_by_hash(service->slots, service->slot_count, hash);
    return *target ? send_plain(packet, way, *target, 0, 0) : LONG_WAY;
}

/* Whether a packet may be plain for its service: not where slots are changing hands, nor if it opens or ends
 * a flow that has a record, nor if its handshake is looked at, nor if it is an inline server's and no record
 * says otherwise. */
static ALWAYS_INLINE int is_plain_for(const struct service *service, const struct plain *packet, __u32 hash)
{
    if (service->flags & (CLAMPS_MSS | SAMPLES) &&
        (packet->tcp_flags & TH_SYN || (service->flags & SAMPLES && is_sampled(hash, packet->ports))))
        return 0;
    if (!(service->flags & LOOKS_UP))
        return !packet->is_from_server;
    return service->flags & RECORDS_ALL && !(packet->tcp_flags & (TH_SYN | TH_FIN | TH_RST));
}

/* A packet without a service of its port: if its address is no VIP, it is the host's. */
static ALWAYS_INLINE int plain_without_service(const struct plain *packet, const struct address *vip)
{
    __u64 hash = hash_of_place(vip, 0);

    if (packet->is_from_server ||
        (is_in_filter(packet->here->vip_filter, FILTER_BIT(hash)) && is_vip_at(vip, hash)))
        return LONG_WAY;
    return stop(NOT_VIP);
}

/* Send a packet of a service. */
static ALWAYS_INLINE int plain_of(struct xdp_md *ctx, const struct plain *packet, __u32 number)
{
    struct way way = {.link = (struct ethhdr *)packet->word};
    __u32 zero = 0, target = 0;
    int verdict;

    way.service = bpf_map_lookup_elem(&services, &number);
    way.reasons = bpf_map_lookup_elem(&reasons, &zero);
    way.hash = hash_of_flow4(packet->src, packet->dst, packet->ports, packet->protocol);
    if (!way.service || !way.reasons || !is_plain_for(way.service, packet, way.hash))
        return LONG_WAY;
    way.opens = !(way.service->flags & RECORDS_ALL) && (packet->tcp_flags & (TH_SYN | TH_ACK)) == TH_SYN;
    if (way.service->flags & GROWS && packet->frame_bytes == packet->ip_bytes + sizeof(struct ethhdr)) {
        if (bpf_xdp_adjust_head(ctx, -(int)sizeof(struct iphdr)))
            return LONG_WAY;
        way.is_grown = 1;
        way.link = (void *)(long)ctx->data;
        if ((void *)(way.link + 1) + sizeof(struct iphdr) > (void *)(long)ctx->data_end)
            return XDP_ABORTED; /* cannot be: it has just grown */
    }
    if (way.service->flags & LOOKS_UP)
        verdict = send_by_record(packet, &way, &target);
    else
        verdict = send_by_slots(packet, &way, &target);
    if (LIKELY(verdict >= 0))
        return verdict;
    if (way.is_grown && bpf_xdp_adjust_head(ctx, sizeof(struct iphdr)))
        return XDP_ABORTED; /* cannot be: it is as it was */
    return verdict == OTHER_HEADERS ? go_on_rewriting(ctx, packet, &way, number, target) : verdict;
}

static ALWAYS_INLINE int plain(struct xdp_md *ctx)
{
    struct plain packet;
    __u32 number;
    int verdict;

    if (!read_plain(ctx, &packet))
        return LONG_WAY;
    struct address vip = {.word = {0, 0, MAPPED, packet.dst}};

    number = service_at(&vip, BYTES(packet.word[4], 4, 2), packet.protocol);
    verdict = number ? plain_of(ctx, &packet, number) : plain_without_service(&packet, &vip);
    return verdict == LONG_WAY ? go_on_looking(ctx, &packet) : verdict;
}

#endif
