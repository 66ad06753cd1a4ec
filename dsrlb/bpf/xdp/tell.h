/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * answers.too_big, ttl_exceeded and refuse: what the balancer tells the sender of a packet, in the name of
 * the VIP, back the way it came.
 *
 *           0          l3_at                              end
 *           +-----------+-----------------------------------+- - - -+
 *     in    | MACs, tags| the sender's packet               |padding|
 *           +-----------+-----------------------------------+- - - -+
 *                       |                        | what an error does not hold is cut off
 *           +-----------+-------+------+------------------------+
 *     error | turned    | IP    | ICMP | as much as it may hold |
 *           +-----------+-------+------+------------------------+
 *           +-----------+-------+------+
 *     reset | turned    | IP    | TCP  |
 *           +-----------+-------+------+
 *
 * Source: RFC 792; RFC 1191, section 4; RFC 1812, section 4.3.2.3; RFC 4443, sections 2.4 and 3; RFC 9293,
 * section 3.10.7.1.
 */
#ifndef DSRLB_XDP_TELL_H
#define DSRLB_XDP_TELL_H

#include <linux/in.h>
#include <linux/tcp.h>

#include "budget.h"
#include "csum.h"
#include "frame.h"
#include "ipv4.h"
#include "ipv6.h"

#define ERROR_BYTES4 576 /* the longest packet that an error may be: it must get through */
#define ERROR_BYTES6 1280
#define MOST_LINK_BYTES (ETH_HLEN + MAX_TAGS * TAG_BYTES)

struct error { /* ICMP and ICMPv6 alike */
    __be16 kind; /* type, code */
    __be16 check;
    __be32 word; /* too big: the size that fits */
};

/* Type and code of an error, for either version. */
#define SAYS(version, ipv4, ipv6) bpf_htons((version) == 4 ? (ipv4) : (ipv6))

static ALWAYS_INLINE struct error error_about(const struct job *job)
{
    if (job->told == TOO_BIG_ANSWERED)
        return (struct error){SAYS(job->version, 0x0304, 0x0200), 0, bpf_htonl(job->mtu_bytes)};
    if (job->told == TTL_EXCEEDED)
        return (struct error){SAYS(job->version, 0x0b00, 0x0300), 0, 0};
    return (struct error){SAYS(job->version, 0x0303, 0x0104), 0, 0}; /* port unreachable */
}

static ALWAYS_INLINE __u32 ip_bytes_of(const struct job *job)
{
    return job->version == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
}

/* Write the IP header of what answers the job's packet. */
static ALWAYS_INLINE void write_answer(void *ip, const struct job *job, __u8 protocol, __u16 payload_bytes)
{
    if (job->version == 4)
        write_ipv4(ip, &job->key.dst, &job->key.src, protocol, payload_bytes);
    else
        write_ipv6(ip, &job->key.dst, &job->key.src, protocol, payload_bytes, HOP_LIMIT);
}

/* Count a packet that was answered; send the answer. */
static ALWAYS_INLINE int answered(const struct job *job)
{
    count_reason(job->told);
    return XDP_TX;
}

/* Move the link header, which ends at l3_at, to where the frame begins now. */
static ALWAYS_INLINE int bring_link(struct xdp_md *ctx, __u32 from)
{
    void *old = part_of(ctx, from, MOST_LINK_BYTES), *link = part_of(ctx, 0, MOST_LINK_BYTES);

    if (!old || !link)
        return 0;
    __builtin_memcpy(link, old, MOST_LINK_BYTES); /* what is too much is written over by what follows */
    turn_back(link);
    return 1;
}

