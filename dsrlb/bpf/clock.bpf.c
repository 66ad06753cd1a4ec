/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * How often the kernel's clock has ticked: asked once, before the data path is loaded (engines/xdp/clock.py).
 *
 *     packet    0              8
 *               +--------------+-- - ---
 *               | jiffies      | anything
 *               +--------------+-- - ---
 */
#include "helpers.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("xdp")
int dsrlb_clock(struct xdp_md *ctx)
{
    __u64 *out = (void *)(long)ctx->data;

    if ((void *)(out + 1) > (void *)(long)ctx->data_end)
        return XDP_ABORTED;
    *out = bpf_jiffies64();
    return XDP_PASS;
}
