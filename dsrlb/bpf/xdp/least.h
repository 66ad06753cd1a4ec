/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * Least connection (least.py): which of a service's targets has the least to do for its share.  What is
 * remembered of a race is written without a lock: two CPUs that pick at the same moment may pick the same.
 */
#ifndef DSRLB_XDP_LEAST_H
#define DSRLB_XDP_LEAST_H

#include "slots.h"

#define EXACT_MOST 64 /* targets: so many are all looked at */
#define PICK 256      /* one pick of the service, on the scale of due times */
#define CHOICES 4     /* looked at of many */

static const __u32 odd[CHOICES] = {0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F};

struct lightest { /* so far */
    __u32 target; /* 0: none yet */
    __u32 place;
    __u32 share;
    __u32 pad;
    __s64 load;
};

/* One pick.  Whom it looks at, in order: all that run, from the one behind the last picked, or a few by hash.
 * It stands in a map so that the verifier does not follow its values from one turn of a loop to the next. */
struct course {
    struct lightest settled; /* of those that are no newcomers */
    struct lightest due;     /* of those whose turn it is */
    __u32 count, first, hash;
    __u32 newcomers; /* whether there are any */
};
PER_CPU(courses, struct course);

static ALWAYS_INLINE __u32 target_on(const struct service *service, const struct course *course, __u32 place)
{
    __u32 behind = course->first + place;

    if (place >= course->count)
        return 0;
    if (service->running_count > EXACT_MOST)
        return target_by_hash(service->slots, service->slot_count, course->hash * odd[place % CHOICES]);
    return target_in(service->running + (behind < course->count ? behind : behind - course->count));
}

static ALWAYS_INLINE __s64 weight_of(const struct load *load)
{
    return load->active * 256 + load->inactive;
}

/* Whether a target has less to do for its share than the lightest so far. */
static ALWAYS_INLINE int is_lighter(const struct load *load, const struct lightest *than)
{
    return !than->target || weight_of(load) * than->share < than->load * load->share;
}

static ALWAYS_INLINE void put_first(struct lightest *lightest, __u32 target, __u32 place,
                                    const struct load *load)
{
    *lightest = (struct lightest){target, place, load->share, 0, weight_of(load)};
}

/* Find the lightest of those that are no newcomers. */
static ALWAYS_INLINE void find_settled(const struct service *service, struct course *course)
{
    for (__u32 place = 0; place < EXACT_MOST; place++) {
        __u32 target = target_on(service, course, place);
        struct load *load = bpf_map_lookup_elem(&loads, &target);

        if (!target || !load)
            break;
        if (load->newcomer)
            course->newcomers = 1;
        else if (is_lighter(load, &course->settled))
            put_first(&course->settled, target, place, load);
    }
}

/* Whether a target is to wait.  A newcomer that has as much to do as the lightest of the others is one no
 * more; without others, newcomers are among themselves. */
static ALWAYS_INLINE int must_wait(struct load *load, const struct course *course, __u64 now)
{
    if (!load->newcomer || !course->settled.target)
        return 0;
    if (!is_lighter(load, &course->settled))
        load->newcomer = 0;
    return load->newcomer && load->due > now;
}

/* Find the lightest of those whose turn it is. */
static ALWAYS_INLINE void find_due(const struct service *service, struct course *course, __u64 now)
{
    for (__u32 place = 0; place < EXACT_MOST; place++) {
        __u32 target = target_on(service, course, place);
        struct load *load = bpf_map_lookup_elem(&loads, &target);

        if (!target || !load)
            break;
        if (!must_wait(load, course, now) && is_lighter(load, &course->due))
            put_first(&course->due, target, place, load);
    }
}

/* Note a newcomer's turn: its next one comes so many picks later. */
static ALWAYS_INLINE void take_turn(const struct service *service, __u32 target, __u64 now)
{
    struct load *load = bpf_map_lookup_elem(&loads, &target);
    __u64 every;

    if (!load || !load->newcomer)
        return;
    every = (__u64)PICK * 2 * service->share_total / (3 * (__u64)load->share);
    if (load->due < now - PICK)
        load->due = now - PICK;
    load->due += every;
}

/* The target that a new flow goes to; 0: none has a share. */
static ALWAYS_INLINE __u32 pick_least(const struct service *service, __u32 hash)
{
    __u32 id = service->id, zero = 0, count = service->running_count;
    struct race *race = bpf_map_lookup_elem(&races, &id);
    struct course *course = bpf_map_lookup_elem(&courses, &zero);
    const struct lightest *best;
    __u64 now;

    if (!race || !course || !count)
        return 0;
    now = race->now + PICK;
    __atomic_fetch_add(&race->now, PICK, __ATOMIC_RELAXED);
    *course = (struct course){.count = count, .first = race->first % count, .hash = hash};
    if (count > EXACT_MOST)
        course->count = CHOICES;
    find_settled(service, course);
    best = &course->settled;
    if (course->newcomers) {
        find_due(service, course, now);
        best = &course->due;
        if (course->settled.target)
            take_turn(service, best->target, now);
    }
    if (count <= EXACT_MOST)
        race->first = (course->first + best->place) % count + 1;
    return best->target;
}

#endif