/* Answer with an error that quotes the packet. */
static ALWAYS_INLINE int send_error(struct xdp_md *ctx, const struct job *job)
{
    __u32 ip_bytes = ip_bytes_of(job), before = ip_bytes + sizeof(struct error);
    __u32 most = (job->version == 4 ? ERROR_BYTES4 : ERROR_BYTES6) - before, at = job->l3_at & 31;
    __u32 quoted = job->end - job->l3_at, payload_bytes;
    __u8 protocol = job->version == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
    struct error *error;
    void *ip;
    __u64 sum;

    quoted = quoted < most ? quoted : most;
    payload_bytes = sizeof(*error) + quoted;
    if (bpf_xdp_adjust_head(ctx, -(int)before))
        return hand_over();
    if (cut_at(ctx, at + before + quoted) || !bring_link(ctx, before))
        return XDP_ABORTED; /* cannot be: the frame gets shorter, and has a packet in it */
    ip = part_of(ctx, at, sizeof(struct ipv6hdr));
    error = part_of(ctx, at + ip_bytes, sizeof(*error));
    if (!ip || !error)
        return XDP_ABORTED; /* cannot be */
    write_answer(ip, job, protocol, payload_bytes);
    *error = error_about(job);
    sum = sum_of(ctx, at + ip_bytes, payload_bytes);
    if (job->version == 6)
        sum += sum_of_pseudo(&job->key.src, &job->key.dst, payload_bytes, protocol);
    error->check = checksum(sum);
    return answered(job);
}

/* The header that refuses a TCP segment which has SYN and not ACK. */
static ALWAYS_INLINE struct tcphdr reset_of(const struct job *job, const struct tcphdr *tcp)
{
    __u32 load_bytes = job->end - job->l4_at - (tcp->doff << 2);
    struct tcphdr reset = {
        .source = tcp->dest,
        .dest = tcp->source,
        .ack_seq = bpf_htonl(bpf_ntohl(tcp->seq) + 1 + load_bytes),
        .doff = sizeof(reset) / 4,
        .rst = 1,
        .ack = 1,
    };
    const __u32 *word = (const __u32 *)&reset;

    reset.check = checksum((__u64)word[0] + word[1] + word[2] + word[3] + word[4] +
                           sum_of_pseudo(&job->key.src, &job->key.dst, sizeof(reset), IPPROTO_TCP));
    return reset;
}

/* Answer with a TCP reset. */
static ALWAYS_INLINE int send_reset(struct xdp_md *ctx, const struct job *job)
{
    __u32 ip_bytes = ip_bytes_of(job), at = job->l3_at & 31;
    struct tcphdr *tcp = part_of(ctx, job->l4_at, sizeof(*tcp)), reset;
    void *ip, *link;

    if (!tcp)
        return hand_over(); /* cannot be: it was looked at before */
    reset = reset_of(job, tcp);
    if (cut_at(ctx, at + ip_bytes + sizeof(reset)))
        return hand_over();
    link = part_of(ctx, 0, sizeof(struct ethhdr));
    ip = part_of(ctx, at, sizeof(struct ipv6hdr)); /* of either version: so long is the shorter answer */
    tcp = part_of(ctx, at + ip_bytes, sizeof(*tcp));
    if (!link || !ip || !tcp)
        return XDP_ABORTED; /* cannot be */
    turn_back(link);
    write_answer(ip, job, IPPROTO_TCP, sizeof(reset));
    *tcp = reset;
    return answered(job);
}

/* Nobody is told about an error or, with IPv4, about a later piece.  Source: RFC 1122, section 3.2.2;
 * RFC 4443, section 2.4 (e). */
static ALWAYS_INLINE int is_untold(const struct job *job)
{
    if (job->protocol == IPPROTO_ICMP || job->protocol == IPPROTO_ICMPV6)
        return 1;
    return job->version == 4 && job->is_fragment && !job->is_first;
}

/* A refused TCP segment: only one that opens a connection is answered. */
static ALWAYS_INLINE int refuse_segment(struct xdp_md *ctx, const struct job *job)
{
    if ((job->tcp_flags & (TH_FIN | TH_SYN | TH_RST | TH_ACK)) != TH_SYN)
        return stop(job->silent);
    return may_tell(&job->key.src, job->version) ? send_reset(ctx, job) : stop(job->silent);
}

static ALWAYS_INLINE int tell(struct xdp_md *ctx)
{
    struct job *job = this_job();

    if (!job)
        return hand_over();
    if (job->protocol == IPPROTO_TCP && (job->told == REFUSED || job->told == SNAT_EXHAUSTED))
        return refuse_segment(ctx, job);
    if (is_untold(job) || !may_tell(&job->key.src, job->version))
        return stop(job->silent);
    return send_error(ctx, job);
}

#endif
