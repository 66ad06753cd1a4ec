/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * What the packet engine beside the program has counted is added to the program's own counters: so all counters
 * are in one place, and none is lost with a process.  The control path writes `credits` and runs this once, on
 * whichever CPU; a packet that comes on it meanwhile finds each addition done or not yet begun.
 */
#ifndef DSRLB_XDP_CREDIT_H
#define DSRLB_XDP_CREDIT_H

#include "maps.h"

#define CREDITS 64
struct credit {
    __u32 target; /* 0: `packets` are frames under `reason` */
    __u32 reason;
    __u64 packets; /* may be less than nothing: modulo 2^64 */
    __u64 octets;
};
struct credits {
    __u32 count;
    __u32 pad;
    struct credit of[CREDITS];
};
ARRAY(credits, struct credits);

static ALWAYS_INLINE void credit_one(const struct credit *credit, struct reasons *all)
{
    __u32 target = credit->target;
    struct count *count;

    if (!target) {
        __atomic_fetch_add(&all->of[credit->reason & 63], credit->packets, __ATOMIC_RELAXED);
        return;
    }
    count = bpf_map_lookup_elem(&counts, &target);
    if (!count)
        return;
    __atomic_fetch_add(&count->packets, credit->packets, __ATOMIC_RELAXED);
    __atomic_fetch_add(&count->octets, credit->octets, __ATOMIC_RELAXED);
}

static ALWAYS_INLINE int credit(void)
{
    __u32 zero = 0;
    const struct credits *wanted = bpf_map_lookup_elem(&credits, &zero);
    struct reasons *all = bpf_map_lookup_elem(&reasons, &zero);

    if (!wanted || !all)
        return 0;
    for (__u32 place = 0; place < CREDITS && place < wanted->count; place++)
        credit_one(&wanted->of[place], all);
    return 0;
}

#endif
