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
#define LOST_RACE -1 /* no Reason: the packet's sender will send it again */

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

enum claim { MINE, ANOTHERS, NO_ROOM };

/* Put a name into `replies`, unless another flow has it. */
static ALWAYS_INLINE enum claim claim(const struct flow_key *name, const struct translation *fresh)
{
    int error = bpf_map_update_elem(&replies, name, fresh, BPF_NOEXIST);
    const struct translation *other;

    if (!error)
        return MINE;
    if (error != -EEXIST)
        return NO_ROOM;
    other = bpf_map_lookup_elem(&replies, name); /* perhaps another CPU has just named the flow */
    return other && is_key(&other->key, &fresh->key) ? MINE : ANOTHERS;
}

/* Give a flow its client's own port, or, if that is taken by a connection of the same address and port to
 * another VIP, another one, as Linux's own NAT does.  Returns 0, or REFUSED. */
static ALWAYS_INLINE int take_clients_port(struct flow_key *name, const struct translation *fresh)
{
    enum claim come = claim(name, fresh);
    __u32 first = hash_of_flow(name);

    for (__u32 turn = 0; turn < PORT_TRIES && come == ANOTHERS; turn++) {
        name->dport = bpf_htons(FIRST_PORT + (first + (__u64)turn * PORT_STRIDE) % RING_PORTS);
        come = claim(name, fresh);
    }
    return come == MINE ? 0 : REFUSED;
}

/* SourcePorts.take: give a flow the ring's next port.  A port that another flow has all the same is marked as
 * in use from now on.  Returns 0, or SNAT_EXHAUSTED. */
static ALWAYS_INLINE int take_rings_port(struct flow_key *name, const struct translation *fresh, __u32 now)
{
    struct flow_key key = ring_key(name);
    struct ring *ring = ring_of(name, &key, now);
    enum claim come;
    __u32 place;

    if (!ring)
        return SNAT_EXHAUSTED;
    place = ring->head;
    for (__u32 turn = 0; turn < RING_TURNS; turn++) {
        __u32 number = place / ARC_PORTS % ARCS, found;
        struct arc *arc;

        key.zero[0] = number;
        arc = arc_of(&key);
        if (!arc)
            return SNAT_EXHAUSTED;
        found = take_in_arc(arc, place % ARC_PORTS);
        place = number * ARC_PORTS + found;
        if (found == ARC_PORTS)
            continue; /* the next arc, from its beginning on */
        add_to(&ring->used, 1);
        name->dport = bpf_htons(FIRST_PORT + place);
        ring->head = ++place % RING_PORTS;
        come = claim(name, fresh);
        if (come == MINE)
            return 0;
        if (come == NO_ROOM) {
            give_back(name);
            break;
        }
    }
    return SNAT_EXHAUSTED;
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
        return take_clients_port(name, &naming->fresh);
    place = place_of_stand_in(&service->source);
    if (place == STAND_INS)
        return none;
    name->dst = service->source;
    naming->stand_in = place;
    naming->bits = HAS_NAME | HAS_PORT;
    return take_rings_port(name, &naming->fresh, now);
}

/* Write the name into a flow's line, if it has none and is the record that was found, `holder`. */
static ALWAYS_INLINE int write_name(struct flow *flow, __u32 holder, const struct job *job,
                                    const struct naming *naming)
{
    struct lock *lock = flow_lock(job->hash);
    int is_written;

    if (!lock)
        return 0;
    bpf_spin_lock(&lock->lock);
    is_written = holder_of(flow) == holder && !(flow->bits & HAS_NAME);
    if (is_written) {
        flow->nat_port = job->name.dport;
        flow->stand_in = naming->stand_in;
        flow->back = naming->back;
        *(volatile __u8 *)&flow->bits = naming->bits;
    }
    bpf_spin_unlock(&lock->lock);
    return is_written;
}

/* Another CPU was faster: it has named the flow, perhaps by the same name, or ended its record.  Returns 0 if
 * there is a name now. */
