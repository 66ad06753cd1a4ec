/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * pick.py, for flows that are known: which target a packet's flow belongs to.  One that is to have a new
 * record goes on to another step (begin.h).
 */
#ifndef DSRLB_XDP_PICK_H
#define DSRLB_XDP_PICK_H

#include "persist.h"
#include "records.h"
#include "transition.h"

#define BEGINS (~0U) /* in place of a target: the flow is to have a record; seen->owner is filled in */

static ALWAYS_INLINE void count_flow(__u32 target)
{
    struct count *count = bpf_map_lookup_elem(&counts, &target);

    if (count)
        count->flows++;
}

/* The target of a flow without a (valid) record; 0: none; or BEGINS. */
static ALWAYS_INLINE __u32 pick_unrecorded(const struct service *service, struct seen *seen)
{
    __u32 owner = service->flags & HAS_FORMER ? 0 : persisted(service, seen);

    owner = owner ? owner : pick_under_way(service, seen);
    if (is_told_by_slots(service, seen)) {
        if (seen->opens && owner)
            count_flow(owner);
        return owner;
    }
    if (owner && (seen->opens || !seen->is_tcp) && !takes_all(owner))
        owner = 0;
    if (owner && !has_hop(owner))
        return 0;
    seen->owner = owner;
    return BEGINS;
}

/* Note a packet of a flow on record. */
static ALWAYS_INLINE void touch(const struct service *service, const struct seen *seen, struct flow *flow,
                                __u32 target)
{
    __u8 state = flow->state, next = seen->is_tcp ? next_state(state, seen->tcp_flags, 0) : state;

    if (state < ESTABLISHED && next == ESTABLISHED && service->flags & PERSISTS)
        prolong(service, seen, target);
    if (next != state)
        enter(flow, &seen->key, seen->hash, service, seen->tcp_flags, 0, seen->now);
    else
        flow->until_s = seen->now + timeout_of(service, state);
    /* Is it left over from when slots changed hands? */
    if (is_told_by_slots(service, seen) && target == pick_by_hash(service, seen))
        end_record(&seen->key, seen->hash, ALWAYS_OVER);
}

/* The target that a flow belongs to; 0: it has none that can take its packet; or BEGINS. */
static ALWAYS_INLINE __u32 pick_backend(const struct service *service, struct seen *seen)
{
    struct flow *flow = service->flags & LOOKS_UP ? flow_of(&seen->key, seen->hash) : 0;
    int is_under_way = seen->is_tcp && !(seen->tcp_flags & TH_SYN);
    __u32 target;

    if (flow && !is_over(flow, seen->now) && !begins_anew(flow->state, seen->tcp_flags)) {
        target = member_of(service, flow->target);
        if (target && (is_under_way ? has_hop(target) : takes_all(target))) {
            touch(service, seen, flow, target);
            return target;
        }
        if (target && is_under_way)
            return 0;
    }
    target = pick_unrecorded(service, seen);
    if (flow && is_told_by_slots(service, seen))
        end_record(&seen->key, seen->hash, ALWAYS_OVER);
    return target;
}

/* The target that a flow is at, if known: by its record, or by the slots if it needs none; 0: not known. */
static ALWAYS_INLINE __u32 owner_of(const struct service *service, const struct seen *seen)
{
    struct flow *flow = service->flags & LOOKS_UP ? flow_of(&seen->key, seen->hash) : 0;

    if (flow && !is_over(flow, seen->now))
        return member_of(service, flow->target);
    return service->flags & RECORDS_ALL ? 0 : pick_under_way(service, seen);
}

#endif
