/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * wire/icmp.py: what begins a message of ICMP or ICMPv6, and its types.
 *
 *     0     1     2           4                 8
 *     +-----+-----+-----------+-----------------+------------------------------
 *     |type |code | checksum  | id, seq / MTU   | echo: payload; error: the packet it is about
 *     +-----+-----+-----------+-----------------+------------------------------
 *
 * Source: RFC 792; RFC 4443.
 */
#ifndef DSRLB_XDP_ICMP_H
#define DSRLB_XDP_ICMP_H

#include <linux/icmpv6.h>

#include "steps.h"

/* linux/icmp.h cannot be read without a C library. */
#define ICMP_ECHOREPLY 0
#define ICMP_DEST_UNREACH 3
#define ICMP_ECHO 8
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETERPROB 12

#define ICMP_BYTES 8

struct icmp_head {
    __u8 type, code;
    __be16 sum;
};

static ALWAYS_INLINE int is_echo_request(const struct job *job, __u8 type)
{
    return type == (job->version == 4 ? ICMP_ECHO : ICMPV6_ECHO_REQUEST);
}

/* Unreachable, too big, time exceeded, parameter problem. */
static ALWAYS_INLINE int is_error(const struct job *job, __u8 type)
{
    if (job->version == 4)
        return type == ICMP_DEST_UNREACH || type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETERPROB;
    return type >= ICMPV6_DEST_UNREACH && type <= ICMPV6_PARAMPROB;
}

#endif
