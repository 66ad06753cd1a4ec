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
#define SUM_SMALL_STEP 32
#define SUM_HIGHEST_AT 0x7fff /* the verifier wants to know one */
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

static ALWAYS_INLINE __u64 sum_of_words(const __u32 *word, int count)
{
    __u64 sum = 0;

#pragma unroll
    for (int i = 0; i < count; i++)
        sum += word[i];
    return sum;
}

/* Of fewer than SUM_SMALL_STEP bytes. */
static ALWAYS_INLINE __u64 sum_of_few(const void *from, const void *end, __u32 bytes)
{
    __u64 sum = 0;

    if (bytes & 16) {
        if (from + 16 > end)
            return sum;
        sum += sum_of_words(from, 4);
        from += 16;
    }
    if (bytes & 8) {
        if (from + 8 > end)
            return sum;
        sum += sum_of_words(from, 2);
        from += 8;
    }
    if (bytes & 4) {
        if (from + 4 > end)
            return sum;
        sum += *(const __u32 *)from;
        from += 4;
    }
    if (bytes & 2) {
        if (from + 2 > end)
            return sum;
        sum += *(const __u16 *)from;
        from += 2;
    }
    if (bytes & 1 && from + 1 <= end)
        sum += bpf_htons(*(const __u8 *)from << 8);
    return sum;
}

/* Of `bytes` of the frame from `at` on; what goes beyond its end or SUM_MOST is left out.
 *
 * The verifier follows every number of turns of a loop.  Behind it the offset is worked out anew, so that all
 * of them lead to one and the same state. */
static ALWAYS_INLINE __u64 sum_of(const struct xdp_md *ctx, __u32 at, __u32 bytes)
{
    const void *frame = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end, *from;
    __u32 steps = bytes / SUM_STEP, small_steps = bytes % SUM_STEP / SUM_SMALL_STEP;
    __u64 sum = 0;

    from = frame + (at & SUM_HIGHEST_AT);
    for (__u32 i = 0; i < SUM_STEPS && i < steps; i++, from += SUM_STEP) {
        if (from + SUM_STEP > end)
            return sum;
        sum += (__u32)bpf_csum_diff(0, 0, from, SUM_STEP, 0);
    }
    from = frame + (at + bytes / SUM_STEP * SUM_STEP & SUM_HIGHEST_AT);
    for (__u32 i = 0; i < SUM_STEP / SUM_SMALL_STEP && i < small_steps; i++, from += SUM_SMALL_STEP) {
        if (from + SUM_SMALL_STEP > end)
            return sum;
        sum += sum_of_words(from, SUM_SMALL_STEP / 4);
    }
    from = frame + (at + bytes / SUM_SMALL_STEP * SUM_SMALL_STEP & SUM_HIGHEST_AT);
    return sum + sum_of_few(from, end, bytes);
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