static ALWAYS_INLINE int take_others_name(struct flow *flow, __u32 holder, struct job *job,
                                          const struct naming *naming)
{
    int is_named = holder_of(flow) == holder && flow->bits & HAS_NAME;

    if (!is_named || flow->nat_port != job->name.dport || naming->bits & HAS_PORT)
        drop_name(&job->name, &job->key, naming->bits & HAS_PORT);
    return is_named && name_of(flow, &job->name) ? 0 : LOST_RACE;
}

/* The line has the name now.  Whoever ended an earlier record of the flow at that moment may have given the
 * name up as that one's: then it is put back, unless this record has ended as well. */
static ALWAYS_INLINE void keep_name(const struct flow *flow, __u32 holder, const struct job *job,
                                    const struct naming *naming)
{
    if (bpf_map_lookup_elem(&replies, &job->name) || claim(&job->name, &naming->fresh) != MINE)
        return;
    if (holder_of(flow) != holder)
        drop_name(&job->name, &job->key, 0);
}

/* Give a flow on record a second name.  Returns 0, or the Reason why that cannot be. */
static ALWAYS_INLINE int give_name(struct xdp_md *ctx, struct flow *flow, __u32 holder, struct job *job,
                                   const struct service *service, const struct target *target,
                                   struct naming *naming, __u32 now)
{
    int why;

    note_way_back(ctx, job, &naming->fresh);
    naming->fresh.key = job->key;
    naming->fresh.hash = job->hash;
    why = find_name(job, service, target, naming, now);
    if (why)
        end_record(&job->key, job->hash, ALWAYS_OVER);
    else if (!write_name(flow, holder, job, naming))
        why = take_others_name(flow, holder, job, naming);
    else
        keep_name(flow, holder, job, naming);
    return why;
}

/* Note that the client's packets come by another router now. */
static ALWAYS_INLINE void change_way_back(struct xdp_md *ctx, struct flow *flow, const struct job *job,
                                          struct naming *naming)
{
    const struct translation *known = bpf_map_lookup_elem(&replies, &job->name);

    if (!known || !is_key(&known->key, &job->key))
        return; /* it has just ended */
    note_way_back(ctx, job, &naming->fresh);
    naming->fresh.key = job->key;
    naming->fresh.hash = job->hash;
    if (!bpf_map_update_elem(&replies, &job->name, &naming->fresh, BPF_EXIST))
        flow->back = naming->back;
}

/* Tell the second name of the flow of a client's packet, in job->name, and its target, in job->target: where
 * its record says.  Returns 0, or the Reason why replies could not be sent back: the flow has no record, no
 * name is left for it, or it comes from no machine's MAC; LOST_RACE: another CPU has ended it. */
static ALWAYS_INLINE int tell_name(struct xdp_md *ctx, struct job *job, const struct service *service)
{
    struct flow *flow = flow_of(&job->key, job->hash);
    __u32 zero = 0, now = now_s(), holder = flow ? holder_of(flow) : 0;
    struct naming *naming = bpf_map_lookup_elem(&namings, &zero);
    const struct ethhdr *link = part_of(ctx, 0, sizeof(*link));
    const struct target *target;
    int is_group;

    if (!flow || is_over(flow, now) || !naming || !link)
        return REFUSED; /* the table is full */
    if (flow->target != job->target)
        job->target = member_of(service, flow->target);
    target = bpf_map_lookup_elem(&targets, &job->target);
    if (!job->target || !target)
        return LOST_RACE;
    is_group = link->h_source[0] & 1; /* no machine sends from such an address */
    naming->back = way_of_tagged(ctx, job);
    if (!(flow->bits & HAS_NAME) && is_group) {
        end_record(&job->key, job->hash, ALWAYS_OVER);
        return MALFORMED;
    }
    if (!(flow->bits & HAS_NAME))
        return give_name(ctx, flow, holder, job, service, target, naming, now);
    if (!name_of(flow, &job->name))
        return LOST_RACE;
    if (flow->back != naming->back && !is_group)
        change_way_back(ctx, flow, job, naming);
    return 0;
}

#endif
