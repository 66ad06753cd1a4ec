/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * What the control path writes for the program to read, and what the program remembers: every struct that
 * stands in a map.  dsrlb/engines/xdp/layout.py says the same in Python; a test compares the two through the
 * object's type information, member by member.
 *
 * All sizes and offsets are fixed, members are aligned to their own size, nothing is left to the compiler.
 * Addresses are 16 bytes (IPv4 mapped, RFC 4291); what comes from packets is in network order, like the keys
 * of dsrlb/model.py and dsrlb/wire/l4.py, so that the same bytes index a Python dict and a map here.
 */
#ifndef DSRLB_XDP_LAYOUT_H
#define DSRLB_XDP_LAYOUT_H

#include <linux/bpf.h>
#include <linux/types.h>

/* Of everything below and of the meaning of every field; pinned maps of another one are not adopted. */
#define LAYOUT 2

#define CACHE_LINE 64

struct address { /* 16 bytes, readable as words of either size */
    union {
        __u64 half[2];
        __be32 word[4];
        __u8 byte[16];
    };
};

/* model.service_key: VIP, port, protocol, 0 */
struct service_key {
    struct address vip;
    __be16 port;
    __u8 protocol;
    __u8 zero;
    __u32 pad;
};

/* wire.l4.flow_key, 40 bytes */
struct flow_key {
    struct address src;
    struct address dst;
    __be16 sport;
    __be16 dport;
    __u8 protocol;
    __u8 zero[3];
};

/* ------------------------------------------------------------------------------------------------
 * Front: from VIP, port and protocol to a service.  A hash table of our own in an array: every key is in one
 * of two buckets, whose indices are two parts of one hash (front.h); the control path sees to it that it fits.
 * What is written to switch a service over is the four bytes of `service`: old or new, never half.
 */
struct front_entry {
    struct address vip;
    __be16 port;
    __u8 protocol;
    __u8 zero;
    __u32 service; /* index into services; 0: no entry */
    __u64 pad;
};

#define FRONT_WAYS 2
struct front_bucket { /* one cache line */
    struct front_entry entry[FRONT_WAYS];
};

#define VIP_WAYS 4
struct vip_bucket { /* one cache line; the same two-bucket table for addresses alone; all zeros: no entry */
    struct address vip[VIP_WAYS];
};

/* ------------------------------------------------------------------------------------------------
 * Interfaces, by ifindex modulo INTERFACES (the control path refuses two that collide).  The two filters say of
 * an address whether it can be a VIP, or an inline server: a bit of filter_bit(address) that is not set says no.
 */
#define INTERFACES 1024
struct interface { /* one cache line */
    __u32 ifindex; /* 0: not ours */
    __u8 mac[6];   /* all zeros with ifindex set: takes every unicast frame (offline) */
    __u16 mtu_bytes; /* of packets; a longer one was put together by the kernel, and goes to the packet engine */
    __u32 pad0;
    __u64 vip_filter[2];
    __u64 server_filter[2];
    __u64 pad[2];
};

/* ------------------------------------------------------------------------------------------------
 * Services.  A line is written once, under an index that nothing refers to yet, and then put into the front:
 * so a service switches over as a whole.  `id` stays the same for as long as the service exists.
 */
enum mode { L2DSR, L3DSR, INLINE };
enum cursor { FLOW_HASH, CLIENT_HASH, COUNTER, LEAST };
enum encap { IPIP, GUE, GUE1 };

#define RECORDS_ALL 0x01  /* every flow has a record */
#define LOOKS_UP 0x02     /* records may exist: slots are changing hands, or flows of such a time still live */
#define HAS_FORMER 0x04   /* slots are changing hands: former_* are valid */
#define PERSISTS 0x08     /* clients have templates */
#define CLAMPS_MSS 0x10
#define SNAT 0x20         /* inline: `source` stands in for clients */
#define GROWS 0x40        /* l3dsr: one IPv4 header before a plain packet is what most of its servers want */
#define HASHES_CLIENT 0x80 /* slots go by the client's network (prefix4, prefix6), else by the flow */
#define FORMER_HASHES_CLIENT 0x100
#define REFUSES 0x200     /* no backend can take new flows: who opens one is told so */
#define SAMPLES 0x400     /* TCP: handshakes are looked at (sampling.h) */

#define FLOW_STATES 5 /* flows.FlowState: UDP, SYN_RECEIVED, ESTABLISHED, FIN_WAIT, CLOSED */
enum flow_state { UDP_FLOW, SYN_RECEIVED, ESTABLISHED, FIN_WAIT, CLOSED };

