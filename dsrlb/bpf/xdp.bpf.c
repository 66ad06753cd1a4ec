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
#include "xdp/program.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";
