/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * Slots: which target a hash points at.
 */
#ifndef DSRLB_XDP_SLOTS_H
#define DSRLB_XDP_SLOTS_H

#include "maps.h"

/* The target in a slot, by its index in all of `slots`; 0: none. */
static ALWAYS_INLINE __u32 target_in(__u32 slot)
{
    __u32 number = slot / SLOTS_A_LINE;
    struct slot_line *line = bpf_map_lookup_elem(&slots, &number);

    return line ? line->target[slot % SLOTS_A_LINE] : 0;
}

/* The target that a hash points at among `count` slots from `first` on (multiply and shift); 0: none. */
static ALWAYS_INLINE __u32 target_by_hash(__u32 first, __u32 count, __u32 hash)
{
    return count ? target_in(first + (__u32)((__u64)hash * count >> 32)) : 0;
}

#endif
