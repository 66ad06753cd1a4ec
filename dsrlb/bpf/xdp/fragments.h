/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * fragments.py: only the first piece of a datagram has ports.  Where it went is remembered, and later pieces
 * follow it there.  Those that overtook it are the packet engine's: it holds them until the first piece is on
 * record here.
 */
#ifndef DSRLB_XDP_FRAGMENTS_H
#define DSRLB_XDP_FRAGMENTS_H

#include "steps.h"

#define REMEMBER_S 30 /* Linux's ipfrag_time */

/* Note where a first piece goes: to job->target of job->service. */
static ALWAYS_INLINE void remember_piece(const struct job *job)
{
    const struct service *service = bpf_map_lookup_elem(&services, &job->service);
    struct fragment_owner owner = {.until_s = now_s() + REMEMBER_S, .target = job->target};

    if (!service)
        return;
    owner.service = service->id;
    bpf_map_update_elem(&fragments, &job->datagram, &owner, BPF_ANY);
}

/* Where the first piece of a later one's datagram went; 0: it has not come, or too long ago. */
static ALWAYS_INLINE const struct fragment_owner *owner_of_piece(const struct job *job)
{
    const struct fragment_owner *owner = bpf_map_lookup_elem(&fragments, &job->datagram);

    return owner && now_s() <= owner->until_s ? owner : 0;
}

#endif
