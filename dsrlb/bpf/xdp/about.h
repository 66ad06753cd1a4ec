/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * wire/requote.py, and of nat.py what uses it: an ICMP error from and to others, about a packet that is from
 * and to others.
 *
 *     0      l3_at        l4_at     at             quote l4_at
 *     +------+------------+---------+--------------+------------+- - -
 *     | link | IP         | ICMP    | IP           | ports,     | as much as the router quoted
 *     |      |            | error   | quoted       | sum        |
 *     +------+------------+---------+--------------+------------+- - -
 *       c      TTL, ends    sum       ends           c
 *
 * The error's own sum was found right.  So the one that is worked out anew, as the specification has it, is
 * the old one adjusted to all that changes.
 * Source: RFC 3022, section 4.3; RFC 5508, section 4.2.
 */
#ifndef DSRLB_XDP_ABOUT_H
#define DSRLB_XDP_ABOUT_H

#include "l2dsr.h"
#include "message.h"
#include "naming.h"
#include "quote.h"
#include "readdress.h"
#include "reply.h"

struct retelling { /* how an error is told to another; in a map: it is larger than a stack has room for */
    struct quote quote;
    struct address src, dst; /* of the error */
    struct flow_key inner;   /* what the quoted packet is to say */
    __u8 link[BACK_LINK_BYTES];
    __u8 link_bytes;
    __u32 ifindex; /* the way out */
};
PER_CPU(retellings, struct retelling);

static ALWAYS_INLINE struct retelling *this_retelling(void)
{
    __u32 zero = 0;

    return bpf_map_lookup_elem(&retellings, &zero);
}

/* Write the addresses of the quoted IP header at an offset, whose TTL stays; returns what they lose. */
static ALWAYS_INLINE __u64 readdress_quoted_ip(struct xdp_md *ctx, __u32 at, __u8 version,
                                               const struct flow_key *says)
{
    struct ipv6hdr *ip6 = version == 6 ? part_of(ctx, at, sizeof(*ip6)) : 0;
    struct iphdr *ip4 = version == 4 ? part_of(ctx, at, sizeof(*ip4)) : 0;
    __u64 lost = 0;

    if (ip6) {
        struct address *ends = (struct address *)&ip6->saddr;

        lost = less_address(&ends[0], &says->src) + less_address(&ends[1], &says->dst);
        __builtin_memcpy(ends, says, 2 * sizeof(*ends));
    } else if (ip4) {
        lost = less(ip4->saddr, says->src.word[3]) + less(ip4->daddr, says->dst.word[3]);
        ip4->check = adjusted(ip4->check, lost);
        ip4->saddr = says->src.word[3];
        ip4->daddr = says->dst.word[3];
    }
    return lost;
}

/* Adjust the checksum of a quoted transport header, if that much was quoted; returns what it loses. */
static ALWAYS_INLINE __u64 adjust_quoted(struct xdp_md *ctx, __u32 at, __u8 protocol, __u32 end, __u64 lost)
{
    __u32 sum_at = at + (protocol == IPPROTO_TCP ? 16 : 6);
    __be16 *sum = part_of(ctx, sum_at, sizeof(*sum)), before;

    if (!sum || sum_at + sizeof(*sum) > end)
        return 0;
    before = *sum;
    *sum = protocol == IPPROTO_TCP ? adjusted(before, lost) : adjusted_udp(before, lost);
    return less(before, *sum);
}

/* Let the quoted packet, `shift` bytes further on now, say what it said where it was sent.  Returns what the
 * error loses by that. */
static ALWAYS_INLINE __u64 readdress_quoted(struct xdp_md *ctx, const struct job *job,
                                            const struct retelling *how, __u32 shift)
{
    __u32 l4_at = how->quote.l4_at + shift, end = job->end + shift;
    __u64 lost = readdress_quoted_ip(ctx, how->quote.at + shift, job->version, &how->inner);
    __be32 *ports = part_of(ctx, l4_at, sizeof(*ports)), says;
    __u64 lost_by_ports;

    if (!ports)
        return 0; /* cannot be: they were read before */
    __builtin_memcpy(&says, &how->inner.sport, sizeof(says));
    lost_by_ports = less(*ports, says);
    *ports = says;
    lost_by_ports += adjust_quoted(ctx, l4_at, how->quote.protocol, end, lost + lost_by_ports);
    /* What IPv4 addresses lose, the header's own sum gains: both are quoted. */
    return job->version == 4 ? lost_by_ports : lost_by_ports + lost;
}

