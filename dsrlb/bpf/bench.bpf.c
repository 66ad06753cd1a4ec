/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * What `dsrlb bench` repeats with BPF_PROG_TEST_RUN, so that a packet is timed inside the kernel and costs no
 * call from user space:
 *
 *     next flow -> undo what became of the frame before -> write the flow's frame -> tail-call what is timed
 *
 * A run goes on with the frame as the run before left it, so what was put before or behind it is taken away
 * first, then every byte is written anew.  The same loop around the least that a balancer can do, two MAC
 * addresses swapped and the frame sent back, is the floor.  The time is taken once a batch.
 */
#include "floor.h"
#include "helpers.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define BATCH 1024      /* frames between two stamps */
#define STAMPS 4096
#define FRAME4_WORDS 8  /* 64 bytes, the shortest frame there is */
#define FRAME6_WORDS 10 /* 80 bytes: Ethernet, IPv6, TCP and six octets */
#define FRAME6_ROOM 16  /* ... in two cache lines */

enum timed { FLOOR, TOTAL }; /* places in `timed` */

struct {
    MAP_NUMBER(type, BPF_MAP_TYPE_PROG_ARRAY);
    MAP_NUMBER(max_entries, 2);
    MAP_TYPE(key, __u32);
    MAP_TYPE(value, __u32);
} timed SEC(".maps");

struct frame4 {
    __u64 word[FRAME4_WORDS];
};
struct frame6 {
    __u64 word[FRAME6_ROOM];
};
struct loop { /* one cache line */
    __u64 runs;
    __u32 flow; /* whose frame is next */
    __u32 mask; /* number of flows less one; a power of two */
    __u64 begin; /* address of the frame's first byte as it came */
    __u64 now;   /* ... and as it was left */
    __u64 pad[4];
};

#define ARRAY(name, entries, of)                                                                             \
    struct {                                                                                                 \
        MAP_NUMBER(type, BPF_MAP_TYPE_ARRAY);                                                                \
        MAP_NUMBER(max_entries, entries);                                                                    \
        MAP_NUMBER(map_flags, BPF_F_MMAPABLE);                                                               \
        MAP_TYPE(key, __u32);                                                                                \
        MAP_TYPE(value, of);                                                                                 \
    } name SEC(".maps")

ARRAY(frames4, 1, struct frame4);
ARRAY(frames6, 1, struct frame6);
ARRAY(loops, 2, struct loop); /* by what is timed */
ARRAY(stamps, STAMPS, __u64); /* nanoseconds: when each batch began, counted round */

static ALWAYS_INLINE void *entry(void *map, __u32 number)
{
    return bpf_map_lookup_elem(map, &number);
}

/* Flows come in an order that no prefetcher foresees, each once before any comes again: a linear congruential
 * generator whose period is the number of flows. */
static ALWAYS_INLINE __u32 next_flow(struct loop *loop)
{
    return loop->flow = (loop->flow * 1664525 + 1013904223) & loop->mask;
}

/* Put the frame back to where it began and to the length it had. */
static ALWAYS_INLINE int reshape(struct xdp_md *ctx, struct loop *loop, __u32 bytes)
{
    void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;

    if (LIKELY(loop->runs && end - data == bytes))
        return 0;
    loop->now = (__u64)data;
    if (!loop->runs)
        loop->begin = loop->now;
    if (bpf_xdp_adjust_head(ctx, loop->begin - loop->now))
        return -1;
    data = (void *)(long)ctx->data;
    end = (void *)(long)ctx->data_end;
    return end - data == bytes ? 0 : bpf_xdp_adjust_tail(ctx, bytes - (end - data));
}

static ALWAYS_INLINE int repeat(struct xdp_md *ctx, void *frames, __u32 words, enum timed which)
{
    struct loop *loop = entry(&loops, which);
    __u64 *frame = loop ? entry(frames, next_flow(loop)) : 0, *to, *stamp, first;

    if (!frame)
        return XDP_ABORTED;
    first = *(volatile __u64 *)frame; /* under way while the rest is done, as a driver fetches ahead */
    if (reshape(ctx, loop, words * 8))
        return XDP_ABORTED;
    if (!(loop->runs % BATCH) && (stamp = entry(&stamps, loop->runs / BATCH % STAMPS)))
        *stamp = bpf_ktime_get_ns();
    loop->runs++;
    to = (void *)(long)ctx->data;
    if ((void *)(to + words) > (void *)(long)ctx->data_end)
        return XDP_ABORTED;
    to[0] = first;
#pragma unroll
    for (__u32 i = 1; i < words; i++)
        to[i] = frame[i];
    bpf_tail_call(ctx, &timed, which);
    return XDP_ABORTED;
}

#define LOOP(name, frames, words, which)                                                                     \
    SEC("xdp") int name(struct xdp_md *ctx)                                                                  \
    {                                                                                                        \
        return repeat(ctx, &frames, words, which);                                                           \
    }

LOOP(floor4, frames4, FRAME4_WORDS, FLOOR)
LOOP(total4, frames4, FRAME4_WORDS, TOTAL)
LOOP(floor6, frames6, FRAME6_WORDS, FLOOR)
LOOP(total6, frames6, FRAME6_WORDS, TOTAL)

/* What stands at the place FLOOR. */
SEC("xdp") int swap_macs(struct xdp_md *ctx)
{
    return send_back(ctx);
}
