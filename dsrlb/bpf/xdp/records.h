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

/* Give back what a flow held beside its line; `ended` is what stood there. */
static ALWAYS_INLINE void end_flow(const struct flow *ended)
{
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

/* End a record if the line is still this flow's, and over at this time. */
#define ALWAYS_OVER (~0U)
static ALWAYS_INLINE void end_record(struct flow *flow, const struct flow_key *key, __u32 hash, __u32 now)
{
    struct lock *lock = flow_lock(hash);
    struct flow ended = {};

    if (!lock)
        return;
    bpf_spin_lock(&lock->lock);
    if (flow->target && is_key(&flow->key, key) && is_over(flow, now)) {
        ended = *flow;
        flow->target = 0;
    }
    bpf_spin_unlock(&lock->lock);
    if (ended.target)
        end_flow(&ended);
}

/* The line of a bucket that a flow is to have: its own, else a free one, else one that is over.  `so_far`: a
 * line of the other bucket, which comes before all but its own. */
static ALWAYS_INLINE struct flow *line_in(struct flow_bucket *bucket, const struct flow_key *key, __u32 begin,
                                          __u32 now, struct flow *so_far)
{
    struct flow *free = 0, *over = 0;

    for (__u32 i = 0; i < FLOWS_A_BUCKET; i++) {
        struct flow *flow = line_of(bucket, begin + i);

        if (!flow->target)
            free = free ? free : flow;
        else if (is_key(&flow->key, key))
            return flow;
        else if (is_over(flow, now))
            over = over ? over : flow;
    }
    if (so_far)
        return so_far;
    return free ? free : over;
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

/* Begin a record, in place of another of its key; returns whether there was room for it. */
static ALWAYS_INLINE int begin_record(const struct flow *record, __u32 hash, __u32 now)
{
    __u32 number = FIRST_FLOW_BUCKET(hash), other = SECOND_FLOW_BUCKET(hash);
    struct flow_bucket *first = bpf_map_lookup_elem(&flows, &number);
    struct flow_bucket *second = bpf_map_lookup_elem(&flows, &other);
    struct lock *lock = flow_lock(hash);
    struct flow ended = {}, *line;

    if (!first || !second || !lock)
        return 0;
    bpf_spin_lock(&lock->lock);
    line = line_in(first, &record->key, FIRST_LINE(hash), now, 0);
    line = line_in(second, &record->key, FIRST_LINE(hash), now, line);
    if (line) {
        ended = *line;
        write_line(line, record);
    }
    bpf_spin_unlock(&lock->lock);
    if (!line)
        return 0;
    if (ended.target)
        end_flow(&ended);
    tally(record->target, record->state, 1);
    return 1;
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

#endif
