/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * nat.answer: what the balancer translates back.  A packet from a server is looked up by its flow's second
 * name; found, it leaves as the VIP's answer to the client, by the way that the client's last packet came.
 * What a server sends on its own account has no such name, and goes on as any other packet.
 */
#ifndef DSRLB_XDP_REPLY_H
#define DSRLB_XDP_REPLY_H

#include "classify.h"
#include "forward.h"
#include "fragments.h"
#include "icmp.h"
#include "naming.h"
#include "readdress.h"
#include "sampling.h"

struct {
    MAP_NUMBER(type, BPF_MAP_TYPE_HASH);
    MAP_NUMBER(max_entries, 2);
    MAP_NUMBER(map_flags, BPF_F_NO_PREALLOC);
    MAP_TYPE(key, struct address);
    MAP_TYPE(value, __u32); /* 1 */
} servers SEC(".maps"); /* ForwardingTable.servers */

struct {
    MAP_NUMBER(type, BPF_MAP_TYPE_HASH);
    MAP_NUMBER(max_entries, 2);
    MAP_NUMBER(map_flags, BPF_F_NO_PREALLOC);
    MAP_TYPE(key, struct service_key); /* of a server's address, and the port that it answers from */
    MAP_TYPE(value, __u32); /* whether to anybody, or to VIPs only */
} answering SEC(".maps"); /* ForwardingTable.answering */

struct {
    MAP_NUMBER(type, BPF_MAP_TYPE_HASH);
    MAP_NUMBER(max_entries, 2);
    MAP_NUMBER(map_flags, BPF_F_NO_PREALLOC);
    MAP_TYPE(key, struct address);
    MAP_TYPE(value, __u32); /* 1 */
} own_addresses SEC(".maps"); /* ForwardingTable.own */

struct {
    MAP_NUMBER(type, BPF_MAP_TYPE_LRU_HASH);
    MAP_NUMBER(max_entries, 16384); /* fragments.MAX_DATAGRAMS */
    MAP_TYPE(key, struct fragment_key);
    MAP_TYPE(value, struct reply_owner);
} reply_fragments SEC(".maps");

/* Whether an address may be in table.servers: most others are told by the interface's filter. */
static ALWAYS_INLINE int is_perhaps_server(const struct xdp_md *ctx, const struct address *address)
{
    const struct interface *here = interface_of(ctx->ingress_ifindex);

    return here && is_in_filter(here->server_filter, FILTER_BIT(hash_of_place(address, 0)));
}

static ALWAYS_INLINE int is_server(const struct address *address)
{
    return bpf_map_lookup_elem(&servers, address) != 0;
}

/* Whether an address is the host's own: what servers send there is not translated. */
static ALWAYS_INLINE int is_own(const struct address *address)
{
    return bpf_map_lookup_elem(&own_addresses, address) != 0;
}

/* Whether an ICMP packet is an error that quotes a packet. */
static ALWAYS_INLINE int is_whole_error(struct xdp_md *ctx, const struct job *job)
{
    const struct icmp_head *head = part_of(ctx, job->l4_at, sizeof(*head));

    return !job->is_fragment && head && job->l4_at + ICMP_BYTES <= job->end && is_error(job, head->type);
}

/* The inline service that a flow is of, by its first name, if its target is a backend of it; else 0. */
static ALWAYS_INLINE const struct service *service_of(const struct flow_key *key, const struct flow *flow)
{
    __u32 index = find_service(&key->dst, key->dport, key->protocol);
    const struct service *service = bpf_map_lookup_elem(&services, &index);

    return index && service && service->mode == INLINE && member_of(service, flow->target) ? service : 0;
}

/* Note a server's packet of a flow on record. */
static ALWAYS_INLINE void note_reply(struct flow *flow, const struct translation *translation,
                                     const struct service *service, const struct job *job, __u32 now)
{
    __u8 state = flow->state;
    __u32 until;

    if (job->protocol == IPPROTO_TCP && next_state(state, job->tcp_flags, 1) != state) {
        enter(flow, &translation->key, translation->hash, service, job->tcp_flags, 1, now);
        return;
    }
    until = now + timeout_of(service, state);
    if (flow->until_s != until)
        flow->until_s = until;
}

/* nat._send_back: send a packet to the client of its flow, whose key is in job->name. */
static ALWAYS_INLINE int send_back(struct xdp_md *ctx, struct job *job, const struct translation *translation)
{
    __u32 out = translation->back_ifindex;
    const struct interface *there = interface_of(out);

    if (!there)
        return stop(REPLY_UNMATCHED);
    if (!lives_on(ctx, job))
        return stop(TTL_DROPPED);
    if (is_aggregate(ctx, job))
        return hand_over();
    if (there->mtu_bytes && job->end - job->l3_at > there->mtu_bytes)
        return refuse_long(ctx, job, there->mtu_bytes);
    job->name = translation->key;
    if (!readdress(ctx, job, &job->name, translation->back_link, translation->link_bytes))
        return XDP_ABORTED; /* cannot be: there is room for two VLAN tags */
    count_reason(REPLY_FORWARDED);
    return send_by(ctx, out);
}

/* nat._unmatched: what comes from a service's port of a server but belongs to no flow.  Whether it is
 * dropped; else it is not our business. */
