/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * Where the program says of a frame under way what a person is told who traces.  Only the object that traces
 * (traced.bpf.c) has more here than nothing: in the other one not an instruction comes of it.
 */
#ifndef DSRLB_XDP_NOTES_H
#define DSRLB_XDP_NOTES_H

#include "reasons.h"

#ifdef TRACES

#define TRACED_BYTES 2048 /* the most that is kept of a frame; a power of two */
#define REASONS 61        /* what is counted behind them is no frame's */
#define NO_REASON 0xff

/* A decision, as it is told: this, then so many bytes of the frame as it came, filled up to a multiple of 8,
 * then so many of the frame as it is sent. */
struct decision {
    __u64 at_ns; /* CLOCK_MONOTONIC */
    __u32 ifindex;
    __u32 out_ifindex; /* of XDP_REDIRECT */
    __u32 target;      /* index into targets; 0: none */
    __u32 before_bytes; /* length of the frame; what is kept of it is less where it is long */
    __u32 after_bytes;
    __u16 before_kept;
    __u16 after_kept;
    __u8 verdict;
    __u8 reason;
    __u8 pad[6];
};

struct ends { /* of an IP packet, first to last */
    struct address src;
    struct address dst;
};

struct notes { /* of a frame under way */
    struct decision decision;
    __u8 kept[3 * TRACED_BYTES]; /* the third is for the verifier: where the second begins is not known */
    struct ends ends;            /* as the frame came */
    __u32 has_ends;
    __u32 wanted; /* decisions so far that were what is asked for */
};
PER_CPU(notes, struct notes);

static ALWAYS_INLINE struct notes *these_notes(void)
{
    __u32 zero = 0;

    return bpf_map_lookup_elem(&notes, &zero);
}

static ALWAYS_INLINE void note_reason(__u32 reason)
{
    struct notes *notes = reason < REASONS ? these_notes() : 0;

    if (notes)
        notes->decision.reason = reason;
}

static ALWAYS_INLINE void note_target(__u32 target)
{
    struct notes *notes = these_notes();

    if (notes)
        notes->decision.target = target;
}

static ALWAYS_INLINE void note_way_out(__u32 ifindex)
{
    struct notes *notes = these_notes();

    if (notes)
        notes->decision.out_ifindex = ifindex;
}

#else

#define note_reason(reason) ((void)0)
#define note_target(target) ((void)0)
#define note_way_out(ifindex) ((void)0)
#define over(ctx, verdict) (verdict)

#endif
#endif
