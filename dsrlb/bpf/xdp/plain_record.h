/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * The record of a plain packet's flow, found and read.
 */
#ifndef DSRLB_XDP_PLAIN_RECORD_H
#define DSRLB_XDP_PLAIN_RECORD_H

#include "flows.h"
#include "plain_packet.h"

/* State and service of a line, as one word with all else zero. */
union standing {
    struct {
        __u8 state;
        __u8 others[3];
        __u16 service;
        __u16 other;
    };
    __u64 word;
};

static ALWAYS_INLINE __u64 standing_of(const struct flow *flow)
{
    const union standing both = {{.state = 0xff, .service = 0xffff}};

    return *(const __u64 *)&flow->state & both.word;
}

/* Read a line: the number of its target, if it holds this flow's record, in a state in which a plain packet
 * changes nothing but its time, and all of it was read at one time; 0: not so. */
static ALWAYS_INLINE __u32 plain_line(const struct flow *flow, const struct flow_key *key, __u64 standing,
                                      __u32 now)
{
    __u32 holder = holder_of(flow), target;

    KEEP_ORDER();
    if (!is_key(&flow->key, key) || standing_of(flow) != standing || now > flow->until_s)
        return 0;
    target = flow->target;
    KEEP_ORDER();
    return holder == holder_of(flow) ? target : 0;
}

/* The record of a packet's flow, and the number of its target; 0: there is none, or not as above. */
static ALWAYS_INLINE struct flow *plain_record(const struct service *service, const struct plain *packet,
                                               __u32 hash, __u32 now, __u32 *target)
{
    struct flow_key key = {
        .src = {.word = {0, 0, MAPPED, packet->src}},
        .dst = {.word = {0, 0, MAPPED, packet->dst}},
        .protocol = packet->protocol,
    };
    union standing standing = {{
        .state = packet->protocol == IPPROTO_TCP ? ESTABLISHED : UDP_FLOW,
        .service = service->id,
    }};
    __u32 number = FIRST_FLOW_BUCKET(hash);
    struct flow_bucket *bucket = bpf_map_lookup_elem(&flows, &number);
    struct flow *flow;

    *(__be32 *)&key.sport = packet->ports;
    if (!bucket)
        return 0;
#pragma unroll
    for (__u32 n = 0; n < 2; n++) { /* where it mostly is */
        flow = &bucket->flow[nth_place(hash, n)];
        *target = plain_line(flow, &key, standing.word, now);
        if (LIKELY(*target))
            return flow;
    }
    flow = flow_of(&key, hash);
    *target = flow ? plain_line(flow, &key, standing.word, now) : 0;
    return *target ? flow : 0;
}

#endif
