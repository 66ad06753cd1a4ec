/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * flows.py, the states of a flow: what a packet makes of them.
 */
#ifndef DSRLB_XDP_STATES_H
#define DSRLB_XDP_STATES_H

#include "steps.h"

/* Whether a TCP packet asks for a connection: of the two flags, SYN alone. */
static ALWAYS_INLINE int is_opening(__u8 tcp_flags)
{
    return (tcp_flags & (TH_SYN | TH_ACK)) == TH_SYN;
}

/* Whether a flow in this state counts as active: for least connection it weighs more. */
static ALWAYS_INLINE int is_active(__u8 state)
{
    return state == UDP_FLOW || state == ESTABLISHED;
}

/* The state of a TCP flow after a packet with these flags. */
static ALWAYS_INLINE __u8 next_state(__u8 state, __u8 tcp_flags, int is_from_server)
{
    if (tcp_flags & TH_RST)
        return CLOSED;
    if (is_from_server)
        return tcp_flags & TH_FIN && state < FIN_WAIT ? FIN_WAIT : state;
    if (state == CLOSED && (tcp_flags & (TH_ACK | TH_FIN)) == TH_ACK)
        return SYN_RECEIVED; /* the reset was forged or late: probation */
    if (state >= FIN_WAIT)
        return state;
    if (tcp_flags & TH_FIN)
        return FIN_WAIT;
    return state == SYN_RECEIVED && tcp_flags & TH_ACK ? ESTABLISHED : state;
}

/* The state of a TCP flow whose first packet seen has these flags; proven: it must be taken on trust. */
static ALWAYS_INLINE __u8 first_state(__u8 tcp_flags, int is_proven)
{
    return next_state(SYN_RECEIVED, is_proven ? tcp_flags : tcp_flags & ~TH_ACK, 0);
}

/* Whether a packet opens a new connection over one that has ended: the client's port is used again. */
static ALWAYS_INLINE int begins_anew(__u8 state, __u8 tcp_flags)
{
    return state >= FIN_WAIT && is_opening(tcp_flags);
}

static ALWAYS_INLINE __u32 timeout_of(const struct service *service, __u8 state)
{
    return service->timeout_s[state & 7]; /* no state is above CLOSED, but the verifier does not know */
}

#endif
