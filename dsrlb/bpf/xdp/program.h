/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * The programs: the one on an interface, the steps behind it, and what the control path runs.  Two objects hold
 * them, xdp.bpf.c and traced.bpf.c.
 */
#ifndef DSRLB_XDP_PROGRAM_H
#define DSRLB_XDP_PROGRAM_H

#include "about.h"
#include "begin.h"
#include "classify.h"
#include "credit.h"
#include "forward.h"
#include "inline.h"
#include "l2dsr.h"
#include "l3dsr.h"
#include "message.h"
#include "piece.h"
#include "plain.h"
#include "reply.h"
#include "steps.h"
#include "sweep.h"
#include "tell.h"

SEC("xdp")
int dsrlb_xdp(struct xdp_md *ctx)
{
    int verdict = plain(ctx);

    return over(ctx, verdict == LONG_WAY ? go_on(ctx, CLASSIFY) : verdict);
}

/* The steps: what each does is in its header. */
#define STEP(name, does)                                                                                     \
    SEC("xdp") int dsrlb_##name(struct xdp_md *ctx)                                                          \
    {                                                                                                        \
        return over(ctx, does(ctx));                                                                         \
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

#endif
