/* SPDX-License-Identifier: Apache-2.0
 *
 * The decapsulator of a real server in mode l3dsr, for kernels without a tunnel device of their own.
 *
 * It sits on the ingress hook (clsact) of an Ethernet device, looks for tunnel packets that this host is the
 * end of and whose INNER destination is one of its VIPs, strips what is outside, and lets the stack go on
 * with the client's own packet.  Whatever else comes in passes untouched.
 *
 *     offset 0          14                              14 + outer
 *            +----------+-------------------------------+-------------------------------+
 *     in     | Ethernet | outer IP [options] [UDP GUE]  | inner IP, TCP or UDP, payload |
 *            +----------+-------------------------------+-------------------------------+
 *                           |  outer bytes are cut out; the Ethernet header moves up to the inner one
 *            +----------+---v---------------------------+
 *     out    | Ethernet | inner IP, TCP or UDP, payload |   the type says 0800 or 86dd, as the inner does
 *            +----------+-------------------------------+
 *
 *     outer        inner          told by
 *     IPv4, IPv6   IPv4           protocol 4 (RFC 2003; RFC 2473)
 *     IPv4, IPv6   IPv6           protocol 41 (RFC 4213; RFC 2473)
 *     IPv4, IPv6   IPv4 or IPv6   UDP port 6080, GUE variant 0 or 1 (draft-ietf-intarea-gue, sections 3 and 4)
 *
 * Nothing of the inner packet changes but its ECN field, which takes over the congestion that the tunnel met
 * (RFC 6040).  Checksums of the outer UDP header are not looked at: the inner packet carries its own.
 */
#include <stddef.h>

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>

#include "helpers.h"

/* The order is that of dsrlb/host/decap.py, DECAP_COUNTERS. */
enum counter {
    DECAPSULATED, /* the outer header is off */
    NOT_VIP,      /* a tunnel packet for something else: left to the stack */
    NOT_LOCAL,    /* for one of the VIPs, but its tunnel ends elsewhere: left to the stack, which forwards it */
    FRAGMENT,     /* a piece of a tunnel packet: left to the stack */
    MALFORMED,    /* no inner header, or not the one announced: left to the stack */
    ECN_DROP,     /* congestion met by a packet that cannot say so: dropped (RFC 6040, section 4.2) */
    FAILED,       /* the kernel could not cut the header out: dropped */
    COUNTERS,
};

struct address { /* IPv4 as IPv4-mapped IPv6: ten zeros, two bytes ff, the address */
    __be32 word[4];
};

struct {
    MAP_NUMBER(type, BPF_MAP_TYPE_HASH);
    MAP_NUMBER(max_entries, 1024);
    MAP_TYPE(key, struct address);
    MAP_TYPE(value, __u32); /* always 1 */
} vips SEC(".maps");

