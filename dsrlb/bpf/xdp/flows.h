/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * The flow table (flows.py): exact keys, fixed memory, no lock on the way of a hit.
 *
 *     hash 31..29    place in the bucket where the search begins
 *     hash & mask                          first bucket    \  512 bytes each, eight flows of a cache line;
 *     its low bits, and others of          second bucket   /  a hit mostly costs the first line looked at
 *     hash * odd >> 11
 *
 * The low bits that the two have in common say which lock they are written under (records.h).  Who reads
 * without it sees a whole record or none: a line's target is 0 while it is written, and its edition another one
 * after that, so what was read between two equal readings of the two is one record.
 */
#ifndef DSRLB_XDP_FLOWS_H
#define DSRLB_XDP_FLOWS_H

#include "hash.h"
#include "maps.h"

/* Of at least 16 buckets one lock: so there is a second one to go to in the smallest table. */
#define FLOW_LOCK_MASK (flow_mask >> 4 & (FLOW_LOCKS - 1))
#define FLOW_LOCK(hash) ((hash) & FLOW_LOCK_MASK)
#define FIRST_FLOW_BUCKET(hash) ((hash) & flow_mask)
#define SECOND_FLOW_BUCKET(hash)                                                                             \
    (((hash) * 0x9E3779B1U >> 11 & flow_mask & ~FLOW_LOCK_MASK) | FLOW_LOCK(hash))
#define FIRST_LINE(hash) ((hash) >> 29)

/* Nothing that the compiler has to read or write moves over this. */
#define KEEP_ORDER() __asm__ volatile("" ::: "memory")

static ALWAYS_INLINE int is_key(const struct flow_key *one, const struct flow_key *other)
{
    const __u64 *a = (const __u64 *)one, *b = (const __u64 *)other;

    return a[4] == b[4] && a[1] == b[1] && a[3] == b[3] && a[2] == b[2] && a[0] == b[0];
}

/* The line of a bucket at this place, of as many as there are, counted round. */
static ALWAYS_INLINE struct flow *line_of(struct flow_bucket *bucket, __u32 place)
{
    return &bucket->flow[place % FLOWS_A_BUCKET];
}

/* Target and edition of a line, as one word. */
static ALWAYS_INLINE __u32 holder_of(const struct flow *flow)
{
    return *(const volatile __u32 *)&flow->target;
}

static ALWAYS_INLINE struct flow *flow_in_bucket(__u32 number, __u32 begin, const struct flow_key *key)
{
    struct flow_bucket *bucket = bpf_map_lookup_elem(&flows, &number);

    if (!bucket)
        return 0;
#pragma unroll
    for (__u32 i = 0; i < FLOWS_A_BUCKET; i++) {
        struct flow *flow = line_of(bucket, begin + i);
        __u32 holder = holder_of(flow);

        KEEP_ORDER();
        if (!is_key(&flow->key, key))
            continue;
        KEEP_ORDER();
        if (holder == holder_of(flow) && flow->target)
            return flow;
    }
    return 0;
}

/* The record of a flow, whose hash this is; it may be over. */
static ALWAYS_INLINE struct flow *flow_of(const struct flow_key *key, __u32 hash)
{
    struct flow *found = flow_in_bucket(FIRST_FLOW_BUCKET(hash), FIRST_LINE(hash), key);

    return found ? found : flow_in_bucket(SECOND_FLOW_BUCKET(hash), FIRST_LINE(hash), key);
}

#endif
