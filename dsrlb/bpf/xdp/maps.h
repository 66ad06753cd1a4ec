/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * The maps, and what the program is told when it is loaded.
 *
 * Sizes here are the least; the control path sets the real ones (max_entries) before it loads, and the masks
 * and counts that go with them in the constants below.  Arrays are looked up by inlined code.
 */
#ifndef DSRLB_XDP_MAPS_H
#define DSRLB_XDP_MAPS_H

#include "../helpers.h"
#include "layout.h"

const volatile __u32 front_mask = 1;    /* number of front buckets less one; a power of two */
const volatile __u32 vip_mask = 1;      /* of VIP buckets */
const volatile __u32 flow_mask = 1;     /* of flow buckets */
const volatile __u8 test_clock = 0;     /* 1: time is setup.now_s, now_us */
const volatile __u64 jiffy_ns = 4000000;  /* between two ticks of the kernel's clock */
const volatile __u64 jiffies_zero_ns = 0; /* CLOCK_MONOTONIC when it had not ticked yet, modulo 2^64 */

#define ARRAY(name, of)                                                                                      \
    struct {                                                                                                 \
        MAP_NUMBER(type, BPF_MAP_TYPE_ARRAY);                                                                \
        MAP_NUMBER(max_entries, 2);                                                                          \
        MAP_TYPE(key, __u32);                                                                                \
        MAP_TYPE(value, of);                                                                                 \
    } name SEC(".maps")
/* The control path reads and writes it in memory, without a call. */
#define SHARED_ARRAY(name, of)                                                                               \
    struct {                                                                                                 \
        MAP_NUMBER(type, BPF_MAP_TYPE_ARRAY);                                                                \
        MAP_NUMBER(max_entries, 2);                                                                          \
        MAP_NUMBER(map_flags, BPF_F_MMAPABLE);                                                               \
        MAP_TYPE(key, __u32);                                                                                \
        MAP_TYPE(value, of);                                                                                 \
    } name SEC(".maps")
#define PER_CPU(name, of)                                                                                    \
    struct {                                                                                                 \
        MAP_NUMBER(type, BPF_MAP_TYPE_PERCPU_ARRAY);                                                         \
        MAP_NUMBER(max_entries, 1);                                                                          \
        MAP_TYPE(key, __u32);                                                                                \
        MAP_TYPE(value, of);                                                                                 \
    } name SEC(".maps")

struct reasons { /* by model.Reason, frames */
    __u64 of[64];
};

ARRAY(setup, struct setup);
ARRAY(front, struct front_bucket);
ARRAY(vips, struct vip_bucket);
ARRAY(services, struct service);
ARRAY(current, __u32); /* by service id: its index in services now; 0: there is none of this id */
SHARED_ARRAY(slots, struct slot_line);
ARRAY(targets, struct target);
SHARED_ARRAY(loads, struct load);
SHARED_ARRAY(flows, struct flow_bucket);
SHARED_ARRAY(flow_marks, struct flow_marks);
ARRAY(races, struct race);
SHARED_ARRAY(handshakes, struct handshakes);
ARRAY(sources, struct address); /* outer sources for IPv6 outside */
PER_CPU(counts, struct count);
PER_CPU(reasons, struct reasons);
PER_CPU(allowances, struct allowance);

struct {
    MAP_NUMBER(type, BPF_MAP_TYPE_ARRAY);
    MAP_NUMBER(max_entries, INTERFACES);
    MAP_TYPE(key, __u32);
    MAP_TYPE(value, struct interface);
} interfaces SEC(".maps");

struct lock { /* a cache line: two CPUs that lock neighbours do not meet */
    struct bpf_spin_lock lock;
    __u32 pad[15];
};

#define FLOW_LOCKS 1024 /* a flow's two buckets have one in common (flows.h) */
struct {
    MAP_NUMBER(type, BPF_MAP_TYPE_ARRAY);
    MAP_NUMBER(max_entries, FLOW_LOCKS);
    MAP_TYPE(key, __u32);
    MAP_TYPE(value, struct lock);
} flow_locks SEC(".maps");

struct {
    MAP_NUMBER(type, BPF_MAP_TYPE_ARRAY);
    MAP_NUMBER(max_entries, CELLS);
    MAP_NUMBER(map_flags, BPF_F_MMAPABLE);
    MAP_TYPE(key, __u32);
    MAP_TYPE(value, struct cell);
} cells SEC(".maps");

struct {
    MAP_NUMBER(type, BPF_MAP_TYPE_HASH);
    MAP_NUMBER(max_entries, 2);
    MAP_NUMBER(map_flags, BPF_F_NO_PREALLOC);
    MAP_TYPE(key, struct member_key);
    MAP_TYPE(value, __u32); /* index into targets */
} members SEC(".maps");

struct {
    MAP_NUMBER(type, BPF_MAP_TYPE_HASH);
    MAP_NUMBER(max_entries, 262144); /* persistence.MAX_TEMPLATES */
    MAP_NUMBER(map_flags, BPF_F_NO_PREALLOC);
    MAP_TYPE(key, struct template_key);
    MAP_TYPE(value, struct template);
} templates SEC(".maps");

struct {
    MAP_NUMBER(type, BPF_MAP_TYPE_LRU_HASH);
    MAP_NUMBER(max_entries, 16384); /* fragments.MAX_DATAGRAMS */
    MAP_TYPE(key, struct fragment_key);
    MAP_TYPE(value, struct fragment_owner);
} fragments SEC(".maps");

#endif
