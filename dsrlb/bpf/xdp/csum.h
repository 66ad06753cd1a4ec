/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * The Internet checksum (wire/checksum.py; RFC 1071) of a part of the frame.
 *
 * Sums are of 16-bit words as they lie in memory, whatever the byte order (RFC 1071, section 2 (B)), and are
 * folded last: a sum is zero only if every byte is, and a block with its own right checksum folds to 0xffff.
 */
#ifndef DSRLB_XDP_CSUM_H
#define DSRLB_XDP_CSUM_H

#include "../helpers.h"
#include "layout.h"

#define SUM_STEP 512 /* the most that bpf_csum_diff takes before Linux 6.13 (MAX_BPF_STACK) */
#define SUM_STEPS 20
#define SUM_MOST (SUM_STEPS * SUM_STEP + SUM_STEP - 1) /* bytes: a jumbo frame, no more */

static ALWAYS_INLINE __u16 folded(__u64 sum)
{
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (sum & 0xffff) + (sum >> 16);
}

/* The field to write, of everything it covers while it is zero itself. */
static ALWAYS_INLINE __be16 checksum(__u64 sum)
{
    return ~folded(sum);
}

/* Of `bytes` of the frame from `at` on; what goes beyond its end or SUM_MOST is left out. */
static ALWAYS_INLINE __u64 sum_of(const struct xdp_md *ctx, __u32 at, __u32 bytes)
{
    const void *frame = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end, *from;
    __u64 sum = 0;

/* The next `count` bytes, if they are there; the verifier wants to see that each time. */
#define SUM_NEXT(count, more)                                                                                \
    at &= 0x7fff;                                                                                            \
    from = frame + at;                                                                                       \
    if (from + (count) > end)                                                                                \
        return sum;                                                                                          \
    sum += (more);                                                                                           \
    at += (count)
#define SUM_WORDS(w) ((__u64)(w)[0] + (w)[1] + (w)[2] + (w)[3])

    for (int i = 0; i < SUM_STEPS && bytes >= SUM_STEP; i++, bytes -= SUM_STEP) {
        SUM_NEXT(SUM_STEP, (__u32)bpf_csum_diff(0, 0, from, SUM_STEP, 0));
    }
    if (bytes & 256) {
        SUM_NEXT(256, (__u32)bpf_csum_diff(0, 0, from, 256, 0));
    }
    if (bytes & 128) {
        SUM_NEXT(128, (__u32)bpf_csum_diff(0, 0, from, 128, 0));
    }
    for (int i = 0; i < 7 && i < (int)(bytes >> 4 & 7); i++) {
        SUM_NEXT(16, SUM_WORDS((const __u32 *)from));
    }
    if (bytes & 8) {
        SUM_NEXT(8, (__u64)((const __u32 *)from)[0] + ((const __u32 *)from)[1]);
    }
    if (bytes & 4) {
        SUM_NEXT(4, *(const __u32 *)from);
    }
    if (bytes & 2) {
        SUM_NEXT(2, *(const __u16 *)from);
    }
    if (bytes & 1) {
        SUM_NEXT(1, bpf_htons(*(const __u8 *)from << 8));
    }
#undef SUM_NEXT
#undef SUM_WORDS
    return sum;
}

static ALWAYS_INLINE __u64 sum_of_address(const struct address *address)
{
    return (__u64)address->word[0] + address->word[1] + address->word[2] + address->word[3];
}

/* The pseudo-header of what IPv6 carries (RFC 8200, section 8.1). */
static ALWAYS_INLINE __u64 sum_of_pseudo(const struct address *src, const struct address *dst, __u32 bytes,
                                         __u8 protocol)
{
    return sum_of_address(src) + sum_of_address(dst) + bpf_htonl(bytes) + bpf_htonl(protocol);
}

#endif
