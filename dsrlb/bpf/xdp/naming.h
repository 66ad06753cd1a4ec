/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * nat.reply_key: the second name of the flow of a client's packet; a new flow gets one.
 *
 * A name is put into `replies`, where no other flow can have it, before the flow's line says that it has one;
 * who of two CPUs comes second gives its own up.
 */
#ifndef DSRLB_XDP_NAMING_H
#define DSRLB_XDP_NAMING_H

#include "frame.h"
#include "names.h"
#include "records.h"

#define PORT_TRIES 16       /* nat.TRIES: ports of a client looked at when its own is taken */
#define PORT_STRIDE 40961   /* from one to the next; has no factor of RING_PORTS */
#define RING_TURNS (ARCS + 3) /* arcs looked at: all, the first one again, and after ports that are in use */
#define EEXIST 17

struct naming { /* of one packet's flow; in a map: it is larger than a stack has room for */
    struct translation fresh;
    __u64 back; /* flow.back */
    __u16 stand_in;
    __u8 bits;
};
PER_CPU(namings, struct naming);

/* A digest of the way that a frame came by: link header without tags, interface. */
static ALWAYS_INLINE __u64 way_of(const struct ethhdr *link, __u32 ifindex)
{
    const __u32 *word = (const __u32 *)link;

    return mixed(K1 * word[0] + K2 * word[1] + K3 * word[2] + K4 * link->h_proto + K5 * ifindex);
}

/* The same where there may be tags; 0: it cannot be told. */
static ALWAYS_INLINE __u64 way_of_tagged(struct xdp_md *ctx, const struct job *job)
{
    const struct long_link *link = part_of(ctx, 0, sizeof(*link));
    const __u32 *tag;
    __u64 way;

    if (!link)
        return 0;
    tag = (const __u32 *)link->tags;
    way = way_of(&link->link, ctx->ingress_ifindex);
    if (job->l3_at > ETH_HLEN)
        way += K6 * tag[0];
    if (job->l3_at > ETH_HLEN + TAG_BYTES)
        way += K7 * tag[1];
    return way;
}

/* Note the way back, tags and all: the link header of the frame, turned. */
static ALWAYS_INLINE void note_way_back(struct xdp_md *ctx, const struct job *job, struct translation *fresh)
{
    const struct long_link *link = part_of(ctx, 0, sizeof(*link));
    struct long_link *back = (struct long_link *)fresh->back_link;

    if (!link)
        return; /* cannot be: its digest was told */
    *back = *link; /* and some of what is behind it */
    turn_back(&back->link);
    fresh->link_bytes = job->l3_at;
    fresh->back_ifindex = ctx->ingress_ifindex;
}

/* Whether a name was put into `replies`: no other flow has it. */
static ALWAYS_INLINE int is_mine(const struct flow_key *name, const struct translation *fresh, __u64 flags)
{
    const struct translation *other;

    if (!bpf_map_update_elem(&replies, name, fresh, flags))
        return 1;
    other = bpf_map_lookup_elem(&replies, name);
    return other && is_key(&other->key, &fresh->key); /* named by another CPU just now */
}

/* Give a flow its client's own port, or, if that is taken by a connection of the same address and port to
 * another VIP, another one, as Linux's own NAT does. */
static ALWAYS_INLINE int take_clients_port(struct flow_key *name, const struct translation *fresh)
{
    __u32 first;

    if (is_mine(name, fresh, BPF_NOEXIST))
        return 1;
    first = hash_of_flow(name);
    for (__u32 turn = 0; turn < PORT_TRIES; turn++) {
        name->dport = bpf_htons(FIRST_PORT + (first + (__u64)turn * PORT_STRIDE) % RING_PORTS);
        if (is_mine(name, fresh, BPF_NOEXIST))
            return 1;
    }
    return 0;
}

/* SourcePorts.take: give a flow the ring's next port. */
static ALWAYS_INLINE int take_rings_port(struct flow_key *name, const struct translation *fresh, __u32 now)
{
    struct flow_key key = ring_key(name);
    struct ring *ring = ring_of(name, &key, now);
    __u32 place;

    if (!ring)
        return 0;
    place = ring->head;
    for (__u32 turn = 0; turn < RING_TURNS; turn++) {
        __u32 number = place / ARC_PORTS % ARCS, found;
        struct arc *arc;

        key.zero[0] = number;
        arc = arc_of(&key);
        if (!arc)
            return 0;
        found = take_in_arc(arc, place % ARC_PORTS);
        place = number * ARC_PORTS + found;
        if (found == ARC_PORTS)
            continue; /* the next arc, from its beginning on */
        add_to(&ring->used, 1);
        name->dport = bpf_htons(FIRST_PORT + place);
        ring->head = ++place % RING_PORTS;
        if (is_mine(name, fresh, BPF_NOEXIST))
            return 1;
    }
    return 0;
}

