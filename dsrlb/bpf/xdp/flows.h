/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * The flow table (flows.py): exact keys, fixed memory, no lock on the way of a hit.
 *
 *     hash & mask                          first bucket    \  512 bytes each, eight flows of a cache line
 *     its low bits, and others of          second bucket   /
 *     hash * odd >> 11
 *     hash 31..29                          the line to begin with: a hit mostly costs this one alone
 *     hash 27..21                          the mark: which other lines are worth looking at
 *
 * The low bits that the two have in common say which lock they are written under (records.h).  Who reads
 * without it sees a whole record or none: a line's target is 0 while it is written, and its edition another
 * one after that, so what was read between two equal readings of the two is one record.
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
#define FIRST_PLACE(hash) ((hash) >> 29)
#define FLOW_MARK(hash) ((__u8)((hash) >> 20 | 1))

/* Nothing that the compiler has to read or write moves over this. */
#define KEEP_ORDER() __asm__ volatile("" ::: "memory")

static ALWAYS_INLINE int is_key(const struct flow_key *one, const struct flow_key *other)
{
    const __u64 *a = (const __u64 *)one, *b = (const __u64 *)other;

    return a[4] == b[4] && a[1] == b[1] && a[3] == b[3] && a[2] == b[2] && a[0] == b[0];
}

/* The nth place of a bucket where a flow may stand: its first, then the one beside it, which the processor
 * fetches with it, then the other pairs. */
static ALWAYS_INLINE __u32 nth_place(__u32 hash, __u32 n)
{
    return (FIRST_PLACE(hash) ^ n) % FLOWS_A_BUCKET;
}

/* Target and edition of a line, as one word. */
static ALWAYS_INLINE __u32 holder_of(const struct flow *flow)
{
    return *(const volatile __u32 *)&flow->target;
}

/* Whether a line holds the record of this flow. */
static ALWAYS_INLINE int is_record_of(const struct flow *flow, const struct flow_key *key)
{
    __u32 holder = holder_of(flow);

    KEEP_ORDER();
    if (!is_key(&flow->key, key))
        return 0;
    KEEP_ORDER();
    return holder == holder_of(flow) && flow->target;
}

/* The lines of a bucket whose marks are this one: bit 7 of byte n for line n.  Source: H. Warren, Hacker's
 * Delight, section 6-1 (the bytes that are zero, exactly). */
static ALWAYS_INLINE __u64 lines_marked(const struct flow_marks *marks, __u8 mark)
{
    __u64 each = 0x0101010101010101ULL, low = 0x7f * each, other = marks->all ^ mark * each;

    return ~(((other & low) + low) | other | low);
}

#define IS_LINE(lines, place) ((lines) >> 8 * (place) & 0x80)

static ALWAYS_INLINE struct flow *flow_in_bucket(__u32 number, const struct flow_key *key, __u32 hash)
{
    struct flow_bucket *bucket = bpf_map_lookup_elem(&flows, &number);
    struct flow_marks *marks = bpf_map_lookup_elem(&flow_marks, &number);
    __u64 lines;

    if (!bucket || !marks)
        return 0;
    lines = lines_marked(marks, FLOW_MARK(hash));
    for (__u32 place = 0; lines && place < FLOWS_A_BUCKET; place++)
        if (IS_LINE(lines, place) && is_record_of(&bucket->flow[place], key))
            return &bucket->flow[place];
    return 0;
}

/* The record of a flow, whose hash this is; it may be over. */
static ALWAYS_INLINE struct flow *flow_of(const struct flow_key *key, __u32 hash)
{
    __u32 number = FIRST_FLOW_BUCKET(hash);
    struct flow_bucket *bucket = bpf_map_lookup_elem(&flows, &number);
    struct flow *found;

    if (!bucket)
        return 0;
#pragma unroll
    for (__u32 n = 0; n < 2; n++)
        if (is_record_of(&bucket->flow[nth_place(hash, n)], key))
            return &bucket->flow[nth_place(hash, n)];
    found = flow_in_bucket(number, key, hash);
    return found ? found : flow_in_bucket(SECOND_FLOW_BUCKET(hash), key, hash);
}

#endif
