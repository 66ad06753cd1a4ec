/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * datapath._steer: an ICMP error goes to the target of the flow that it quotes; it makes no record.
 *
 * The quoted packet is a server's, from the VIP to the client: the flow has source and destination swapped.
 */
#ifndef DSRLB_XDP_STEER_H
#define DSRLB_XDP_STEER_H

#include "front.h"
#include "pick.h"
#include "quote.h"

/* The flow of the client whom a quoted packet is to. */
static ALWAYS_INLINE struct flow_key flow_of_quote(const struct quote *quote)
{
    return (struct flow_key){.src = quote->dst,
                             .dst = quote->src,
                             .sport = quote->dport,
                             .dport = quote->sport,
                             .protocol = quote->protocol};
}

/* Translated flows (inline): the mode has to know which one; its first name goes where else the second is. */
static ALWAYS_INLINE int steer_translated(struct xdp_md *ctx, struct job *job, const struct seen *seen)
{
    if (!job->target || !has_hop(job->target))
        return stop(ICMP_UNMATCHED);
    job->name = seen->key;
    job->hash = seen->hash;
    return go_on(ctx, ABOUT_REPLY);
}

/* Steer an error that is sound. */
static ALWAYS_INLINE int steer(struct xdp_md *ctx, struct job *job)
{
    const struct service *service;
    struct quote quote = {};
    struct flow_key key;
    struct seen *seen;

    if (!read_quote(ctx, job, &quote) || !is_same_address(&quote.src, &job->key.dst))
        return stop(ICMP_UNMATCHED);
    key = flow_of_quote(&quote);
    job->service = find_service(&key.dst, key.dport, key.protocol);
    service = bpf_map_lookup_elem(&services, &job->service);
    if (!job->service || !service)
        return stop(ICMP_UNMATCHED);
    seen = see(service, &key, hash_of_flow(&key));
    if (!seen)
        return hand_over();
    job->reason = ICMP_STEERED;
    job->target = owner_of(service, seen);
    note_target(job->target);
    if (service->mode == INLINE)
        return steer_translated(ctx, job, seen);
    if (!job->target)
        job->target = pick_under_way(service, seen);
    if (!job->target)
        return stop(NO_BACKEND);
    return go_on(ctx, service->mode == L2DSR ? MODE_L2DSR : MODE_L3DSR);
}

#endif
