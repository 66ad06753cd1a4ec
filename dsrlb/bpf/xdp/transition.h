/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * Where a flow is that has no record: in its slot, or, while slots change hands, in its former slot
 * (transition.py; pick_under_way, pick_by_hash and is_told_by_slots of pick.py).
 */
#ifndef DSRLB_XDP_TRANSITION_H
#define DSRLB_XDP_TRANSITION_H

#include "seen.h"
#include "slots.h"

/* The target in the slot of a flow's hash, or its client network's; 0: none. */
static ALWAYS_INLINE __u32 pick_by_hash(const struct service *service, const struct seen *seen)
{
    return target_by_hash(service->slots, service->slot_count, seen->slot_hash);
}

/* The target that a flow without a record is at, if it began before now; perhaps out of reach; 0: none. */
static ALWAYS_INLINE __u32 pick_under_way(const struct service *service, const struct seen *seen)
{
    if (!(service->flags & HAS_FORMER))
        return pick_by_hash(service, seen);
    return target_by_hash(service->former, service->former_count, seen->former_hash);
}

/* Whether every packet of a flow gets the same target without a record. */
static ALWAYS_INLINE int is_told_by_slots(const struct service *service, const struct seen *seen)
{
    if (service->flags & RECORDS_ALL)
        return 0;
    return !(service->flags & HAS_FORMER) || pick_under_way(service, seen) == pick_by_hash(service, seen);
}

#endif
