/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * ports.py: source ports for flows whose client's address is replaced: which are free, and which is next.
 *
 *      head: taken next, if it is free
 *              v
 *     +---+---+---+---+- - -+---+---+---+- - -+---+- - -+---+---+     1: in use
 *     | 1 | 0 | 1 | 1 |     | 0 | 0 | 1 |     | 0 |     | 0 | 1 |     behind 65535 comes 1024
 *     +---+---+---+---+- - -+---+---+---+- - -+---+- - -+---+---+
 *     | arc 0               | arc 1                     | arc 20
 *
 * An arc is locked for a few instructions while a port is looked for in it.  Should ring and arcs ever
 * disagree with the flows, nothing is translated wrongly: `replies` has no two flows of one second name.
 */
#ifndef DSRLB_XDP_RINGS_H
#define DSRLB_XDP_RINGS_H

#include "hash.h"
#include "maps.h"

#define ALL_WORDS ((1ULL << ARC_WORDS) - 1)
/* The compiler shall not know a value: it would leave out checks that the verifier wants to see. */
#define UNKNOWN(value) __asm__ volatile("" : "+r"(value))

struct {
    MAP_NUMBER(type, BPF_MAP_TYPE_HASH);
    MAP_NUMBER(max_entries, 16384); /* ports.MAX_RINGS */
    MAP_NUMBER(map_flags, BPF_F_NO_PREALLOC);
    MAP_TYPE(key, struct flow_key);
    MAP_TYPE(value, struct ring);
} rings SEC(".maps");

struct {
    MAP_NUMBER(type, BPF_MAP_TYPE_HASH);
    MAP_NUMBER(max_entries, 131072);
    MAP_NUMBER(map_flags, BPF_F_NO_PREALLOC);
    MAP_TYPE(key, struct flow_key);
    MAP_TYPE(value, struct arc);
} arcs SEC(".maps");

/* Add without reading back, which older kernels cannot; the compiler would sometimes ask for it. */
static ALWAYS_INLINE void add_to(__s64 *number, __s64 change)
{
    __asm__ volatile("lock *(u64 *)(%0 + 0) += %1" : : "r"(number), "r"(change) : "memory");
}

static const __u64 no_ports[sizeof(struct arc) / sizeof(__u64)];

/* The place of the lowest bit that is 1, of which there is one. */
static ALWAYS_INLINE __u32 lowest(__u64 bits)
{
    __u32 place = __builtin_ctzll(bits);

    UNKNOWN(place);
    return place;
}

/* Take the lowest free port of an arc from a place on; returns its place, ARC_PORTS if there is none. */
static ALWAYS_INLINE __u32 take_in_arc(struct arc *arc, __u32 from)
{
    __u32 number = from / 64, place = ARC_PORTS;
    __u64 free, open;

    UNKNOWN(number);
    if (number >= ARC_WORDS)
        return place;
    bpf_spin_lock(&arc->lock);
    free = ~arc->word[number] & ~0ULL << (from & 63);
    open = ~arc->full & ALL_WORDS & ~1ULL << number;
    if (!free && open) {
        number = lowest(open);
        free = number < ARC_WORDS ? ~arc->word[number] : 0;
    }
    if (free && number < ARC_WORDS) {
        arc->word[number] |= free & -free;
        if (arc->word[number] == ~0ULL)
            arc->full |= 1ULL << number;
        arc->used++;
        place = 64 * number + lowest(free);
    }
    bpf_spin_unlock(&arc->lock);
    return place;
}

static ALWAYS_INLINE struct flow_key ring_key(const struct flow_key *name)
{
    struct flow_key key = *name;

    key.dport = 0;
    return key;
}

/* The ring of a second name; one that there was not begins where its name and the time say.  0: no room. */
static ALWAYS_INLINE struct ring *ring_of(const struct flow_key *name, const struct flow_key *key, __u32 now)
{
    struct ring *found = bpf_map_lookup_elem(&rings, key), fresh = {};
    struct flow_key at = *name;

    if (found)
        return found;
    at.dport = bpf_htons(now);
    fresh.head = hash_of_flow(&at) % RING_PORTS;
    bpf_map_update_elem(&rings, key, &fresh, BPF_NOEXIST);
    return bpf_map_lookup_elem(&rings, key);
}

/* The arc of this key; one that there was not has no port in use.  0: no room. */
static ALWAYS_INLINE struct arc *arc_of(const struct flow_key *key)
{
    struct arc *found = bpf_map_lookup_elem(&arcs, key);

    if (found)
        return found;
    bpf_map_update_elem(&arcs, key, no_ports, BPF_NOEXIST);
    return bpf_map_lookup_elem(&arcs, key);
}

/* Clear a port's bit; returns whether it was set, and in `left` how many others are. */
static ALWAYS_INLINE int clear_in_arc(struct arc *arc, __u32 place, __u32 *left)
{
    __u32 number = place / 64;
    __u64 bit = 1ULL << (place & 63), was = 0;

    UNKNOWN(number);
    if (number >= ARC_WORDS)
        return 0;
    bpf_spin_lock(&arc->lock);
    if (arc->word[number] & bit) {
        was = 1;
        arc->word[number] &= ~bit;
        arc->full &= ~(1ULL << number);
        arc->used--;
    }
    *left = arc->used;
    bpf_spin_unlock(&arc->lock);
    return was;
}

/* Take the port of a second name back from a flow that is over. */
static ALWAYS_INLINE void give_back(const struct flow_key *name)
{
    __u32 place = bpf_ntohs(name->dport) - FIRST_PORT, left = 1;
    struct flow_key key = ring_key(name);
    struct ring *ring = bpf_map_lookup_elem(&rings, &key);
    struct arc *arc;

    if (place >= RING_PORTS)
        return;
    key.zero[0] = place / ARC_PORTS;
    arc = bpf_map_lookup_elem(&arcs, &key);
    if (!arc || !clear_in_arc(arc, place % ARC_PORTS, &left))
        return;
    if (ring)
        add_to(&ring->used, -1);
    if (!left)
        bpf_map_delete_elem(&arcs, &key); /* a bit that is set this very moment is forgotten: see above */
}

#endif