struct {
    MAP_NUMBER(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    MAP_NUMBER(max_entries, COUNTERS);
    MAP_TYPE(key, __u32);
    MAP_TYPE(value, __u64);
} counters SEC(".maps");

const volatile __u16 gue_port = 6080; /* net/ipv4/fou: the port Linux's documentation uses; set before loading */

#define IPV4_FRAGMENT 0x3fff /* more fragments, or an offset (RFC 791, section 3.1) */
#define ECN_MASK 3
#define ECN_NOT_ECT 0
#define ECN_ECT_1 1
#define ECN_ECT_0 2
#define ECN_CE 3

struct tunnel {
    __u32 outer;  /* bytes from the outer IP header to the inner one */
    __u8 ecn;     /* of the outer header */
    __u8 version; /* of the inner header: 4 or 6 */
    struct bpf_fib_lookup route; /* asks whether the outer destination is this host */
};

struct inner {
    struct address destination;
    __be16 type; /* as the Ethernet header says it */
    __u8 ecn;
    union {
        struct iphdr ip;
        struct ipv6hdr ip6;
        __be16 first; /* IPv6: version 4, traffic class 8, four bits of the flow label */
    };
};

static ALWAYS_INLINE void count(__u32 which)
{
    __u64 *packets = bpf_map_lookup_elem(&counters, &which);

    if (packets)
        *packets += 1;
}

/* Count, and leave the packet to the next filter and then to the stack. */
static ALWAYS_INLINE int pass(enum counter why)
{
    count(why);
    return TC_ACT_UNSPEC;
}

static ALWAYS_INLINE int drop(enum counter why)
{
    count(why);
    return TC_ACT_SHOT;
}

/* --- the outer header ---------------------------------------------------------------------------- */

/* Say whether the UDP datagram after the outer header is GUE; add its headers to the tunnel's.
 *
 *     variant 0   | 0 0 |C| hlen 5 | protocol 8 | flags 16 |   only C = 0, hlen = 0, flags = 0
 *     variant 1   | version 4 or 6 | ...                       the inner header follows at once
 */
static ALWAYS_INLINE int read_gue(struct __sk_buff *skb, struct tunnel *tunnel)
{
    struct {
        struct udphdr udp;
        __u8 first, protocol;
        __be16 flags;
    } head;

    if (bpf_skb_load_bytes(skb, ETH_HLEN + tunnel->outer, &head, sizeof(head)) ||
        head.udp.dest != bpf_htons(gue_port))
        return 0;
    if (head.first >> 4 == 4 || head.first >> 4 == 6) {
        tunnel->version = head.first >> 4;
        tunnel->outer += sizeof(head.udp);
        return 1;
    }
    if (head.first != 0 || head.flags != 0)
        return 0;
    tunnel->version = head.protocol == IPPROTO_IPIP ? 4 : head.protocol == IPPROTO_IPV6 ? 6 : 0;
    tunnel->outer += sizeof(head);
    return tunnel->version != 0;
}

/* Say whether a protocol (IPv6: next header) is a tunnel's. */
static ALWAYS_INLINE int read_protocol(struct __sk_buff *skb, __u8 protocol, struct tunnel *tunnel)
{
    if (protocol == IPPROTO_UDP)
        return read_gue(skb, tunnel);
    tunnel->version = protocol == IPPROTO_IPIP ? 4 : protocol == IPPROTO_IPV6 ? 6 : 0;
    return tunnel->version != 0;
}

/* Look up whether this host is the end of the tunnel: is the outer destination its own?
 *
 * The routing table knows.  Where this host does not forward there is nothing to decide: a packet for its
 * MAC address is for itself or for nobody.
 */
static ALWAYS_INLINE int ends_here(struct __sk_buff *skb, struct tunnel *tunnel)
{
    long answer;

    tunnel->route.ifindex = skb->ifindex;
    answer = bpf_fib_lookup(skb, &tunnel->route, sizeof(tunnel->route), 0);
    return answer == BPF_FIB_LKUP_RET_NOT_FWDED || answer == BPF_FIB_LKUP_RET_FWD_DISABLED;
}

/* --- the inner header ---------------------------------------------------------------------------- */

/* Say whether the inner header is there and is what the outer one announced; read it. */
static ALWAYS_INLINE int read_inner(struct __sk_buff *skb, const struct tunnel *tunnel, struct inner *inner)
{
    __u32 offset = ETH_HLEN + tunnel->outer;

    if (tunnel->version == 4) {
        if (bpf_skb_load_bytes(skb, offset, &inner->ip, sizeof(inner->ip)) || inner->ip.version != 4)
            return 0;
        inner->type = bpf_htons(ETH_P_IP);
        inner->ecn = inner->ip.tos & ECN_MASK;
        inner->destination.word[2] = bpf_htonl(0xffff);
        inner->destination.word[3] = inner->ip.daddr;
        return 1;
    }
    if (bpf_skb_load_bytes(skb, offset, &inner->ip6, sizeof(inner->ip6)) || inner->ip6.version != 6)
        return 0;
    inner->type = bpf_htons(ETH_P_IPV6);
    inner->ecn = bpf_ntohs(inner->first) >> 4 & ECN_MASK;
    __builtin_memcpy(&inner->destination, &inner->ip6.daddr, sizeof(inner->destination));
    return 1;
}

/* Return a checksum field after one 16-bit word of what it covers has changed (RFC 1624, equation 3). */
static ALWAYS_INLINE __u16 changed_checksum(__u16 checksum, __u16 former, __u16 latter)
{
    __u32 sum = (__u16)~checksum + (__u16)~former + latter;

    sum = (sum & 0xffff) + (sum >> 16);
    return ~((sum & 0xffff) + (sum >> 16));
}

/* Write the inner header's ECN field, and the checksum of an IPv4 header. */
static ALWAYS_INLINE long mark(struct __sk_buff *skb, const struct tunnel *tunnel, struct inner *inner, __u8 ecn)
{
    __u32 offset = ETH_HLEN + tunnel->outer;
    __u16 former = bpf_ntohs(inner->first), latter;

    if (tunnel->version == 6) {
        inner->first = bpf_htons((former & ~(ECN_MASK << 4)) | ecn << 4);
        return bpf_skb_store_bytes(skb, offset, &inner->first, sizeof(inner->first), BPF_F_RECOMPUTE_CSUM);
    }
    latter = (former & ~ECN_MASK) | ecn;
    inner->first = bpf_htons(latter);
    inner->ip.check = bpf_htons(changed_checksum(bpf_ntohs(inner->ip.check), former, latter));
    return bpf_skb_store_bytes(skb, offset, &inner->ip, sizeof(inner->ip), BPF_F_RECOMPUTE_CSUM);
}

/* Return the inner header's ECN field after decapsulation, or -1: drop (RFC 6040, figure 4). */
static ALWAYS_INLINE int merged_ecn(__u8 outer, __u8 inner)
{
    if (outer == ECN_CE)
        return inner == ECN_NOT_ECT ? -1 : ECN_CE;
    return outer == ECN_ECT_1 && inner == ECN_ECT_0 ? ECN_ECT_1 : inner;
}

/* --- decapsulation ------------------------------------------------------------------------------- */

/* Cut the outer header out; the inner packet has the Ethernet type `type`.
 *
 * bpf_skb_adjust_room keeps the packet's protocol, so where the two differ bpf_skb_change_proto goes first:
 * it changes the protocol and, for the different sizes of the two plain headers, cuts 20 bytes out (6 to 4)
 * or puts 20 in (4 to 6).  The rest is then cut out as if the header had always been of the inner's kind,
 * which also keeps the kernel from asking an IPv4 packet for the 40 bytes of an IPv6 header.
 * The flags BPF_F_ADJ_ROOM_DECAP_L3_* would say it shorter, but fail at run time before Linux 6.3.
 * Source: net/core/filter.c, bpf_skb_proto_xlat, bpf_skb_adjust_room.
 */
static ALWAYS_INLINE long strip(struct __sk_buff *skb, __u32 outer, __be16 type)
{
    const int step = sizeof(struct ipv6hdr) - sizeof(struct iphdr);
    int rest = outer;

    if (skb->protocol != type) {
        rest += type == bpf_htons(ETH_P_IPV6) ? step : -step;
        if (bpf_skb_store_bytes(skb, offsetof(struct ethhdr, h_proto), &type, sizeof(type), 0) ||
            bpf_skb_change_proto(skb, type, 0))
            return -1;
    }
    return bpf_skb_adjust_room(skb, -rest, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO);
}

static ALWAYS_INLINE int decapsulate(struct __sk_buff *skb, struct tunnel *tunnel)
{
    struct inner inner = {};
    int ecn;

    if (!read_inner(skb, tunnel, &inner))
        return pass(MALFORMED);
    if (!bpf_map_lookup_elem(&vips, &inner.destination))
        return pass(NOT_VIP);
    if (!ends_here(skb, tunnel))
        return pass(NOT_LOCAL);
    ecn = merged_ecn(tunnel->ecn, inner.ecn);
    if (ecn < 0)
        return drop(ECN_DROP);
    if (ecn != inner.ecn && mark(skb, tunnel, &inner, ecn))
        return drop(FAILED);
    if (strip(skb, tunnel->outer, inner.type))
        return drop(FAILED);
    return pass(DECAPSULATED);
}

static ALWAYS_INLINE int outer_ipv4(struct __sk_buff *skb)
{
    struct tunnel tunnel = {};
    struct iphdr ip;

    if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) || ip.ihl < 5)
        return TC_ACT_UNSPEC;
    tunnel.outer = ip.ihl * 4;
    if (!read_protocol(skb, ip.protocol, &tunnel))
        return TC_ACT_UNSPEC;
    if (ip.frag_off & bpf_htons(IPV4_FRAGMENT))
        return pass(FRAGMENT);
    tunnel.ecn = ip.tos & ECN_MASK;
    tunnel.route.family = 2; /* AF_INET */
    tunnel.route.ipv4_src = ip.saddr;
    tunnel.route.ipv4_dst = ip.daddr;
    return decapsulate(skb, &tunnel);
}

