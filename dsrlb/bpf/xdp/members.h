/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * Targets as the backends of a service: CompiledService.by_key, and what may go to one.
 */
#ifndef DSRLB_XDP_MEMBERS_H
#define DSRLB_XDP_MEMBERS_H

#include "maps.h"

/* The target of this service that is the same backend as a target on record; 0: it is no backend of it. */
static ALWAYS_INLINE __u32 member_of(const struct service *service, __u32 number)
{
    const struct target *target = bpf_map_lookup_elem(&targets, &number);
    struct member_key key = {.service = service->id};
    __u32 *found;

    if (!target)
        return 0;
    if (target->service == service->id)
        return target->flags & MEMBER ? number : 0;
    key.port = target->port;
    key.address = target->address;
    found = bpf_map_lookup_elem(&members, &key);
    return found ? *found : 0;
}

static ALWAYS_INLINE int has_hop(__u32 number)
{
    const struct target *target = bpf_map_lookup_elem(&targets, &number);

    return target && target->hop_in_use != NO_HOP;
}

/* Whether more than what is under way by TCP may go to a target. */
static ALWAYS_INLINE int takes_all(__u32 number)
{
    const struct target *target = bpf_map_lookup_elem(&targets, &number);

    return target && target->hop_in_use != NO_HOP && target->flags & UP;
}

/* Whether a template may lead new flows to a target. */
static ALWAYS_INLINE int takes_new(__u32 number)
{
    const struct target *target = bpf_map_lookup_elem(&targets, &number);

    return takes_all(number) && target && target->flags & WEIGHTED;
}

#endif
