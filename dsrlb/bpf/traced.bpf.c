/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * The programs of xdp.bpf.c, which tell their decisions as well (xdp/trace.h): an object of its own, so that
 * the other one, at work while nobody traces, has not an instruction for it.
 */
#define TRACES

#include "helpers.h"
#include "xdp/program.h"
#include "xdp/trace.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("xdp") int dsrlb_trace(struct xdp_md *ctx)
{
    return begin_trace(ctx);
}

SEC("xdp") int dsrlb_say(struct xdp_md *ctx)
{
    return say(ctx);
}
