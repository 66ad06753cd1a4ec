/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * datapath._icmp: an echo request to a VIP is answered; an error is steered to the target whose packet it is
 * about.
 */
#ifndef DSRLB_XDP_MESSAGE_H
#define DSRLB_XDP_MESSAGE_H

#include "echo.h"
#include "icmp.h"
#include "steer.h"

/* Whether the message adds up; `sum`: of what is behind the checksum. */
static ALWAYS_INLINE int is_sound(const struct job *job, const struct icmp_head *head, __u64 sum)
{
    sum += *(const __u32 *)head;
    if (job->version == 6)
        sum += sum_of_pseudo(&job->key.src, &job->key.dst, job->end - job->l4_at, IPPROTO_ICMPV6);
    return folded(sum) == 0xffff;
}

static ALWAYS_INLINE int message(struct xdp_md *ctx)
{
    struct job *job = this_job();
    struct icmp_head *head;
    __u32 bytes;
    __u64 sum;

    if (!job)
        return hand_over();
    bytes = job->end - job->l4_at;
    head = part_of(ctx, job->l4_at, sizeof(*head));
    if (!head || bytes < ICMP_BYTES)
        return stop(MALFORMED);
    if (job->is_fragment || !(is_echo_request(job, head->type) || is_error(job, head->type)))
        return stop(ICMP_IGNORED);
    if (bytes > SUM_MOST)
        return hand_over();
    sum = sum_of(ctx, job->l4_at + sizeof(*head), bytes - sizeof(*head));
    if (!is_sound(job, head, sum))
        return stop(BAD_CHECKSUM);
    return is_error(job, head->type) ? steer(ctx, job) : reply_echo(ctx, job, sum);
}

#endif
