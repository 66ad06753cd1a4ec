/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * A frame, read at offsets; and its link header (wire/ethernet.py).
 *
 *     0         6         12     12+4t    14+4t = l3_at
 *     +---------+---------+- - - +--------+---------
 *     | dst MAC | src MAC | tags | type   | payload      t = 0, 1 or 2 tags of 4 bytes
 *     +---------+---------+- - - +--------+---------
 */
#ifndef DSRLB_XDP_FRAME_H
#define DSRLB_XDP_FRAME_H

#include <linux/if_ether.h>

#include "steps.h"

/* The highest offset that is read at.  The verifier wants to know one; no header begins behind it: the
 * longest link header and eight extension headers take 16446 bytes. */
#define HIGHEST_AT 0x7fff

#define MAX_TAGS 2
#define TAG_BYTES 4

struct long_link { /* a link header with all the tags there may be */
    struct ethhdr link;
    __u8 tags[MAX_TAGS * TAG_BYTES];
};

/* The `bytes` of a frame from an offset on; 0: the frame ends before. */
static ALWAYS_INLINE void *part_of(struct xdp_md *ctx, __u32 at, __u32 bytes)
{
    void *part = (void *)(long)ctx->data + (at & HIGHEST_AT);

    return part + bytes > (void *)(long)ctx->data_end ? 0 : part;
}

/* Whether a frame ends before this offset, which may be a false one. */
static ALWAYS_INLINE int ends_before(struct xdp_md *ctx, __u32 at)
{
    return (void *)(long)ctx->data + at > (void *)(long)ctx->data_end;
}

static ALWAYS_INLINE int is_tag(__be16 type)
{
    return type == bpf_htons(0x8100) || type == bpf_htons(0x88a8) || type == bpf_htons(0x9100);
}

/* The ethertype behind up to two VLAN tags, and where the payload begins; 0: the frame ends too soon. */
static ALWAYS_INLINE __be16 skip_tags(struct xdp_md *ctx, __u16 *l3_at)
{
#pragma unroll
    for (int tags = 0; tags <= MAX_TAGS; tags++) {
        __be16 *type = part_of(ctx, 2 * ETH_ALEN + tags * TAG_BYTES, sizeof(*type));

        if (!type)
            return 0;
        *l3_at = ETH_HLEN + tags * TAG_BYTES;
        if (tags == MAX_TAGS || !is_tag(*type))
            return *type;
    }
    return 0;
}

static ALWAYS_INLINE int is_same_mac(const __u8 *one, const __u8 *other)
{
    return *(const __u32 *)one == *(const __u32 *)other &&
           *(const __u16 *)&one[4] == *(const __u16 *)&other[4];
}

/* Whether an interface has a MAC address of its own; one without takes every unicast frame (offline). */
static ALWAYS_INLINE int has_mac(const struct interface *here)
{
    return *(const __u32 *)here->mac || *(const __u16 *)&here->mac[4];
}

/* Whether a frame is to the interface that it came in by; none: it is not one of ours. */
static ALWAYS_INLINE int is_to_us(const struct ethhdr *link, const struct interface *here)
{
    if (!here)
        return 0;
    return has_mac(here) ? is_same_mac(link->h_dest, here->mac) : !(link->h_dest[0] & 1);
}

/* Send a frame back to whom it came from: source and destination change places. */
static ALWAYS_INLINE void turn_back(struct ethhdr *link)
{
    __u8 from[ETH_ALEN];

    __builtin_memcpy(from, link->h_source, ETH_ALEN);
    __builtin_memcpy(link->h_source, link->h_dest, ETH_ALEN);
    __builtin_memcpy(link->h_dest, from, ETH_ALEN);
}

/* The length of a frame.  The verifier knows pointers by 64 bits only: the difference may not be narrowed. */
static ALWAYS_INLINE __u64 frame_bytes(const struct xdp_md *ctx)
{
    __u64 bytes = (void *)(long)ctx->data_end - (void *)(long)ctx->data;

    __asm__ volatile("" : "+r"(bytes));
    return bytes;
}

/* Let a frame end at an offset: it shrinks or grows.  Returns 0, or why that cannot be. */
static ALWAYS_INLINE long cut_at(struct xdp_md *ctx, __u32 end)
{
    return bpf_xdp_adjust_tail(ctx, (int)(end - frame_bytes(ctx)));
}

#endif
