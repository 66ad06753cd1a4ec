/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * How the program is cut into steps, what one step tells the next, and how a frame stops.
 *
 *     dsrlb_xdp   plain packets are done at once (plain.h), or go on to forward, or reply; all others to
 *     classify    what is it                                       ARP, ND: answered here
 *       own       is it for a VIP, from whom, of which kind        (behind `reply` where servers answer)
 *       forward   TCP, UDP: service, flow, backend                 -> l2dsr, l3dsr, inline
 *       begin     a flow that is to have a record: backend, record -> the same
 *       piece     a later fragment: where its first piece went     -> the same
 *       message   ICMP to a VIP: echo, errors about a flow         -> the same
 *       reply     what inline servers send
 *         about_request, about_reply                               errors about translated packets
 *       tell      an answer of the balancer's own to the sender: too big, time exceeded, refused
 *
 * Each step is a program of its own, reached by a tail call: it has the verifier's full budget and a stack of
 * its own, and the kernel forgets what it knew of packet pointers, so a step begins with offsets (struct job)
 * and checks them against the end of the frame.  A step that cannot be reached hands the frame over.
 */
#ifndef DSRLB_XDP_STEPS_H
#define DSRLB_XDP_STEPS_H

#include "maps.h"
#include "notes.h"
#include "reasons.h"

/* The numbers are places in `steps`; MODE_L2DSR + service.mode is the step of a mode. */
enum step {
    CLASSIFY,
    OWN,
    FORWARD,
    BEGIN,
    PIECE,
    MESSAGE,
    REPLY,
    TELL,
    MODE_L2DSR,
    MODE_L3DSR,
    MODE_INLINE,
    ABOUT_REQUEST,
    ABOUT_REPLY,
    STEPS
};

struct {
    MAP_NUMBER(type, BPF_MAP_TYPE_PROG_ARRAY);
    MAP_NUMBER(max_entries, 16);
    MAP_TYPE(key, __u32);
    MAP_TYPE(value, __u32);
} steps SEC(".maps");

/* job.tcp_flags */
#define TH_FIN 0x01
#define TH_SYN 0x02
#define TH_RST 0x04
#define TH_ACK 0x10

/* One frame under way; offsets count from its first byte. */
struct job {
    struct flow_key key;      /* of a first or only piece with ports */
    struct fragment_key datagram;
    struct flow_key name;     /* inline: the flow's second name (nat.reply_key) */
    __u32 hash;               /* flow_hash of key */
    __u32 service;            /* index into services */
    __u32 target;             /* index into targets */
    __u16 l3_at, l4_at;       /* wire.packet.Packet, as is the next one */
    __u32 end;                /* behind the packet's last byte: what follows is padding */
    __u8 version;             /* 4 or 6 */
    __u8 protocol;
    __u8 tcp_flags;
    __u8 is_fragment, is_first; /* is_first: of a fragment */
    __u8 reason;              /* under which it is counted when it is sent */
    __u8 told, silent;        /* tell: the reason if the sender was told, and if not */
    __u16 mtu_bytes;          /* tell: what fits */
    __u8 samples;             /* its service has handshakes looked at */
    __u8 pad;
};
PER_CPU(jobs, struct job);

static ALWAYS_INLINE struct job *this_job(void)
{
    __u32 zero = 0;

    return bpf_map_lookup_elem(&jobs, &zero);
}

static ALWAYS_INLINE void count_reason(__u32 reason)
{
    __u32 zero = 0;
    struct reasons *all = bpf_map_lookup_elem(&reasons, &zero);

    note_reason(reason);
    if (all)
        all->of[reason & 63]++;
}

/* state.stop: count a frame that goes no further; return its verdict. */
static ALWAYS_INLINE int stop(__u32 reason)
{
    count_reason(reason);
    return PASSES(reason) ? XDP_PASS : XDP_DROP;
}

/* Leave a frame to the packet engine, which goes by the very records that were made so far. */
static ALWAYS_INLINE int hand_over(void)
{
    return stop(HANDED_OVER);
}

/* Go on with another step; the job has been filled in. */
static ALWAYS_INLINE int go_on(struct xdp_md *ctx, enum step step)
{
    bpf_tail_call(ctx, &steps, step);
    return hand_over(); /* the step is not there */
}

#ifdef TRACES
#define ENTRY STEPS /* places in `steps` as well: dsrlb_xdp, and what tells the decision */
#define SAY (STEPS + 1)

/* A frame has met its verdict. */
static ALWAYS_INLINE int over(struct xdp_md *ctx, int verdict)
{
    struct notes *notes = these_notes();

    if (notes)
        notes->decision.verdict = verdict;
    bpf_tail_call(ctx, &steps, SAY);
    return verdict;
}
#endif

/* Count a sent frame of `octets` for its target and under its reason. */
static ALWAYS_INLINE void count_sent(__u32 target, __u64 octets, __u32 reason)
{
    struct count *count = bpf_map_lookup_elem(&counts, &target);

    note_target(target);
    if (count) {
        count->packets++;
        count->octets += octets;
    }
    count_reason(reason);
}

/* Send a frame out of an interface: the one it came in by, or another. */
static ALWAYS_INLINE int send_by(struct xdp_md *ctx, __u32 ifindex)
{
    note_way_out(ifindex);
    return ifindex == ctx->ingress_ifindex ? XDP_TX : (int)bpf_redirect(ifindex, 0);
}

/* The data path's clock in whole seconds (CLOCK_MONOTONIC), from the kernel's ticks: a load, where every other
 * clock is a call.  Nanoseconds / 2^20 * (2^20 / 10^9), no division. */
static ALWAYS_INLINE __u32 now_s(void)
{
    if (test_clock) {
        __u32 zero = 0;
        struct setup *all = bpf_map_lookup_elem(&setup, &zero);

        return all ? all->now_s : 0;
    }
    __u64 ns = bpf_jiffies64() * jiffy_ns + jiffies_zero_ns;

    return (ns >> 20) * 36028797 >> 35;
}

#endif