/* An IPv6 tunnel may carry one destination options header, for its encapsulation limit (RFC 2473, section 4.1.1). */
static ALWAYS_INLINE int outer_ipv6(struct __sk_buff *skb)
{
    struct tunnel tunnel = {.outer = sizeof(struct ipv6hdr)};
    struct ipv6_opt_hdr options;
    struct ipv6hdr ip;

    if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)))
        return TC_ACT_UNSPEC;
    if (ip.nexthdr == IPPROTO_DSTOPTS || ip.nexthdr == IPPROTO_FRAGMENT) {
        if (bpf_skb_load_bytes(skb, ETH_HLEN + sizeof(ip), &options, sizeof(options)))
            return TC_ACT_UNSPEC;
        if (ip.nexthdr == IPPROTO_FRAGMENT)
            return options.nexthdr == IPPROTO_IPIP || options.nexthdr == IPPROTO_IPV6 ? pass(FRAGMENT)
                                                                                      : TC_ACT_UNSPEC;
        tunnel.outer += (options.hdrlen + 1) * 8;
        ip.nexthdr = options.nexthdr;
    }
    if (!read_protocol(skb, ip.nexthdr, &tunnel))
        return TC_ACT_UNSPEC;
    tunnel.ecn = ip.flow_lbl[0] >> 4 & ECN_MASK;
    tunnel.route.family = 10; /* AF_INET6 */
    __builtin_memcpy(tunnel.route.ipv6_src, &ip.saddr, sizeof(ip.saddr));
    __builtin_memcpy(tunnel.route.ipv6_dst, &ip.daddr, sizeof(ip.daddr));
    return decapsulate(skb, &tunnel);
}

SEC("tc")
int dsrlb_decap(struct __sk_buff *skb)
{
    if (skb->pkt_type != PACKET_HOST)
        return TC_ACT_UNSPEC;
    if (skb->protocol == bpf_htons(ETH_P_IP))
        return outer_ipv4(skb);
    if (skb->protocol == bpf_htons(ETH_P_IPV6))
        return outer_ipv6(skb);
    return TC_ACT_UNSPEC;
}

char licence[] SEC("license") = "GPL";
