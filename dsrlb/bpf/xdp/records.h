/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * The flow table, written: records begin, change their state and end (flows.FlowTable).
 *
 * Whatever changes a key or a state does so under the lock of the flow's two buckets; the time of the last
 * packet is written without.  What else a flow holds is given back after the lock, by end_flow().
 */
#ifndef DSRLB_XDP_RECORDS_H
#define DSRLB_XDP_RECORDS_H

#include "flows.h"
#include "names.h"
#include "states.h"
#include "steps.h"

/* Count a flow in this state in (1) or out (-1) of what its target has to do. */
static ALWAYS_INLINE void tally(__u32 target, __u8 state, __s64 change)
{
    struct load *load = bpf_map_lookup_elem(&loads, &target);

    if (!load)
        return;
    if (is_active(state))
        __atomic_fetch_add(&load->active, change, __ATOMIC_RELAXED);
    else
        __atomic_fetch_add(&load->inactive, change, __ATOMIC_RELAXED);
}

/* Whether the same flow is on record in its line again, by the same name: another CPU was fast. */
static ALWAYS_INLINE int is_named_again(const struct flow *line, const struct flow *ended)
{
    return line->target == ended->target && line->bits == ended->bits && line->nat_port == ended->nat_port &&
           line->stand_in == ended->stand_in && is_key(&line->key, &ended->key);
}

/* Give back what a flow held beside its line; `ended` is what stood there. */
static ALWAYS_INLINE void end_flow(const struct flow *line, const struct flow *ended)
{
    if (ended->bits & HAS_NAME && !is_named_again(line, ended))
        forget_name(ended);
    tally(ended->target, ended->state, -1);
}

static ALWAYS_INLINE int is_over(const struct flow *flow, __u32 now)
{
    return now > flow->until_s;
}

static ALWAYS_INLINE struct lock *flow_lock(__u32 hash)
{
    __u32 number = FLOW_LOCK(hash);

    return bpf_map_lookup_elem(&flow_locks, &number);
}

/* Let a flow change its state by a packet, if the line is still its own, and its time-out with it. */
static ALWAYS_INLINE void enter(struct flow *flow, const struct flow_key *key, __u32 hash,
                                const struct service *service, __u8 tcp_flags, int is_from_server, __u32 now)
{
    struct lock *lock = flow_lock(hash);
    __u32 target = 0;
    __u8 before = 0, after = 0;

    if (!lock)
        return;
    bpf_spin_lock(&lock->lock);
    if (is_key(&flow->key, key)) {
        target = flow->target;
        before = flow->state;
        after = next_state(before, tcp_flags, is_from_server);
        flow->state = after;
        flow->until_s = now + timeout_of(service, after);
    }
    bpf_spin_unlock(&lock->lock);
    if (target && is_active(before) != is_active(after)) {
        tally(target, before, -1);
        tally(target, after, 1);
    }
}

/* Where the records of a hash may stand, and the lock of both buckets. */
struct places {
    struct lock *lock;
    struct flow_bucket *bucket[2];
    struct flow_marks *marks[2];
};

static ALWAYS_INLINE int find_places(struct places *places, __u32 hash)
{
    __u32 first = FIRST_FLOW_BUCKET(hash), second = SECOND_FLOW_BUCKET(hash);

    places->lock = flow_lock(hash);
    places->bucket[0] = bpf_map_lookup_elem(&flows, &first);
    places->marks[0] = bpf_map_lookup_elem(&flow_marks, &first);
    places->bucket[1] = bpf_map_lookup_elem(&flows, &second);
    places->marks[1] = bpf_map_lookup_elem(&flow_marks, &second);
    return places->lock && places->bucket[0] && places->marks[0] && places->bucket[1] && places->marks[1];
}

struct line { /* of a bucket */
    struct flow *flow; /* 0: there is none */
    __u8 *mark;
};

static ALWAYS_INLINE struct line line_at(const struct places *places, int which, __u32 place)
{
    place %= FLOWS_A_BUCKET;
    return (struct line){&places->bucket[which]->flow[place], &places->marks[which]->of[place]};
}

