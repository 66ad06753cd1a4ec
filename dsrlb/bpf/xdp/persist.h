/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * Persistence (persistence.py): for some time after its last connection, a client gets the server that it
 * had.
 */
#ifndef DSRLB_XDP_PERSIST_H
#define DSRLB_XDP_PERSIST_H

#include "members.h"
#include "seen.h"
#include "states.h"

static ALWAYS_INLINE struct template_key template_key_of(const struct service *service,
                                                         const struct seen *seen)
{
    struct template_key key;

    __builtin_memcpy(key.service, &service->key, sizeof(key.service));
    __builtin_memcpy(key.network, &seen->network, sizeof(key.network));
    return key;
}

/* The target of the template of a flow's client; 0: there is none. */
static ALWAYS_INLINE __u32 persisted(const struct service *service, const struct seen *seen)
{
    struct template_key key;
    struct template *kept;

    if (!(service->flags & PERSISTS))
        return 0;
    key = template_key_of(service, seen);
    kept = bpf_map_lookup_elem(&templates, &key);
    return kept && seen->now <= kept->until_s ? member_of(service, kept->target) : 0;
}

/* Let a client have this target until then; never for a shorter time than it has it already. */
static ALWAYS_INLINE void keep(const struct service *service, const struct seen *seen, __u32 target,
                               __u32 until)
{
    struct template_key key = template_key_of(service, seen);
    struct template fresh = {.target = target, .until_s = until};
    struct template *kept = bpf_map_lookup_elem(&templates, &key);

    if (kept && kept->target == target) {
        if (kept->until_s < until)
            kept->until_s = until;
    } else if (bpf_map_update_elem(&templates, &key, &fresh, BPF_ANY)) {
        count_reason(TEMPLATES_REFUSED);
    }
}

/* Let the client of a flow that begins in this state stay with its target. */
static ALWAYS_INLINE void persist(const struct service *service, const struct seen *seen, __u32 target,
                                  __u8 begins_in)
{
    __u32 lasts_s = service->persist_s;

    if (!(service->flags & PERSISTS) || !target)
        return;
    if (!is_active(begins_in) && lasts_s > service->timeout_s[SYN_RECEIVED])
        lasts_s = service->timeout_s[SYN_RECEIVED];
    keep(service, seen, target, seen->now + lasts_s);
}

/* Prolong the template of a client whose connection is established, unless it leads elsewhere by now. */
static ALWAYS_INLINE void prolong(const struct service *service, const struct seen *seen, __u32 target)
{
    __u32 kept = persisted(service, seen);

    if (!kept || kept == target)
        persist(service, seen, target, ESTABLISHED);
}

#endif