struct service { /* two cache lines; what a plain packet needs is in the first */
    __u32 slots;        /* first slot: index of a slot, a multiple of SLOTS_A_LINE */
    __u32 slot_count;   /* 0: no backend can take traffic */
    __u16 flags;
    __u16 id;           /* 1 and up */
    __u8 mode;
    __u8 cursor;
    __u8 encap;
    __u8 pad0;
    __u32 timeout_s[FLOW_STATES];
    __u32 former;       /* first of the former slots; a slot of 0 there is table.GONE */
    __u32 former_count; /* 0 with HAS_FORMER: flows without a record are nowhere */
    __u8 prefix4, prefix6, former_prefix4, former_prefix6;
    __u32 persist_s;
    __be16 encap_port;
    __u16 pad1;
    __u32 running;       /* least: first of the targets with a share, in order: index into slots, as `slots` */
    __u32 running_count;
    /* second line */
    struct service_key key;
    struct address source; /* SNAT: 16 bytes; else zeros */
    __u32 share_total;     /* least: of all running */
    __u32 former_until_s;  /* for the control path that comes after this one: table.Former.until_s */
    __u32 pad2[4];
};

#define SLOTS_A_LINE 32
struct slot_line { /* one cache line of slots: index of a target each; 0: none */
    __u16 target[SLOTS_A_LINE];
};

/* ------------------------------------------------------------------------------------------------
 * Targets: a backend of one service.  Its index stays its own for as long as flows may refer to it, so a flow's
 * record is right whatever happens to the table around it.  A new hop is written into the copy that is not in
 * use, then `hop_in_use` is switched.
 */
struct hop { /* 16 bytes */
    __u32 ifindex;
    __u8 dst_mac[6];
    __u8 src_mac[6];
};

#define NO_HOP 0xFF
#define WEIGHTED 0x01 /* weight above 0: templates may lead new flows here */
#define MEMBER 0x02   /* is a backend of its service now; without: only records of flows refer to it */
#define IS_V4 0x04    /* address is IPv4 */
#define HAS_SOURCE 0x08 /* l3dsr: outer source known (source4, or source6 in `sources`) */
#define UP 0x10       /* without: takes packets of TCP connections under way, and nothing else */

struct target { /* one cache line */
    struct hop hop[2];
    struct address address;
    __be32 source4;   /* l3dsr, IPv4 outside: source of the outer header */
    __u16 mtu_bytes;  /* of the way there, as far as known, routers' errors included; 0: no limit */
    __u16 outer_sum;  /* l3dsr ipip over IPv4: one's complement sum, in host order words as read from network
                       * order, of the outer header with TOS, length and checksum zero, folded */
    __u16 service;    /* its service's id; 0: not in use */
    __be16 port;      /* 0: the service's own */
    __u8 hop_in_use;  /* 0, 1 or NO_HOP */
    __u8 flags;
    __u16 source6;    /* l3dsr, IPv6 outside: index into sources */
};

struct load { /* what least connection goes by; index of the target */
    __s64 active;
    __s64 inactive;
    __u64 due;       /* a newcomer: when it may be picked next, on the scale of race.now */
    __u32 share;     /* of new flows; 0: gets none */
    __u32 newcomer;  /* 1: least.Race.due has it */
};

struct count { /* per CPU; index of the target */
    __u64 packets;
    __u64 octets;
    __u64 flows;
    __u64 pad;
};

/* ------------------------------------------------------------------------------------------------
 * Handshakes (sampling.py, with a figure): a flow has at most one under way, in the cell of its hash.
 */
#define CELLS 8192 /* a power of two, and a multiple of FLOW_LOCKS */
#define SILENT_US 3000000 /* what holds a cell for longer is given up when somebody else wants it */
#define TIMES 64

struct cell {
    __u64 tag; /* flow_hash, client's port, VIP's port; 0: free */
    __u64 began_us;
    __u32 target;
    __u32 again; /* 1: its SYN came again */
    __u64 pad;
};

struct handshakes { /* sampling.Tally; index of the target */
    __u64 opened;
    __u64 answered;
    __u64 again;
    __u64 reset;
    __u64 silent;
    __u64 pad[3];
    __u64 times[TIMES]; /* by sampling.bucket_of */
};

struct race { /* of a service, by id: what the counter and least cursors remember */
    struct bpf_spin_lock lock;
    __u32 first; /* least: place in `running` that is looked at first */
    __u64 turn;  /* counter: how many were picked */
    __u64 now;   /* least: PICK for each pick so far */
    __u64 pad;
};

