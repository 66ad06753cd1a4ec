/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * Passes every frame.  A veth device takes frames that its peer sends from XDP only while it has an XDP
 * program itself (drivers/net/veth.c, veth_xdp_xmit): in the lab, the balancer's switch port has this one.
 */
#include "helpers.h"

#include <linux/bpf.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("xdp")
int dsrlb_pass(struct xdp_md *ctx)
{
    (void)ctx;
    return XDP_PASS;
}
