/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * The second names of translated flows (flows.Translation): where they stand, and how they are given up.
 *
 *     a flow's line                                       `replies`
 *     +-----------------------------+  name_of   +-------------------------+------------------------+
 *     | key: client, VIP, ports     | ---------> | server, client or       | key of the flow,       |
 *     | target, nat_port, stand_in  | <--------- | stand-in, ports         | the way to the client  |
 *     +-----------------------------+  flow_of   +-------------------------+------------------------+
 */
#ifndef DSRLB_XDP_NAMES_H
#define DSRLB_XDP_NAMES_H

#include "address.h"
#include "flows.h"
#include "rings.h"

struct {
    MAP_NUMBER(type, BPF_MAP_TYPE_HASH);
    MAP_NUMBER(max_entries, 2);
    MAP_NUMBER(map_flags, BPF_F_NO_PREALLOC);
    MAP_TYPE(key, struct flow_key);
    MAP_TYPE(value, struct translation);
} replies SEC(".maps");

/* Addresses that stand in, or once did, for clients: a flow's line has no room for one.  An entry is written
 * once: addresses of services are few, and change when the configuration does. */
#define STAND_INS 1024
#define STAND_IN_TRIES 8
struct stand_in {
    struct bpf_spin_lock lock;
    __u32 pad[3];
    struct address address;
};

struct {
    MAP_NUMBER(type, BPF_MAP_TYPE_ARRAY);
    MAP_NUMBER(max_entries, STAND_INS);
    MAP_TYPE(key, __u32);
    MAP_TYPE(value, struct stand_in);
} stand_ins SEC(".maps");

/* The place of an address among those that stand in, where it is put if it is new; STAND_INS: no room. */
static ALWAYS_INLINE __u32 place_of_stand_in(const struct address *address)
{
    __u32 first = hash_of_client(address);

    for (__u32 turn = 0; turn < STAND_IN_TRIES; turn++) {
        __u32 place = (first + turn) % STAND_INS;
        struct stand_in *one = bpf_map_lookup_elem(&stand_ins, &place);
        int is_same;

        if (!one)
            break;
        bpf_spin_lock(&one->lock);
        if (is_zero(&one->address))
            one->address = *address;
        is_same = is_same_address(&one->address, address);
        bpf_spin_unlock(&one->lock);
        if (is_same)
            return place;
    }
    return STAND_INS;
}

/* Tell the second name of a flow on record that has one; returns whether it can be told. */
static ALWAYS_INLINE int name_of(const struct flow *flow, struct flow_key *name)
{
    __u32 number = flow->target, place = flow->stand_in;
    const struct target *target = bpf_map_lookup_elem(&targets, &number);
    const struct stand_in *client = bpf_map_lookup_elem(&stand_ins, &place);

    if (!target || !client)
        return 0;
    name->src = target->address;
    name->dst = flow->bits & HAS_PORT ? client->address : flow->key.src;
    name->sport = target->port ? target->port : flow->key.dport;
    name->dport = flow->nat_port;
    *(__u32 *)&name->protocol = *(const __u32 *)&flow->key.protocol;
    return 1;
}

/* Give up a second name of the flow of this key, if it is still its own, and the port that may go with it. */
static ALWAYS_INLINE void drop_name(const struct flow_key *name, const struct flow_key *key, int has_port)
{
    const struct translation *found = bpf_map_lookup_elem(&replies, name);

    if (found && is_key(&found->key, key))
        bpf_map_delete_elem(&replies, name);
    if (has_port)
        give_back(name);
}

/* Give up the second name of a flow that is over, and had one. */
static ALWAYS_INLINE void forget_name(const struct flow *ended)
{
    struct flow_key name;

    if (name_of(ended, &name))
        drop_name(&name, &ended->key, ended->bits & HAS_PORT);
}

#endif
