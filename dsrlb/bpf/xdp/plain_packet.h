/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * A plain packet, read: TCP or UDP in IPv4 without options, whole, in an untagged frame to this interface,
 * and sound.  Headers are read as six words of eight bytes, and the fields are cut out of these: less to
 * load, and a frame that was just written by words is not waited for.
 *
 *     0       12        16       20       23    26    30    34      38       46     47
 *     +-- - --+---------+-- - ---+-- - ---+- - -+-----+-----+-------+-- - ---+------+------
 *     | MAC   |08 00 45 | length | place  |proto| src | dst | ports | UDP    |TCP   |TCP
 *     |       |         |        |        |     |     |     |       | length |offset|flags
 *     +-- - --+---------+-- - ---+-- - ---+- - -+-----+-----+-------+-- - ---+------+------
 */
#ifndef DSRLB_XDP_PLAIN_PACKET_H
#define DSRLB_XDP_PLAIN_PACKET_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>

#include "front.h"
#include "steps.h"

#define PLAIN_BYTES 40 /* of headers, behind the link header: of IPv4 and TCP */

/* `count` bytes of a word of eight, from byte `at` on, as the number that the same bytes make in memory; such
 * a number of two halves of 16 bits; and bytes 12 to 14 of a frame. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define BYTES(word, at, count) ((word) >> 8 * (at) & ~0ULL >> 8 * (8 - (count)))
#define JOINED(first, second) ((first) | (second) << 16)
#define IPV4_WITHOUT_OPTIONS 0x450008
#else
#define BYTES(word, at, count) ((word) >> 8 * (8 - (at) - (count)) & ~0ULL >> 8 * (8 - (count)))
#define JOINED(first, second) ((first) << 16 | (second))
#define IPV4_WITHOUT_OPTIONS 0x080045
#endif

struct plain { /* numbers in the order of the wire unless said otherwise */
    struct interface *here;
    __u64 *word; /* the first six, which may be written as well */
    __be32 src, dst, ports;
    __u8 protocol, tcp_flags, tos;
    __u8 is_from_server;         /* perhaps */
    __u16 frame_bytes, ip_bytes; /* host order */
};

/* Whether the 20 bytes of an IPv4 header add up: their sum is a multiple of 0xffff. */
static ALWAYS_INLINE int sums_up(const __u64 *word)
{
    __u64 sum = BYTES(word[1], 6, 2) + BYTES(word[2], 0, 4) + BYTES(word[2], 4, 4) + BYTES(word[3], 0, 4) +
                BYTES(word[3], 4, 4) + BYTES(word[4], 0, 2);

    sum = (sum & 0xffff) + (sum >> 16);
    return (sum & 0xffff) + (sum >> 16) == 0xffff; /* < 2^17 after the first */
}

/* Whether a source, whose hash_of_place this is, is martian or a VIP: not plain. */
static ALWAYS_INLINE int is_odd_source(const struct interface *here, const struct address *src, __u64 hash)
{
    __u8 first = src->byte[12];

    if ((__u8)(first - 1) >= 223 || first == 127)
        return 1;
    return UNLIKELY(is_in_filter(here->vip_filter, FILTER_BIT(hash))) && is_vip_at(src, hash);
}

/* Read ports and flags; whether the TCP or UDP header is sound. */
static ALWAYS_INLINE int read_plain_ports(struct plain *packet)
{
    const __u64 *word = packet->word;
    __u32 bytes;

    packet->ports = BYTES(word[4], 2, 4);
    packet->protocol = BYTES(word[2], 7, 1);
    packet->tcp_flags = 0;
    if (LIKELY(packet->protocol == IPPROTO_TCP)) {
        bytes = BYTES(word[5], 6, 1) >> 4 << 2;
        packet->tcp_flags = BYTES(word[5], 7, 1);
        return bytes >= 20 && bytes + sizeof(struct iphdr) <= packet->ip_bytes;
    }
    bytes = bpf_ntohs(BYTES(word[4], 6, 2));
    return packet->protocol == IPPROTO_UDP && bytes >= 8 && bytes + sizeof(struct iphdr) <= packet->ip_bytes;
}

/* Read a frame; 0: it is not plain. */
static ALWAYS_INLINE int read_plain(struct xdp_md *ctx, struct plain *packet)
{
    struct interface *here = interface_of(ctx->ingress_ifindex);
    __u64 *word = (void *)(long)ctx->data;
    void *end = (void *)(long)ctx->data_end;

    if (!here || (void *)word + sizeof(struct ethhdr) + PLAIN_BYTES > end)
        return 0;
    if (BYTES(word[0] ^ *(const __u64 *)here->mac, 0, 6) || BYTES(word[1], 4, 3) != IPV4_WITHOUT_OPTIONS ||
        BYTES(word[2], 4, 2) & bpf_htons(0x3fff) || !sums_up(word))
        return 0;
    packet->here = here;
    packet->word = word;
    packet->frame_bytes = end - (void *)word;
    packet->ip_bytes = bpf_ntohs(BYTES(word[2], 0, 2));
    packet->tos = BYTES(word[1], 7, 1);
    packet->src = BYTES(word[3], 2, 4);
    packet->dst = JOINED(BYTES(word[3], 6, 2), BYTES(word[4], 0, 2));
    if (packet->ip_bytes + sizeof(struct ethhdr) > packet->frame_bytes ||
        (here->mtu_bytes && packet->ip_bytes > here->mtu_bytes))
        return 0;
    struct address src = {.word = {0, 0, MAPPED, packet->src}};
    __u64 hash = hash_of_place(&src, 0);

    packet->is_from_server = is_in_filter(here->server_filter, FILTER_BIT(hash));
    return !is_odd_source(here, &src, hash) && read_plain_ports(packet);
}

#endif