/* ------------------------------------------------------------------------------------------------
 * Flows: a line is a flow.  A bucket of eight lines is one map value; a flow is in one of two buckets, whose
 * numbers are two parts of its hash, at the first free line from a place that the hash says (flows.h).
 *
 *     0          40        44       46        48      49     50     52        54         56     64
 *     +----------+---------+--------+---------+-------+------+------+---------+----------+------+
 *     | key      | until_s | target | edition | state | bits | port | service | stand_in | back |
 *     +----------+---------+--------+---------+-------+------+------+---------+----------+------+
 *
 * target 0: the line is free.  It is over when now > until_s: then its line may be taken.
 */
#define HAS_NAME 0x01   /* inline: has a second name, an entry in `replies` */
#define HAS_PORT 0x02   /* ... whose port is one of a ring's */

struct flow {
    struct flow_key key;
    __u32 until_s;
    __u16 target;
    __u16 edition; /* another one each time that the line is taken: read with target, as one word */
    __u8 state; /* enum flow_state */
    __u8 bits;
    __be16 nat_port; /* inline: the client's port as the server sees it */
    __u16 service;   /* id of the service that recorded it: its target's own */
    __u16 stand_in;  /* HAS_PORT: who stands in for the client, by place in stand_ins */
    __u64 back;      /* HAS_NAME: digest of the way that the client's last packet came by */
};

#define FLOWS_A_BUCKET 8
struct flow_bucket {
    struct flow flow[FLOWS_A_BUCKET];
};

/* Of a bucket, in a map of its own: a byte of each of its flows' hashes, 0 where the line is free.  So a flow
 * that has no record is found to have none without reading the lines. */
struct flow_marks {
    union {
        __u8 of[FLOWS_A_BUCKET];
        __u64 all;
    };
};

/* Inline: the two names of a flow, and the way back to its client (flows.Translation).  It stands in `replies`
 * under the second name, that of the server's packets; the first one is in it.  The second can be told from the
 * flow's line as well: the target's address and port, the client's or its stand-in's, nat_port. */
#define BACK_LINK_BYTES 22 /* MAC addresses, two VLAN tags, type */
struct translation {
    struct flow_key key; /* the first name */
    __u32 hash;          /* flow_hash of it */
    __u32 back_ifindex;
    __u8 back_link[BACK_LINK_BYTES]; /* the link header towards the client */
    __u8 link_bytes;                 /* so much of it */
    __u8 pad;
};

/* fragments.py, of a server: both names of the flow that a datagram belongs to. */
struct reply_owner {
    __u32 until_s;
    __u32 is_ours; /* 0: the server sends it on its own account */
    struct flow_key key;
    struct flow_key name;
};

/* ports.py: towards one server's address and port, from one source, in one protocol.  The ring's bits stand in
 * ARCS arcs, each of which is there only while a port in it is in use. */
#define FIRST_PORT 1024
#define RING_PORTS 64512
#define ARC_WORDS 48
#define ARC_PORTS 3072 /* 64 * ARC_WORDS */
#define ARCS 21        /* RING_PORTS / ARC_PORTS */

struct ring { /* by a second name whose port is 0 */
    __u32 head; /* the port looked at next, counted from FIRST_PORT */
    __u32 pad;
    __s64 used; /* ports in use, about */
};
struct arc { /* by the ring's key, with the number of the arc in zero[0] */
    struct bpf_spin_lock lock;
    __u32 used;
    __u64 full; /* a bit for each word without a free port */
    __u64 word[ARC_WORDS]; /* a bit for each port in use */
};

/* What a template keeps: persistence.Template, keyed by service key (20) and client network (16). */
struct template_key {
    __u8 service[20];
    __u8 network[16];
};
struct template {
    __u32 target;
    __u32 until_s;
};

/* A backend of a service by its name, where another service of the same VIP made the record: its target. */
struct member_key {
    __u32 service; /* id */
    __be16 port;   /* as in target */
    __u16 zero;
    struct address address;
};

/* fragments.py: which datagram (source, destination, identification, protocol), where its first piece went. */
struct fragment_key {
    struct address src;
    struct address dst;
    __u8 rest[5]; /* identification (4), protocol */
    __u8 zero[3];
};
struct fragment_owner {
    __u32 until_s;
    __u16 service; /* id */
    __u16 target;
};

/* Of each CPU: how many records it has begun in this second (the insert limiter). */
struct allowance {
    __u32 second_s;
    __u32 begun;
};

/* What the control path tells all of the program at once; one entry. */
struct setup {
    __u32 layout;      /* LAYOUT */
    __u32 inserts_a_second; /* new records a CPU may begin in a second; 0: no limit */
    __u32 has_servers; /* inline services exist: answers of servers are looked for */
    __u32 now_s;       /* where the program was loaded with test_clock: the time */
    __u64 now_us;      /* ... and that of handshakes */
};

#endif
