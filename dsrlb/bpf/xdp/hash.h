/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * wire/flowhash.py in C, and the hash of the tables of our own.
 */
#ifndef DSRLB_XDP_HASH_H
#define DSRLB_XDP_HASH_H

#include "layout.h"

#define K0 0xe220a8397b1dcdafULL
#define K1 0x6e789e6aa1b965f5ULL
#define K2 0x06c45d188009454fULL
#define K3 0xf88bb8a8724c81edULL
#define K4 0x1b39896a51a8749bULL
#define K5 0x53cb9f0c747ea2ebULL
#define K6 0x2c829abe1f4532e1ULL
#define K7 0xc584133ac916ab3dULL
#define K8 0x3ee5789041c98ac3ULL
#define K9 0xf3b8488c368cb0a7ULL
#define K10 0x657eecdd3cb13d09ULL
#define KMIX 0xc2d326e0055bdef7ULL

#define MAPPED bpf_htonl(0xffff) /* the third word of an IPv4-mapped address */

static ALWAYS_INLINE __u64 mixed(__u64 total)
{
    return (total ^ total >> 32) * KMIX;
}

/* flow_hash of an IPv4 flow. */
static ALWAYS_INLINE __u32 hash_of_flow4(__be32 src, __be32 dst, __be32 ports, __u8 protocol)
{
    __u64 total = K0 + 0xffff * (K3 + K7) + K4 * bpf_ntohl(src) + K8 * bpf_ntohl(dst) +
                  K9 * bpf_ntohl(ports) + K10 * ((__u32)protocol << 24);

    return mixed(total) >> 32;
}

/* flow_hash of any flow key. */
static ALWAYS_INLINE __u32 hash_of_flow(const struct flow_key *key)
{
    const __be32 *word = (const __be32 *)key;
    __u64 total = K0 + K1 * bpf_ntohl(word[0]) + K2 * bpf_ntohl(word[1]) + K3 * bpf_ntohl(word[2]) +
                  K4 * bpf_ntohl(word[3]) + K5 * bpf_ntohl(word[4]) + K6 * bpf_ntohl(word[5]) +
                  K7 * bpf_ntohl(word[6]) + K8 * bpf_ntohl(word[7]) + K9 * bpf_ntohl(word[8]) +
                  K10 * bpf_ntohl(word[9]);

    return mixed(total) >> 32;
}

/* client_hash of a network's 16 bytes. */
static ALWAYS_INLINE __u32 hash_of_client(const struct address *network)
{
    __u64 total = K0 + K1 * bpf_ntohl(network->word[0]) + K2 * bpf_ntohl(network->word[1]) +
                  K3 * bpf_ntohl(network->word[2]) + K4 * bpf_ntohl(network->word[3]);

    return mixed(total) >> 32;
}

/* The 64-bit hash that leads to the buckets of an address, or of an address, port and protocol.  Words are read
 * as they lie in memory: no other machine needs to find the same bucket.  `tail`: port, protocol, 0; or 0. */
static ALWAYS_INLINE __u64 hash_of_place(const struct address *address, __u32 tail)
{
    return mixed(K1 * address->word[0] + K2 * address->word[1] + K3 * address->word[2] +
                 K4 * address->word[3] + K5 * tail);
}

/* The two buckets of a place's hash, and the bit of an interface's filters. */
#define FIRST_BUCKET(hash, mask) ((__u32)((hash) >> 32) & (mask))
#define SECOND_BUCKET(hash, mask) ((__u32)((hash) >> 12) & (mask))
#define FILTER_BIT(hash) ((__u32)((hash) >> 57))

static ALWAYS_INLINE int is_in_filter(const __u64 *filter, __u32 bit)
{
    return filter[bit >> 6 & 1] >> (bit & 63) & 1;
}

#endif
