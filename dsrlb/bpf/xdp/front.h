/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * table.find_service and `in table.vips`: two-bucket hash tables of our own.  A look-up costs one or two cache
 * lines and no call; the control path places every key in one of its two buckets (engines/xdp/placing.py).
 */
#ifndef DSRLB_XDP_FRONT_H
#define DSRLB_XDP_FRONT_H

#include "address.h"
#include "maps.h"

/* The four bytes of port, protocol and zero, as they lie in a service key. */
static ALWAYS_INLINE __u32 tail_of(__be16 port, __u8 protocol)
{
    union {
        struct {
            __be16 port;
            __u8 protocol;
            __u8 zero;
        };
        __u32 word;
    } tail = {{port, protocol, 0}};

    return tail.word;
}

static ALWAYS_INLINE __u32 in_front_bucket(__u32 number, const struct address *vip, __u32 tail)
{
    struct front_bucket *bucket = bpf_map_lookup_elem(&front, &number);

    if (!bucket)
        return 0;
#pragma unroll
    for (int way = 0; way < FRONT_WAYS; way++) {
        const struct front_entry *entry = &bucket->entry[way];

        if (entry->vip.half[1] == vip->half[1] && *(const __u32 *)&entry->port == tail &&
            entry->vip.half[0] == vip->half[0])
            return entry->service;
    }
    return 0;
}

/* The index of the service of exactly this VIP, port and protocol; 0: there is none. */
static ALWAYS_INLINE __u32 service_at(const struct address *vip, __be16 port, __u8 protocol)
{
    __u32 tail = tail_of(port, protocol);
    __u64 hash = hash_of_place(vip, tail);
    __u32 found = in_front_bucket(FIRST_BUCKET(hash, front_mask), vip, tail);

    return found ? found : in_front_bucket(SECOND_BUCKET(hash, front_mask), vip, tail);
}

/* table.find_service: one for every port comes second. */
static ALWAYS_INLINE __u32 find_service(const struct address *vip, __be16 port, __u8 protocol)
{
    __u32 found = service_at(vip, port, protocol);

    return found ? found : service_at(vip, 0, protocol);
}

static ALWAYS_INLINE int in_vip_bucket(__u32 number, const struct address *address)
{
    struct vip_bucket *bucket = bpf_map_lookup_elem(&vips, &number);

    if (!bucket)
        return 0;
#pragma unroll
    for (int way = 0; way < VIP_WAYS; way++)
        if (bucket->vip[way].half[1] == address->half[1] && bucket->vip[way].half[0] == address->half[0])
            return 1;
    return 0;
}

/* Whether an address, whose hash_of_place this is, is in table.vips. */
static ALWAYS_INLINE int is_vip_at(const struct address *address, __u64 hash)
{
    return in_vip_bucket(FIRST_BUCKET(hash, vip_mask), address) ||
           in_vip_bucket(SECOND_BUCKET(hash, vip_mask), address);
}

/* Whether an address is in table.vips.  The unspecified one never is: so look free entries. */
static ALWAYS_INLINE int is_vip(const struct address *address)
{
    return !is_zero(address) && is_vip_at(address, hash_of_place(address, 0));
}

/* The interface that a frame came in by, if it is one of ours. */
static ALWAYS_INLINE struct interface *interface_of(__u32 ifindex)
{
    __u32 place = ifindex % INTERFACES;
    struct interface *found = bpf_map_lookup_elem(&interfaces, &place);

    return found && found->ifindex == ifindex ? found : 0;
}

#endif
