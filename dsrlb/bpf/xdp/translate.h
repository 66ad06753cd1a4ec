/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * The short way of translated flows (course.py): a plain IPv4 packet of a client's, whose flow has its second
 * name, and which came by the way that the flow's last packet came by.
 *
 *     byte  0           14         22    24    26               38        50 (TCP), 40 (UDP)
 *           +-----------+----------+-----+-----+----------------+---------+-------+- - -
 *     in    | link      | as it is | TTL | sum | addresses,ports| as it is| sum   | as it is
 *           +-----------+----------+-----+-----+----------------+---------+-------+- - -
 *     out   | the hop's |          | -1  | adj.| changed        |         | adj.  |
 *           +-----------+----------+-----+-----+----------------+---------+-------+- - -
 */
#ifndef DSRLB_XDP_TRANSLATE_H
#define DSRLB_XDP_TRANSLATE_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include "l2dsr.h"
#include "naming.h"
#include "readdress.h"

/* The address that a server sees in place of the client's. */
static ALWAYS_INLINE __be32 client_of(const struct flow *flow)
{
    __u32 place = flow->stand_in;
    const struct stand_in *one;

    if (!(flow->bits & HAS_PORT))
        return flow->key.src.word[3];
    one = bpf_map_lookup_elem(&stand_ins, &place);
    return one ? one->address.word[3] : 0;
}

/* Whether a packet of a flow may go this way to its target. */
static ALWAYS_INLINE int is_translated_plainly(const struct ethhdr *link, __u32 ifindex,
                                               const struct flow *flow, const struct target *target)
{
    const struct iphdr *ip = (const void *)(link + 1);

    return flow->bits & HAS_NAME && ip->ttl > 1 && flow->back == way_of(link, ifindex) &&
           (!target->mtu_bytes || bpf_ntohs(ip->tot_len) <= target->mtu_bytes);
}

/* Write what a packet, whose TCP header is whole, says on its way to its target. */
static ALWAYS_INLINE void translate(struct ethhdr *link, const struct flow *flow, const struct target *target)
{
    struct iphdr *ip = (void *)(link + 1);
    struct tcphdr *tcp = (void *)(ip + 1);
    struct udphdr *udp = (void *)(ip + 1);
    struct address src = {.word = {0, 0, MAPPED, client_of(flow)}};
    struct flow_key name = {
        .sport = target->port ? target->port : flow->key.dport,
        .dport = flow->nat_port,
    };
    __be32 *at = (__be32 *)tcp, ports = ports_to(&name);
    __u64 lost = readdress_ipv4(ip, &src, &target->address) + less(*at, ports);

    *at = ports;
    if (ip->protocol == IPPROTO_TCP)
        tcp->check = adjusted(tcp->check, lost);
    else
        udp->check = adjusted_udp(udp->check, lost);
}

#endif
