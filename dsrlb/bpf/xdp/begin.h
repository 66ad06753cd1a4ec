/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * pick.py, for flows that are to have a record: a new one is picked a target, one under way stays where it
 * is.
 */
#ifndef DSRLB_XDP_BEGIN_H
#define DSRLB_XDP_BEGIN_H

#include "least.h"
#include "onward.h"
#include "pick.h"

/* The counter's slot: every slot in turn. */
static ALWAYS_INLINE __u32 pick_next(const struct service *service)
{
    __u32 id = service->id, turn;
    struct race *race = bpf_map_lookup_elem(&races, &id);

    if (!race)
        return 0;
    bpf_spin_lock(&race->lock);
    turn = race->turn % service->slot_count;
    race->turn = turn + 1;
    bpf_spin_unlock(&race->lock);
    return target_in(service->slots + turn);
}

/* Pick for a new flow: its client's target, whose turn it is, who has the least load, or by hash; 0: none. */
static ALWAYS_INLINE __u32 pick_new(const struct service *service, const struct seen *seen)
{
    __u32 kept = persisted(service, seen);

    if (kept && takes_new(kept))
        return kept;
    if (!service->slot_count)
        return 0;
    if (service->cursor == LEAST)
        return pick_least(service, seen->hash);
    if (service->cursor == COUNTER)
        return pick_next(service);
    return pick_by_hash(service, seen);
}

/* Record a flow at a target; returns whether there was room for it. */
static ALWAYS_INLINE int record(const struct places *places, const struct service *service,
                                const struct seen *seen, __u32 target, __u8 state)
{
    struct flow flow = {
        .key = seen->key,
        .until_s = seen->now + timeout_of(service, state),
        .target = target,
        .state = state,
        .service = service->id,
    };

    return begin_record(places, &flow, seen->hash, seen->now);
}

/* The target of a flow that cannot be recorded: what its next packet will get, this one gets. */
static ALWAYS_INLINE __u32 go_unrecorded(const struct service *service, const struct seen *seen)
{
    __u32 target = seen->owner ? seen->owner : pick_by_hash(service, seen);

    count_reason(RECORDS_REFUSED);
    persist(service, seen, target, SYN_RECEIVED);
    return target;
}

/* The target of a flow that gets a record, if there is room; 0: none. */
static ALWAYS_INLINE __u32 begin_at(const struct service *service, const struct seen *seen)
{
    int has_former = service->flags & HAS_FORMER;
    int is_new = seen->opens || !seen->owner || (!seen->is_tcp && !has_former);
    struct places places;
    __u32 target;
    __u8 first = UDP_FLOW;

    if (!find_places(&places, seen->hash) || !has_room(&places, &seen->key, seen->hash, seen->now))
        return go_unrecorded(service, seen);
    target = is_new ? pick_new(service, seen) : seen->owner;
    if (!target)
        return 0;
    if (seen->is_tcp) /* the slots will not lead to its former target for ever; it may be silent for long */
        first = first_state(seen->tcp_flags, !is_new && has_former);
    if (!record(&places, service, seen, target, first))
        return go_unrecorded(service, seen);
    if (seen->opens || service->flags & RECORDS_ALL)
        count_flow(target);
    persist(service, seen, target, first);
    return target;
}

static ALWAYS_INLINE int begin_flow(struct xdp_md *ctx)
{
    struct job *job = this_job();
    struct seen *seen = this_seen();
    const struct service *service = job ? bpf_map_lookup_elem(&services, &job->service) : 0;

    if (!job || !seen || !service)
        return hand_over();
    job->target = begin_at(service, seen);
    return go_to_target(ctx, job, service);
}

#endif
