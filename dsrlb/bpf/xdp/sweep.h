/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * FlowTable.expire: each run ends what is over in the next bucket.  The control path runs it by
 * BPF_PROG_TEST_RUN, as often as it wants buckets swept.
 */
#ifndef DSRLB_XDP_SWEEP_H
#define DSRLB_XDP_SWEEP_H

#include "records.h"

struct {
    MAP_NUMBER(type, BPF_MAP_TYPE_ARRAY);
    MAP_NUMBER(max_entries, 1);
    MAP_TYPE(key, __u32);
    MAP_TYPE(value, __u32);
} sweeps SEC(".maps"); /* the bucket to sweep next */

static ALWAYS_INLINE int sweep(void)
{
    __u32 zero = 0, now = now_s(), number;
    __u32 *next = bpf_map_lookup_elem(&sweeps, &zero);
    struct flow_bucket *bucket;

    if (!next)
        return 0;
    number = *next & flow_mask;
    *next = number + 1;
    bucket = bpf_map_lookup_elem(&flows, &number);
    if (!bucket)
        return 0;
    for (__u32 place = 0; place < FLOWS_A_BUCKET; place++) {
        struct flow *flow = &bucket->flow[place];

        if (flow->target && is_over(flow, now)) {
            struct flow_key key = flow->key;

            end_record(&key, hash_of_flow(&key), now);
        }
    }
    return 0;
}

#endif
