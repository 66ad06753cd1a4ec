/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * budget.py: how often clients may be told something: bounded in all, and for each network of clients.
 *
 * An answer that anybody can provoke is a tool for attackers unless it is rationed.
 * Source: RFC 4443, section 2.4 (f); the whole is Linux's icmp_msgs_per_sec.
 */
#ifndef DSRLB_XDP_BUDGET_H
#define DSRLB_XDP_BUDGET_H

#include "hash.h"
#include "steps.h"

#define TOLD_PER_SECOND 1000
#define TOLD_PER_NETWORK 50

struct network { /* of clients: an IPv4 /24 or an IPv6 /64 */
    __be32 word[2];
    __u32 version;
};

struct told { /* how often, in the last second in which there was anything to tell */
    __u32 second_s;
    __u32 times;
};

struct budget { /* of all clients; the lock is of networks as well */
    struct bpf_spin_lock lock;
    struct told told;
};
ARRAY(budget, struct budget);

struct {
    MAP_NUMBER(type, BPF_MAP_TYPE_LRU_HASH);
    MAP_NUMBER(max_entries, 8192); /* at most TOLD_PER_SECOND of them count, so none of this second is lost */
    MAP_TYPE(key, struct network);
    MAP_TYPE(value, struct told);
} told_networks SEC(".maps");

static ALWAYS_INLINE struct told *told_of(const struct address *client, __u8 version)
{
    struct network network = {.word = {client->word[0], client->word[1]}, .version = version};
    struct told none = {}, *found;

    if (version == 4)
        network.word[0] = client->word[3] & bpf_htonl(0xffffff00);
    found = bpf_map_lookup_elem(&told_networks, &network);
    if (found)
        return found;
    bpf_map_update_elem(&told_networks, &network, &none, BPF_NOEXIST);
    return bpf_map_lookup_elem(&told_networks, &network);
}

/* Whether more than `most` were told in this second. */
static ALWAYS_INLINE int is_spent(struct told *told, __u32 now, __u32 most)
{
    return told->second_s == now && told->times >= most;
}

static ALWAYS_INLINE void count_told(struct told *told, __u32 now)
{
    told->times = told->second_s == now ? told->times + 1 : 1;
    told->second_s = now;
}

/* Budget.spend: whether a client may be told now; it is counted. */
static ALWAYS_INLINE int may_tell(const struct address *client, __u8 version)
{
    __u32 zero = 0, now = now_s();
    struct budget *all = bpf_map_lookup_elem(&budget, &zero);
    struct told *mine;
    int may;

    if (!all || is_spent(&all->told, now, TOLD_PER_SECOND))
        return 0; /* under attack: no lock is taken, no network noted */
    mine = told_of(client, version);
    if (!mine)
        return 0;
    bpf_spin_lock(&all->lock);
    may = !is_spent(&all->told, now, TOLD_PER_SECOND) && !is_spent(mine, now, TOLD_PER_NETWORK);
    if (may) {
        count_told(&all->told, now);
        count_told(mine, now);
    }
    bpf_spin_unlock(&all->lock);
    return may;
}

#endif