/* nat._new_name: give the flow a name that no other has.  Returns 0, or the Reason why there is none. */
static ALWAYS_INLINE int find_name(struct job *job, const struct service *service,
                                   const struct target *target, struct naming *naming, __u32 now)
{
    struct flow_key *name = &job->name;
    int is_snat = service->flags & SNAT, none = is_snat ? SNAT_EXHAUSTED : REFUSED;
    __u32 place;

    naming->bits = HAS_NAME;
    naming->stand_in = 0;
    if (!(target->flags & IS_V4) != (job->version == 6))
        return none; /* one family cannot be translated into the other */
    name->src = target->address;
    name->dst = job->key.src;
    name->sport = target->port ? target->port : job->key.dport;
    name->dport = job->key.sport;
    *(__u32 *)&name->protocol = *(__u32 *)&job->key.protocol;
    if (!is_snat)
        return take_clients_port(name, &naming->fresh) ? 0 : none;
    place = place_of_stand_in(&service->source);
    if (place == STAND_INS)
        return none;
    name->dst = service->source;
    naming->stand_in = place;
    naming->bits = HAS_NAME | HAS_PORT;
    return take_rings_port(name, &naming->fresh, now) ? 0 : none;
}

/* Write the name into the flow's line, if that is still its own and has none. */
static ALWAYS_INLINE int write_name(struct flow *flow, const struct job *job, const struct naming *naming)
{
    struct lock *lock = flow_lock(job->hash);
    int is_written;

    if (!lock)
        return 0;
    bpf_spin_lock(&lock->lock);
    is_written = flow->target && is_key(&flow->key, &job->key) && !(flow->bits & HAS_NAME);
    if (is_written) {
        flow->nat_port = job->name.dport;
        flow->stand_in = naming->stand_in;
        flow->back = naming->back;
        *(volatile __u8 *)&flow->bits = naming->bits;
    }
    bpf_spin_unlock(&lock->lock);
    return is_written;
}

/* Give a flow on record a second name.  Returns 0, or the Reason why that cannot be. */
static ALWAYS_INLINE int give_name(struct xdp_md *ctx, struct flow *flow, struct job *job,
                                   const struct service *service, const struct target *target,
                                   struct naming *naming, __u32 now)
{
    int why, is_named;

    note_way_back(ctx, job, &naming->fresh);
    naming->fresh.key = job->key;
    naming->fresh.hash = job->hash;
    why = find_name(job, service, target, naming, now);
    if (why || write_name(flow, job, naming))
        return why;
    /* Another CPU was faster: it has named the flow, perhaps by the same name; or ended it. */
    is_named = flow->target && is_key(&flow->key, &job->key) && flow->bits & HAS_NAME;
    if (!is_named || flow->nat_port != job->name.dport || naming->bits & HAS_PORT)
        drop_name(&job->name, &job->key, naming->bits & HAS_PORT);
    return is_named && name_of(flow, &job->name) ? 0 : REFUSED;
}

/* Note that the client's packets come by another router now. */
static ALWAYS_INLINE void change_way_back(struct xdp_md *ctx, struct flow *flow, const struct job *job,
                                          struct naming *naming)
{
    note_way_back(ctx, job, &naming->fresh);
    naming->fresh.key = job->key;
    naming->fresh.hash = job->hash;
    if (is_mine(&job->name, &naming->fresh, BPF_EXIST))
        flow->back = naming->back;
}

/* Whether this is the name of a flow that is at a target. */
static ALWAYS_INLINE int is_at(const struct flow_key *name, const struct job *job,
                               const struct target *target)
{
    return is_same_address(&name->src, &target->address) &&
           name->sport == (target->port ? target->port : job->key.dport);
}

/* Tell the second name of the flow of a client's packet, in job->name.  Returns 0, or the Reason why replies
 * could not be sent back: the flow has no record, there is no name left for it, or it comes from no machine's
 * MAC. */
static ALWAYS_INLINE int tell_name(struct xdp_md *ctx, struct job *job, const struct service *service,
                                   const struct target *target)
{
    struct flow *flow = flow_of(&job->key, job->hash);
    __u32 zero = 0, now = now_s();
    struct naming *naming = bpf_map_lookup_elem(&namings, &zero);
    const struct ethhdr *link = part_of(ctx, 0, sizeof(*link));
    int is_group, why;

    if (!flow || is_over(flow, now) || !naming || !link)
        return REFUSED; /* the table is full */
    is_group = link->h_source[0] & 1; /* no machine sends from such an address */
    naming->back = way_of_tagged(ctx, job);
    if (!(flow->bits & HAS_NAME)) {
        why = is_group ? MALFORMED : give_name(ctx, flow, job, service, target, naming, now);
        if (why)
            end_record(&job->key, job->hash, ALWAYS_OVER);
        return why;
    }
    if (!name_of(flow, &job->name) || !is_at(&job->name, job, target))
        return REFUSED; /* an old record, in whose place none was begun */
    if (flow->back != naming->back && !is_group)
        change_way_back(ctx, flow, job, naming);
    return 0;
}

#endif
