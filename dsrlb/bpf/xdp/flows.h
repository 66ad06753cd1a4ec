/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * The flow table (flows.py): exact keys, fixed memory, no lock on the way of a hit.
 *
 *     hash 31..29    place in the bucket where the search begins
 *     hash & mask                      first bucket     \  512 bytes each, eight flows of a cache line;
 *     hash * odd >> 11 & mask          second bucket    /  a hit mostly costs the first line looked at
 *
 * A record is written under the lock of its bucket, its target last; who reads without the lock sees a whole
 * record or none.
 */
#ifndef DSRLB_XDP_FLOWS_H
#define DSRLB_XDP_FLOWS_H

#include "hash.h"
#include "maps.h"

#define FIRST_FLOW_BUCKET(hash) ((hash) & flow_mask)
#define SECOND_FLOW_BUCKET(hash) ((hash) * 0x9E3779B1U >> 11 & flow_mask)
#define FIRST_LINE(hash) ((hash) >> 29)

static ALWAYS_INLINE int is_key(const struct flow_key *one, const struct flow_key *other)
{
    const __u64 *a = (const __u64 *)one, *b = (const __u64 *)other;

    return a[4] == b[4] && a[1] == b[1] && a[3] == b[3] && a[2] == b[2] && a[0] == b[0];
}

static ALWAYS_INLINE struct flow *flow_in_bucket(__u32 number, __u32 begin, const struct flow_key *key)
{
    struct flow_bucket *bucket = bpf_map_lookup_elem(&flows, &number);

    if (!bucket)
        return 0;
#pragma unroll
    for (__u32 i = 0; i < FLOWS_A_BUCKET; i++) {
        struct flow *flow = &bucket->flow[(begin + i) % FLOWS_A_BUCKET];

        if (is_key(&flow->key, key) && flow->target)
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
