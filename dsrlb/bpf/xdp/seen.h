/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * A packet of a flow, as far as picking a backend goes by it.  It stands in a map, where the verifier does
 * not follow what is known of it from one branch to the next.
 */
#ifndef DSRLB_XDP_SEEN_H
#define DSRLB_XDP_SEEN_H

#include "hash.h"
#include "steps.h"

struct seen {
    struct flow_key key;
    struct address network; /* of the client, where HASHES_CLIENT */
    __u32 now;
    __u32 hash;        /* flow_hash */
    __u32 slot_hash;   /* what slots go by, and former slots */
    __u32 former_hash;
    __u32 owner; /* begin: the target that it is at, if it is under way; 0: none */
    __u8 is_tcp;
    __u8 tcp_flags; /* 0: UDP, or none */
    __u8 opens;     /* TCP: asks for a connection */
    __u8 pad;
};
PER_CPU(seens, struct seen);

static ALWAYS_INLINE struct seen *this_seen(void)
{
    __u32 zero = 0;

    return bpf_map_lookup_elem(&seens, &zero);
}

/* A word of an address without the bits behind a prefix, of which `before` bits are in words before it. */
static ALWAYS_INLINE __be32 masked(__be32 word, __u32 prefix, __u32 before)
{
    if (prefix <= before)
        return 0;
    return prefix - before >= 32 ? word : word & bpf_htonl(~(~0U >> (prefix - before)));
}

/* flowhash.client_network: an address without the bits behind the prefix of its family. */
static ALWAYS_INLINE struct address network_of(const struct address *src, __u8 prefix4, __u8 prefix6)
{
    struct address network = *src;

    if (!src->half[0] && src->word[2] == MAPPED) {
        network.word[3] = masked(src->word[3], prefix4, 0);
        return network;
    }
#pragma unroll
    for (__u32 i = 0; i < 4; i++)
        network.word[i] = masked(src->word[i], prefix6, 32 * i);
    return network;
}

/* See a packet of this flow, to a service; what is told by its flags is not filled in. */
static ALWAYS_INLINE struct seen *see(const struct service *service, const struct flow_key *key, __u32 hash)
{
    struct seen *seen = this_seen();
    struct address network;

    if (!seen)
        return 0;
    seen->key = *key;
    seen->now = now_s();
    seen->hash = seen->slot_hash = seen->former_hash = hash;
    if (service->flags & HASHES_CLIENT) {
        seen->network = network_of(&key->src, service->prefix4, service->prefix6);
        seen->slot_hash = hash_of_client(&seen->network);
    }
    if (service->flags & FORMER_HASHES_CLIENT) {
        network = network_of(&key->src, service->former_prefix4, service->former_prefix6);
        seen->former_hash = hash_of_client(&network);
    }
    return seen;
}

#endif
