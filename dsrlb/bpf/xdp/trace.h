/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * The program that tells its decisions: the same steps, with one before them and one behind.
 *
 *     dsrlb_trace  what the frame is like as it came        -> dsrlb_xdp, and the steps behind it
 *     dsrlb_say    if it is what is asked for: tell it       the verdict
 *
 * It is on interfaces only while somebody traces.  Nobody is waited for: what finds no room is counted.
 */
#ifndef DSRLB_XDP_TRACE_H
#define DSRLB_XDP_TRACE_H

#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include "frame.h"

struct filter { /* what is asked for; zeros: any */
    __u64 reasons; /* a bit for each */
    struct address client, client_mask;
    struct address vip; /* of the service */
    struct address backend;
    __u32 service; /* its id */
    __u32 every;   /* one decision of so many, on each CPU */
    __u32 most_bytes; /* to keep of a frame: a multiple of 8, TRACED_BYTES at most */
    __u32 pad;
};
ARRAY(filter, struct filter);
PER_CPU(untold, __u64); /* decisions that found no room */

struct {
    MAP_NUMBER(type, BPF_MAP_TYPE_RINGBUF);
    MAP_NUMBER(max_entries, 4 << 20); /* bytes */
} told SEC(".maps");

static ALWAYS_INLINE struct filter *this_filter(void)
{
    __u32 zero = 0;

    return bpf_map_lookup_elem(&filter, &zero);
}

/* Keep the first bytes of a frame; returns how many there are, `most` at most. */
static ALWAYS_INLINE __u32 keep_frame(struct xdp_md *ctx, __u8 *to, __u32 most)
{
    const __u8 *from = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    __u32 at;

#pragma clang loop unroll(disable)
    for (at = 0; at < TRACED_BYTES; at += 8) {
        if (at >= most || from + at + 8 > end)
            break;
        *(__u64 *)(to + at) = *(const __u64 *)(from + at);
    }
#pragma clang loop unroll(disable)
    for (__u32 n = 0; n < 7; n++, at++) {
        if (at >= most || from + at + 1 > end)
            break;
        to[at] = from[at];
    }
    return at;
}

/* Read the addresses of an IP packet; returns whether there are any. */
static ALWAYS_INLINE int read_ends(struct xdp_md *ctx, struct ends *ends)
{
    __u16 at = 0;
    __be16 type = skip_tags(ctx, &at);

    if (type == bpf_htons(ETH_P_IP)) {
        const struct iphdr *ip = part_of(ctx, at, sizeof(*ip));

        if (!ip)
            return 0;
        *ends = (struct ends){{.word = {0, 0, MAPPED, ip->saddr}}, {.word = {0, 0, MAPPED, ip->daddr}}};
        return 1;
    }
    if (type == bpf_htons(ETH_P_IPV6)) {
        const struct ipv6hdr *ip = part_of(ctx, at, sizeof(*ip));

        if (!ip)
            return 0;
        ends->src = *(const struct address *)&ip->saddr;
        ends->dst = *(const struct address *)&ip->daddr;
        return 1;
    }
    return 0;
}

/* Note what a frame is like as it came, and go on to what decides on it. */
static ALWAYS_INLINE int begin_trace(struct xdp_md *ctx)
{
    const struct filter *filter = this_filter();
    struct notes *notes = these_notes();

    if (notes && filter) {
        notes->decision = (struct decision){
            .at_ns = bpf_ktime_get_ns(),
            .ifindex = ctx->ingress_ifindex,
            .before_bytes = frame_bytes(ctx),
            .reason = NO_REASON,
        };
        notes->decision.before_kept = keep_frame(ctx, notes->kept, filter->most_bytes);
        notes->has_ends = read_ends(ctx, &notes->ends);
    }
    bpf_tail_call(ctx, &steps, ENTRY);
    return hand_over();
}

static ALWAYS_INLINE int is_of(const struct filter *filter, const struct address *address)
{
    return (address->half[0] & filter->client_mask.half[0]) == filter->client.half[0] &&
           (address->half[1] & filter->client_mask.half[1]) == filter->client.half[1];
}

static ALWAYS_INLINE int is_sent(const struct decision *decision)
{
    return decision->verdict == XDP_TX || decision->verdict == XDP_REDIRECT;
}

/* Whether a frame is from the clients asked for, or to them; or nobody can tell here. */
static ALWAYS_INLINE int is_of_client(struct xdp_md *ctx, const struct filter *filter,
                                      const struct notes *notes)
{
    struct ends sent;

    if (is_zero(&filter->client_mask) || !notes->has_ends)
        return 1;
    if (is_of(filter, &notes->ends.src) || is_of(filter, &notes->ends.dst))
        return 1;
    return is_sent(&notes->decision) && read_ends(ctx, &sent) && is_of(filter, &sent.dst);
}

/* Whether a decision is about the service and the backend asked for, as far as can be told here: about the
 * rest the reader has the last word. */
static ALWAYS_INLINE int is_of_target(const struct filter *filter, const struct notes *notes)
{
    __u32 number = notes->decision.target;
    const struct target *target = number ? bpf_map_lookup_elem(&targets, &number) : 0;

    if (!is_zero(&filter->backend) && (!target || !is_same_address(&target->address, &filter->backend)))
        return 0;
    if (is_zero(&filter->vip))
        return 1;
    if (target)
        return target->service == filter->service;
    return notes->has_ends && is_same_address(&notes->ends.dst, &filter->vip);
}

static ALWAYS_INLINE int is_wanted(struct xdp_md *ctx, const struct filter *filter, struct notes *notes)
{
    __u32 reason = notes->decision.reason;

    if (reason >= REASONS || !(filter->reasons >> reason & 1))
        return 0;
    if (!is_of_client(ctx, filter, notes) || !is_of_target(filter, notes))
        return 0;
    return filter->every < 2 || !(notes->wanted++ % filter->every);
}

/* Hand a decision over, or count that there was no room. */
static ALWAYS_INLINE void tell_decision(struct xdp_md *ctx, const struct filter *filter, struct notes *notes)
{
    __u32 at = (notes->decision.before_kept + 7) & (2 * TRACED_BYTES - 8), zero = 0;
    __u64 *count, bytes;

    if (is_sent(&notes->decision)) {
        notes->decision.after_bytes = frame_bytes(ctx);
        notes->decision.after_kept = keep_frame(ctx, notes->kept + at, filter->most_bytes);
    }
    bytes = at + notes->decision.after_kept;
    UNKNOWN(bytes);
    if (bytes > 2 * TRACED_BYTES)
        bytes = 2 * TRACED_BYTES; /* cannot be */
    if (!bpf_ringbuf_output(&told, notes, sizeof(notes->decision) + bytes, BPF_RB_NO_WAKEUP))
        return;
    count = bpf_map_lookup_elem(&untold, &zero);
    if (count)
        ++*count;
}

/* The end of every frame's way: tell what became of it, and let that be. */
static ALWAYS_INLINE int say(struct xdp_md *ctx)
{
    const struct filter *filter = this_filter();
    struct notes *notes = these_notes();

    if (!notes || !filter)
        return XDP_ABORTED; /* cannot be: `over` has noted the verdict there */
    if (is_wanted(ctx, filter, notes))
        tell_decision(ctx, filter, notes);
    return notes->decision.verdict;
}

#endif