/* A flow's own line. */
static ALWAYS_INLINE struct line own_line(const struct places *places, int which, const struct flow_key *key,
                                          __u32 hash)
{
    __u64 lines = lines_marked(places->marks[which], FLOW_MARK(hash));

    for (__u32 place = 0; lines && place < FLOWS_A_BUCKET; place++) {
        struct line line = line_at(places, which, place);

        if (IS_LINE(lines, place) && line.flow->target && is_key(&line.flow->key, key))
            return line;
    }
    return (struct line){};
}

/* A line for a new record: a free one, else one that is over. */
static ALWAYS_INLINE struct line spare_line(const struct places *places, int which, __u32 hash, __u32 now)
{
    __u64 lines = lines_marked(places->marks[which], 0);

    for (__u32 n = 0; n < FLOWS_A_BUCKET; n++) {
        __u32 place = nth_place(hash, n);
        struct line line = line_at(places, which, place);

        if (lines ? IS_LINE(lines, place) : !line.flow->target || is_over(line.flow, now))
            return line;
    }
    return (struct line){};
}

/* Write a record into a line, for those who read it at the same time. */
static ALWAYS_INLINE void write_line(struct flow *line, const struct flow *record)
{
    *(volatile __u16 *)&line->target = 0;
    KEEP_ORDER();
    line->key = record->key;
    line->until_s = record->until_s;
    line->edition++;
    line->state = record->state;
    line->bits = 0;
    line->nat_port = 0;
    line->service = record->service;
    line->stand_in = 0;
    line->back = 0;
    KEEP_ORDER();
    *(volatile __u16 *)&line->target = record->target;
}

/* Whether this CPU may begin a record yet in this second (setup.inserts_a_second). */
static ALWAYS_INLINE int may_begin(__u32 now)
{
    __u32 zero = 0;
    const struct setup *all = bpf_map_lookup_elem(&setup, &zero);
    struct allowance *mine = bpf_map_lookup_elem(&allowances, &zero);

    if (!all || !mine || !all->inserts_a_second)
        return 1;
    if (mine->second_s != now) {
        mine->second_s = now;
        mine->begun = 0;
    }
    return mine->begun++ < all->inserts_a_second;
}

/* FlowTable.has_room: whether a flow can be recorded, in place of its own record or as one more. */
static ALWAYS_INLINE int has_room(const struct places *places, const struct flow_key *key, __u32 hash, __u32 now)
{
    if (own_line(places, 0, key, hash).flow || own_line(places, 1, key, hash).flow)
        return 1;
    return may_begin(now) && (spare_line(places, 0, hash, now).flow || spare_line(places, 1, hash, now).flow);
}

/* Begin a record, in place of another of its key; returns whether there was room for it. */
static ALWAYS_INLINE int begin_record(const struct places *places, const struct flow *record, __u32 hash,
                                      __u32 now)
{
    struct flow ended = {};
    struct line line;

    bpf_spin_lock(&places->lock->lock);
    line = own_line(places, 0, &record->key, hash);
    if (!line.flow)
        line = own_line(places, 1, &record->key, hash);
    if (!line.flow)
        line = spare_line(places, 0, hash, now);
    if (!line.flow)
        line = spare_line(places, 1, hash, now);
    if (line.flow) {
        ended = *line.flow;
        write_line(line.flow, record);
        *line.mark = FLOW_MARK(hash);
    }
    bpf_spin_unlock(&places->lock->lock);
    if (!line.flow)
        return 0;
    if (ended.target)
        end_flow(line.flow, &ended);
    tally(record->target, record->state, 1);
    return 1;
}

/* End the record of a flow, if there is one that is over at this time. */
#define ALWAYS_OVER (~0U)
static ALWAYS_INLINE void end_record(const struct flow_key *key, __u32 hash, __u32 now)
{
    struct flow ended = {};
    struct places places;
    struct line line;

    if (!find_places(&places, hash))
        return;
    bpf_spin_lock(&places.lock->lock);
    line = own_line(&places, 0, key, hash);
    if (!line.flow)
        line = own_line(&places, 1, key, hash);
    if (line.flow && is_over(line.flow, now)) {
        ended = *line.flow;
        line.flow->target = 0;
        *line.mark = 0;
    }
    bpf_spin_unlock(&places.lock->lock);
    if (ended.target && line.flow)
        end_flow(line.flow, &ended);
}

#endif