static ALWAYS_INLINE int is_unmatched(const struct job *job)
{
    struct service_key from = {.vip = job->key.src, .port = job->key.sport, .protocol = job->protocol};
    const __u32 *to_anybody = bpf_map_lookup_elem(&answering, &from);
    int is_to_us;

    if (!to_anybody) {
        from.port = 0;
        to_anybody = bpf_map_lookup_elem(&answering, &from);
    }
    if (!to_anybody || is_own(&job->key.dst))
        return 0;
    is_to_us = is_vip(&job->key.dst);
    if (is_to_us && service_at(&job->key.dst, job->key.dport, job->protocol))
        return 0; /* the server is a client now */
    return *to_anybody || is_to_us;
}

/* Note whose the first piece of a server's datagram is; 0: the server's own. */
static ALWAYS_INLINE void remember_reply(const struct job *job, const struct translation *translation,
                                         __u32 now)
{
    struct reply_owner owner = {.until_s = now + REMEMBER_S};

    if (translation) {
        owner.is_ours = 1;
        owner.key = translation->key;
        owner.name = job->key;
    }
    bpf_map_update_elem(&reply_fragments, &job->datagram, &owner, BPF_ANY);
}

#define NO_REPLY -1 /* go on as with any other packet */

/* nat._later_piece: a later piece of a server's goes after its first one. */
static ALWAYS_INLINE int send_later_piece(struct xdp_md *ctx, struct job *job)
{
    const struct reply_owner *owner = bpf_map_lookup_elem(&reply_fragments, &job->datagram);
    const struct translation *translation;

    if (!owner || now_s() > owner->until_s) { /* the server is a client now; or to be held */
        int is_a_client = is_vip(&job->key.dst) && owner_of_piece(job);

        return is_own(&job->key.dst) || is_a_client ? NO_REPLY : hand_over();
    }
    if (!owner->is_ours)
        return NO_REPLY;
    translation = bpf_map_lookup_elem(&replies, &owner->name);
    if (!translation || !is_key(&translation->key, &owner->key))
        return stop(REPLY_UNMATCHED);
    return send_back(ctx, job, translation);
}

/* What belongs to no flow, if it is a server's: dropped, or not our business, nor are its later pieces. */
static ALWAYS_INLINE int send_unmatched(const struct job *job, int has_ports, __u32 now)
{
    if (!is_server(&job->key.src))
        return NO_REPLY;
    if (has_ports && is_unmatched(job))
        return stop(REPLY_UNMATCHED);
    if (job->is_fragment)
        remember_reply(job, 0, now);
    return NO_REPLY;
}

/* Send a packet of a flow on record to its client; a reset may be the end of a handshake. */
static ALWAYS_INLINE int send_back_of(struct xdp_md *ctx, struct job *job,
                                      const struct translation *translation, const struct service *service)
{
    int resets = service->flags & SAMPLES && job->tcp_flags & TH_RST;
    __u32 hash = translation->hash;
    int verdict = send_back(ctx, job, translation);

    if (resets && (verdict == XDP_TX || verdict == XDP_REDIRECT)) /* its first name is in job->name */
        sample_next(hash, *(const __be32 *)&job->name.sport, TH_RST);
    return verdict;
}

/* nat._reply: a TCP or UDP packet of a server goes to the client of its flow. */
static ALWAYS_INLINE int send_reply(struct xdp_md *ctx, struct job *job)
{
    const __u32 *ports = part_of(ctx, job->l4_at, sizeof(*ports));
    const struct translation *translation;
    const struct service *service;
    struct flow *flow = 0;
    __u32 now = now_s();

    if (!ports || job->l4_at + sizeof(*ports) > job->end)
        return send_unmatched(job, 0, now);
    __builtin_memcpy(&job->key.sport, ports, sizeof(*ports));
    translation = bpf_map_lookup_elem(&replies, &job->key);
    if (translation)
        flow = flow_of(&translation->key, translation->hash);
    if (!translation || !flow || is_over(flow, now))
        return send_unmatched(job, 1, now);
    service = service_of(&translation->key, flow);
    if (!service)
        return send_unmatched(job, 1, now);
    if (!(job->protocol == IPPROTO_TCP ? read_tcp(ctx, job) : read_udp(ctx, job)))
        return stop(MALFORMED);
    note_target(flow->target);
    note_reply(flow, translation, service, job, now);
    if (job->is_fragment)
        remember_reply(job, translation, now);
    return send_back_of(ctx, job, translation, service);
}

/* What a server answered; NO_REPLY: it is no answer. */
static ALWAYS_INLINE int answer(struct xdp_md *ctx, struct job *job)
{
    if ((job->version == 6) == is_mapped(&job->key.src))
        return NO_REPLY;
    if (is_icmp(job))
        return is_whole_error(ctx, job) ? go_on(ctx, ABOUT_REQUEST) : NO_REPLY;
    if (!is_perhaps_server(ctx, &job->key.src))
        return NO_REPLY;
    if (job->is_fragment && !job->is_first)
        return is_server(&job->key.src) ? send_later_piece(ctx, job) : NO_REPLY;
    if (job->protocol != IPPROTO_TCP && job->protocol != IPPROTO_UDP)
        return NO_REPLY;
    return send_reply(ctx, job);
}

static ALWAYS_INLINE int reply(struct xdp_md *ctx)
{
    struct job *job = this_job();
    int verdict = job ? answer(ctx, job) : hand_over();

    return verdict == NO_REPLY ? go_on_by_kind(ctx, job) : verdict;
}

#endif
