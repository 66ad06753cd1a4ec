/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * wire/mss.py: the greatest segment that a TCP header announces.
 *
 *     TCP   0                          20
 *           +- - - - - - - - - - - - - +----+----+-----+-----+----+----+----+-----+- -
 *           | header without options   | 1  | 2  | 4   | MSS      | 3  | 3  | ... |        in a SYN
 *           +- - - - - - - - - - - - - +----+----+-----+-----+----+----+----+-----+- -
 *                                       NOP  kind len              kind len
 */
#ifndef DSRLB_XDP_MSS_H
#define DSRLB_XDP_MSS_H

#include <linux/tcp.h>

#include "../helpers.h"

#define TCP_BYTES 20
#define MOST_TCP_BYTES 60
#define OPTION_END 0
#define OPTION_NO_OPERATION 1
#define OPTION_MSS 2
#define MSS_BYTES 4

/* Put a lower MSS into an option `at` bytes behind the header's begin, and the change into the checksum. */
static ALWAYS_INLINE void lower_mss(struct tcphdr *tcp, __u8 *option, __u32 at, __u16 most)
{
    __u32 announced = option[2] << 8 | option[3], shrunk = announced - most;

    if (announced <= most)
        return;
    if (at & 1) /* astride two words of the checksum */
        shrunk = __builtin_bswap16(announced) + 0xffff - __builtin_bswap16(most);
    tcp->check = bpf_htons((bpf_ntohs(tcp->check) + shrunk) % 0xffff);
    option[2] = most >> 8;
    option[3] = most;
}

/* A number that is below 64.  The verifier forgets what more it knew, and with it how it came here; the
 * compiler knows no better than to do it. */
static ALWAYS_INLINE __u32 below_64(__u32 number)
{
    __asm__("%0 &= 63" : "+r"(number));
    return number;
}

/* Let the TCP header at an offset announce no MSS above `most`. */
static ALWAYS_INLINE void clamp_mss(struct xdp_md *ctx, __u32 tcp_at, __u16 most)
{
    struct tcphdr *tcp = (void *)(long)ctx->data + (tcp_at & 0x7fff);
    void *end = (void *)(long)ctx->data_end;
    __u32 header_bytes, at = TCP_BYTES;

    if ((void *)(tcp + 1) > end)
        return;
    header_bytes = tcp->doff << 2;
    for (int i = 0; i < MOST_TCP_BYTES - TCP_BYTES; i++) {
        __u8 *option;

        if (at + MSS_BYTES > header_bytes)
            return;
        at = below_64(at);
        option = (__u8 *)tcp + at;
        if ((void *)option + MSS_BYTES > end || *option == OPTION_END)
            return;
        if (*option == OPTION_MSS) {
            if (option[1] == MSS_BYTES)
                lower_mss(tcp, option, at, most);
            return;
        }
        if (*option != OPTION_NO_OPERATION && option[1] < 2)
            return;
        at += *option == OPTION_NO_OPERATION ? 1 : option[1];
    }
}

#endif
