/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * sampling.py: handshakes of services that have them looked at, as far as the client's side shows them.  A SYN
 * takes the cell of its flow's hash, if that is free; what its client sends next gives it back, and is counted:
 * how long it took, or that it was a reset.
 *
 * Who takes or gives a cell back does so under a lock: a moment later than all else that a packet needs, on
 * the long way alone.  A plain packet only looks whether the cell is its flow's.  The control path frees cells
 * without the lock; what may come of that is a sample lost.
 */
#ifndef DSRLB_XDP_SAMPLING_H
#define DSRLB_XDP_SAMPLING_H

#include "maps.h"
#include "steps.h"

#define FIRST_BUCKET_US 64
#define LAST_BUCKET_US 0x3fffff /* 2^22 less one: is in the last bucket, as whatever is longer */

/* The microsecond that the two clocks of the control path and the program have in common. */
static ALWAYS_INLINE __u64 now_us(void)
{
    if (test_clock) {
        __u32 zero = 0;
        struct setup *all = bpf_map_lookup_elem(&setup, &zero);

        return all ? all->now_us : 0;
    }
    return bpf_ktime_get_ns() / 1000;
}

/* sampling.tag_of: a flow as its cell knows it, by hash and ports. */
static ALWAYS_INLINE __u64 tag_of(__u32 hash, __be32 ports)
{
    return (__u64)hash << 32 | bpf_ntohl(ports);
}

static ALWAYS_INLINE struct cell *cell_of(__u32 hash)
{
    __u32 number = hash % CELLS;

    return bpf_map_lookup_elem(&cells, &number);
}

/* Whether a flow has a handshake under way. */
static ALWAYS_INLINE int is_sampled(__u32 hash, __be32 ports)
{
    const struct cell *cell = cell_of(hash);

    return cell && cell->tag == tag_of(hash, ports);
}

/* sampling.bucket_of: four buckets to a power of two. */
static ALWAYS_INLINE __u32 bucket_of(__s64 us)
{
    __u32 most = us < LAST_BUCKET_US ? us : LAST_BUCKET_US, power = 0;

    if (us < FIRST_BUCKET_US)
        return 0;
#pragma unroll
    for (__u32 step = 16; step; step >>= 1)
        if (most >> (power + step))
            power += step;
    return 4 * (power - 6) + (most >> (power - 2) & 3);
}

static ALWAYS_INLINE struct handshakes *handshakes_of(__u32 target)
{
    return bpf_map_lookup_elem(&handshakes, &target);
}

static ALWAYS_INLINE void add_one(__u64 *to)
{
    __atomic_fetch_add(to, 1, __ATOMIC_RELAXED);
}

/* The lock of a hash's cell: one of the flow table's, which is not held for longer than this one. */
static ALWAYS_INLINE struct lock *cell_lock(__u32 hash)
{
    __u32 number = hash % FLOW_LOCKS;

    return bpf_map_lookup_elem(&flow_locks, &number);
}

/* A SYN is sent to its target. */
static ALWAYS_INLINE void sample_first(__u32 hash, __be32 ports, __u32 target)
{
    struct cell *cell = cell_of(hash), was, taken = {tag_of(hash, ports), now_us(), target, 0, 0};
    struct lock *lock = cell_lock(hash);
    struct handshakes *mine = handshakes_of(target), *its;
    int is_again, is_taken;

    if (!cell || !lock || !mine)
        return;
    bpf_spin_lock(&lock->lock);
    was = *cell;
    is_again = was.tag == taken.tag && was.target == target;
    is_taken = !is_again && (!was.tag || was.tag == taken.tag ||
                             (__s64)(taken.began_us - was.began_us) > SILENT_US);
    if (is_again)
        cell->again = 1;
    if (is_taken) {
        add_one(&mine->opened); /* before anything else is counted of it */
        *cell = taken;
    }
    bpf_spin_unlock(&lock->lock);
    if (is_again && !was.again)
        add_one(&mine->again);
    its = handshakes_of(was.target);
    if (is_taken && was.tag && !was.again && its)
        add_one(&its->silent);
}

/* Count what gave a cell back. */
static ALWAYS_INLINE void count_end(const struct cell *cell, __u8 tcp_flags)
{
    struct handshakes *its = handshakes_of(cell->target);
    __u32 bucket;

    if (!its)
        return;
    if (tcp_flags & TH_RST) {
        if (!cell->again)
            add_one(&its->reset);
        return;
    }
    add_one(&its->answered);
    if (cell->again)
        return;
    bucket = bucket_of(now_us() - cell->began_us);
    UNKNOWN(bucket);
    add_one(&its->times[bucket % TIMES]);
}

/* Another packet of a flow is sent, by its client or, a reset, to it. */
static ALWAYS_INLINE void sample_next(__u32 hash, __be32 ports, __u8 tcp_flags)
{
    struct cell *cell = cell_of(hash), was;
    struct lock *lock = cell_lock(hash);
    __u64 tag = tag_of(hash, ports);

    if (!cell || !lock || cell->tag != tag || !(tcp_flags & (TH_RST | TH_ACK)))
        return;
    bpf_spin_lock(&lock->lock);
    was = *cell;
    if (was.tag == tag)
        cell->tag = 0;
    bpf_spin_unlock(&lock->lock);
    if (was.tag == tag)
        count_end(&was, tcp_flags);
}

/* A client's packet has been sent to its target. */
static ALWAYS_INLINE void sample(const struct job *job)
{
    __be32 ports = *(const __be32 *)&job->key.sport;

    if (!job->samples)
        return;
    if ((job->tcp_flags & (TH_SYN | TH_ACK | TH_RST | TH_FIN)) == TH_SYN)
        sample_first(job->hash, ports, job->target);
    else
        sample_next(job->hash, ports, job->tcp_flags);
}

#endif
