/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * model.Reason: why a frame met its verdict.  A test compares the names and numbers.
 */
#ifndef DSRLB_XDP_REASONS_H
#define DSRLB_XDP_REASONS_H

enum reason {
    FORWARDED = 0,
    FRAGMENT_FORWARDED = 1,
    ICMP_STEERED = 2,
    ECHO_REPLY = 3,
    ARP_REPLY = 4,
    ND_REPLY = 5,
    NOT_FOR_US = 6,
    NOT_IP = 7,
    NOT_VIP = 8,
    ARP_OTHER = 9,
    ND_OTHER = 10,
    VIP_CONFLICT = 11,
    TRUNCATED = 12,
    MALFORMED = 13,
    BAD_CHECKSUM = 14,
    MARTIAN_SOURCE = 15,
    NO_SERVICE = 16,
    PROTOCOL_UNKNOWN = 17,
    ICMP_IGNORED = 18,
    ICMP_UNMATCHED = 19,
    NO_BACKEND = 20,
    BACKEND_UNRESOLVED = 21,
    FRAGMENT_HELD = 22,
    FRAGMENT_EXPIRED = 23,
    FRAGMENT_TABLE_FULL = 24,
    RECEIVE_RING_FULL = 25,
    SEND_TOO_BIG = 26,
    SEND_FAILED = 27,
    TOO_BIG_ANSWERED = 28,
    TOO_BIG_DROPPED = 29,
    TUNNEL_ERROR = 30,
    TUNNEL_ERROR_TOLD = 31,
    NO_DECAPSULATION = 32,
    REPLY_FORWARDED = 33,
    REPLY_UNMATCHED = 34,
    TTL_EXCEEDED = 35,
    TTL_DROPPED = 36,
    SNAT_EXHAUSTED = 37,
    REFUSED = 38,
    HANDED_OVER = 39,
    /* not reasons of frames, but counted in the same place */
    TEMPLATES_REFUSED = 61, /* clients that found the table of templates full */
    RECORDS_REFUSED = 62, /* packets that found the flow table full, or the insert limit reached */
};

#define PASSES(reason) (((reason) >= NOT_FOR_US && (reason) < TRUNCATED) || (reason) == HANDED_OVER)

#endif