/* requote.requoted: write and send an error whose checksum is right. */
static ALWAYS_INLINE int retell(struct xdp_md *ctx, const struct job *job, const struct retelling *how)
{
    __u32 at = how->link_bytes, shift = at - job->l3_at;
    struct icmp_head *head;
    __u64 lost, lost_outside;

    if (cut_at(ctx, job->end) || !put_link(ctx, job->l3_at, how->link, at))
        return hand_over();
    lost_outside = readdress_ip(ctx, at, job->version, &how->src, &how->dst);
    lost = readdress_quoted(ctx, job, how, shift);
    head = part_of(ctx, job->l4_at + shift, sizeof(*head));
    if (!head)
        return XDP_ABORTED; /* cannot be: it was read before */
    head->sum = adjusted(head->sum, job->version == 4 ? lost : lost + lost_outside);
    count_reason(ICMP_STEERED);
    return send_by(ctx, how->ifindex);
}

/* The translation of the flow of the client's packet that is quoted as it was sent to a server, while it
 * lives. */
static ALWAYS_INLINE const struct translation *translation_of_quoted(const struct quote *quote)
{
    struct flow_key name = {
        .src = quote->dst,
        .dst = quote->src,
        .sport = quote->dport,
        .dport = quote->sport,
        .protocol = quote->protocol,
    };
    const struct translation *found = bpf_map_lookup_elem(&replies, &name);
    const struct flow *flow = found ? flow_of(&found->key, found->hash) : 0;

    return flow && !is_over(flow, now_s()) ? found : 0;
}

/* Fill in how an error is told to the client of a flow.  What the server itself says comes from the VIP, for
 * all that the client knows; a router says it as itself. */
static ALWAYS_INLINE void tell_client(const struct job *job, struct retelling *how,
                                      const struct translation *translation)
{
    how->inner = translation->key;
    how->src = is_same_address(&job->key.src, &how->quote.dst) ? translation->key.dst : job->key.src;
    how->dst = translation->key.src;
    __builtin_memcpy(how->link, translation->back_link, BACK_LINK_BYTES);
    how->link_bytes = translation->link_bytes;
    how->ifindex = translation->back_ifindex;
}

/* The Reason why an error to a client's flow goes no further; 0: it does. */
static ALWAYS_INLINE int why_untold(struct xdp_md *ctx, const struct job *job)
{
    const struct icmp_head *head = part_of(ctx, job->l4_at, sizeof(*head));
    __u32 bytes = job->end - job->l4_at;

    if (job->version == 4 ? is_ipv4_martian(&job->key.src) : is_ipv6_martian(&job->key.src))
        return MARTIAN_SOURCE;
    if (bytes > SUM_MOST)
        return HANDED_OVER;
    if (!head || !is_sound(job, head, sum_of(ctx, job->l4_at + sizeof(*head), bytes - sizeof(*head))))
        return BAD_CHECKSUM;
    return lives_on(ctx, job) ? 0 : TTL_DROPPED;
}

/* nat._error_about_request: an error about what a server was sent goes to the client whose packet it was. */
static ALWAYS_INLINE int about_request(struct xdp_md *ctx)
{
    struct retelling *how = this_retelling();
    const struct translation *translation;
    struct job *job = this_job();
    int why;

    if (!job || !how)
        return hand_over();
    if (!read_quote(ctx, job, &how->quote) || !is_server(&how->quote.dst) ||
        !is_same_address(&how->quote.src, &job->key.dst))
        return go_on(ctx, OWN);
    translation = translation_of_quoted(&how->quote);
    if (!translation)
        return go_on(ctx, OWN);
    tell_client(job, how, translation);
    if (!interface_of(how->ifindex))
        return stop(ICMP_UNMATCHED);
    why = why_untold(ctx, job);
    return why ? stop(why) : retell(ctx, job, how);
}

/* Fill in how an error is told to the server of a flow. */
static ALWAYS_INLINE void tell_server(const struct job *job, struct retelling *how, const struct hop *hop)
{
    struct ethhdr *link = (struct ethhdr *)how->link;

    how->src = job->key.src;
    how->dst = how->inner.src;
    readdress_link(link, hop);
    link->h_proto = bpf_htons(job->version == 4 ? ETH_P_IP : ETH_P_IPV6);
    how->link_bytes = sizeof(*link);
    how->ifindex = hop->ifindex;
}

/* nat.error_about_reply: an error about a translated reply goes to the server whose packet it was.  It was
 * found right; job->name is the flow's first name, job->target where it is. */
static ALWAYS_INLINE int about_reply(struct xdp_md *ctx)
{
    struct retelling *how = this_retelling();
    struct job *job = this_job();
    const struct target *target = job ? bpf_map_lookup_elem(&targets, &job->target) : 0;
    const struct hop *hop = target ? hop_to(target) : 0;
    const struct flow *flow;

    if (!job || !how)
        return hand_over();
    if (!hop || !read_quote(ctx, job, &how->quote))
        return stop(ICMP_UNMATCHED);
    flow = flow_of(&job->name, job->hash);
    if (!flow || !(flow->bits & HAS_NAME) || !name_of(flow, &how->inner))
        return stop(ICMP_UNMATCHED);
    if (!lives_on(ctx, job))
        return stop(TTL_DROPPED);
    tell_server(job, how, hop);
    return retell(ctx, job, how);
}

#endif
