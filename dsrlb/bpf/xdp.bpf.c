/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * The data path inside the kernel: the twin, at XDP, of dsrlb/datapath.py, which is its specification.
 *
 *     classify -> find service -> pick backend -> rewrite
 *
 * What each step does is told in the header of its name (xdp/), how they hang together in xdp/steps.h, what it
 * reads and remembers in xdp/layout.h.
 */
#include "helpers.h"
#include "xdp/about.h"
#include "xdp/begin.h"
#include "xdp/classify.h"
#include "xdp/credit.h"
#include "xdp/forward.h"
#include "xdp/inline.h"
#include "xdp/l2dsr.h"
#include "xdp/l3dsr.h"
#include "xdp/message.h"
#include "xdp/piece.h"
#include "xdp/plain.h"
#include "xdp/reply.h"
#include "xdp/steps.h"
#include "xdp/sweep.h"
#include "xdp/tell.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("xdp")
int dsrlb_xdp(struct xdp_md *ctx)
{
    int verdict = plain(ctx);

    return verdict == LONG_WAY ? go_on(ctx, CLASSIFY) : verdict;
}

/* The steps: what each does is in its header. */
#define STEP(name, does)                                                                                     \
    SEC("xdp") int dsrlb_##name(struct xdp_md *ctx)                                                          \
    {                                                                                                        \
        return does(ctx);                                                                                    \
    }

STEP(classify, classify)
STEP(own, own)
STEP(forward, forward)
STEP(begin, begin_flow)
STEP(piece, piece)
STEP(message, message)
STEP(reply, reply)
STEP(tell, tell)
STEP(l2dsr, send_l2dsr)
STEP(l3dsr, send_l3dsr)
STEP(inline, send_inline)
STEP(about_request, about_request)
STEP(about_reply, about_reply)

/* Not steps: run by the control path.  Of another kind, since the kernel patches its code for
 * each XDP program that is tried (kernel/bpf/dispatcher.c). */
SEC("tc") int dsrlb_sweep(struct __sk_buff *frame)
{
    (void)frame;
    return sweep();
}

SEC("tc") int dsrlb_credit(struct __sk_buff *frame)
{
    (void)frame;
    return credit();
}
