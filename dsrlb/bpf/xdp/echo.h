/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * icmp.echo_reply: the answer to an echo request goes back the way it came, addresses swapped.
 *
 *              l3_at                     l4_at     l4_at + 4        end
 *     +--------+-------------------------+---------+----------------+- - - - -
 *     | link   | IP, options, extensions |8/128 sum| id, seq, load  | padding        in
 *     +--------+----------+--------------+---------+----------------+- - - - -
 *                | link   | IP: 20 or 40 |0/129 sum| the same bytes |                out
 *                +--------+--------------+---------+----------------+
 */
#ifndef DSRLB_XDP_ECHO_H
#define DSRLB_XDP_ECHO_H

#include <linux/in.h>

#include "csum.h"
#include "icmp.h"
#include "ipv4.h"
#include "ipv6.h"

/* Cut what is behind the packet, and begin so late that there is just room for an IP header without options.
 * Returns whether the link header stands there, sent back. */
static ALWAYS_INLINE int fit_echo(struct xdp_md *ctx, const struct job *job, __u32 header_bytes)
{
    struct long_link *link = part_of(ctx, 0, sizeof(*link)), kept;

    if (!link)
        return 0;
    kept = *link;
    if (cut_at(ctx, job->end) || bpf_xdp_adjust_head(ctx, (int)(job->l4_at - job->l3_at - header_bytes)))
        return 0;
    link = part_of(ctx, 0, sizeof(*link));
    if (!link)
        return 0;
    turn_back(&kept.link);
    *link = kept; /* all of it: where there are fewer tags the IP header will stand */
    return 1;
}

static ALWAYS_INLINE void write_echo_header(struct xdp_md *ctx, const struct job *job, __u32 bytes)
{
    void *ip = part_of(ctx, job->l3_at, sizeof(struct iphdr));

    if (!ip)
        return;
    if (job->version == 4)
        write_ipv4(ip, &job->key.dst, &job->key.src, IPPROTO_ICMP, bytes);
    else if ((ip = part_of(ctx, job->l3_at, sizeof(struct ipv6hdr))))
        write_ipv6(ip, &job->key.dst, &job->key.src, IPPROTO_ICMPV6, bytes, HOP_LIMIT);
}

/* Answer an echo request whose checksum is right; `sum`: of what is behind the checksum. */
static ALWAYS_INLINE int reply_echo(struct xdp_md *ctx, const struct job *job, __u64 sum)
{
    __u32 header_bytes = job->version == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
    __u32 bytes = job->end - job->l4_at;
    struct icmp_head *out;

    if (!fit_echo(ctx, job, header_bytes))
        return hand_over();
    write_echo_header(ctx, job, bytes);
    out = part_of(ctx, job->l3_at + header_bytes, sizeof(*out));
    if (!out)
        return hand_over();
    *out = (struct icmp_head){job->version == 4 ? ICMP_ECHOREPLY : ICMPV6_ECHO_REPLY, 0, 0};
    if (job->version == 6)
        sum += sum_of_pseudo(&job->key.dst, &job->key.src, bytes, IPPROTO_ICMPV6);
    out->sum = checksum(sum + *(const __u32 *)out);
    count_reason(ECHO_REPLY);
    return XDP_TX;
}

#endif
