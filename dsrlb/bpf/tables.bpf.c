/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * The flow table against the kernel's own LRU hash: what `dsrlb bench --tables` times.  Each program takes the
 * key of a plain IPv4 frame's flow, looks it up or records it, counts what it found, and sends the frame back
 * as the floor of bench.bpf.c does.
 */
#include "floor.h"
#include "helpers.h"
#include "xdp/plain_packet.h"
#include "xdp/records.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define HELD_S 1000

struct kept {
    __u32 until_s;
    __u32 target;
};

struct {
    MAP_NUMBER(type, BPF_MAP_TYPE_LRU_HASH);
    MAP_NUMBER(max_entries, 2);
    MAP_TYPE(key, struct flow_key);
    MAP_TYPE(value, struct kept);
} lru SEC(".maps");

struct score {
    __u64 hits, misses, begun, refused;
};
SHARED_ARRAY(scores, struct score); /* the first entry: one CPU runs this */

static ALWAYS_INLINE struct score *score(void)
{
    __u32 zero = 0;

    return bpf_map_lookup_elem(&scores, &zero);
}

/* The key of a frame, without a look at what kind it is; 0: it is too short. */
static ALWAYS_INLINE __u32 read_key(struct xdp_md *ctx, struct flow_key *key)
{
    const __u64 *word = (void *)(long)ctx->data;

    if ((void *)word + sizeof(struct ethhdr) + PLAIN_BYTES > (void *)(long)ctx->data_end)
        return 0;
    key->src = (struct address){.word = {0, 0, MAPPED, BYTES(word[3], 2, 4)}};
    key->dst = (struct address){.word = {0, 0, MAPPED, JOINED(BYTES(word[3], 6, 2), BYTES(word[4], 0, 2))}};
    *(__be32 *)&key->sport = BYTES(word[4], 2, 4);
    *(__u32 *)&key->protocol = bpf_htonl((__u32)IPPROTO_TCP << 24); /* and zeros */
    return 1;
}

SEC("xdp") int own_find(struct xdp_md *ctx)
{
    struct score *counted = score();
    struct flow_key key;
    struct flow *flow;

    if (!counted || !read_key(ctx, &key))
        return XDP_ABORTED;
    flow = flow_of(&key, hash_of_flow(&key));
    if (flow && flow->until_s != now_s() + HELD_S)
        flow->until_s = now_s() + HELD_S;
    counted->hits += !!flow;
    counted->misses += !flow;
    return send_back(ctx);
}

SEC("xdp") int lru_find(struct xdp_md *ctx)
{
    struct score *counted = score();
    struct flow_key key;
    struct kept *kept;

    if (!counted || !read_key(ctx, &key))
        return XDP_ABORTED;
    kept = bpf_map_lookup_elem(&lru, &key);
    if (kept && kept->until_s != now_s() + HELD_S)
        kept->until_s = now_s() + HELD_S;
    counted->hits += !!kept;
    counted->misses += !kept;
    return send_back(ctx);
}

SEC("xdp") int own_begin(struct xdp_md *ctx)
{
    struct score *counted = score();
    struct flow record = {.until_s = now_s() + HELD_S, .target = 1};
    struct places places;
    __u32 hash;
    int done;

    if (!counted || !read_key(ctx, &record.key))
        return XDP_ABORTED;
    hash = hash_of_flow(&record.key);
    done = find_places(&places, hash) && begin_record(&places, &record, hash, now_s());
    counted->begun += done;
    counted->refused += !done;
    return send_back(ctx);
}

SEC("xdp") int lru_begin(struct xdp_md *ctx)
{
    struct kept kept = {now_s() + HELD_S, 1};
    struct score *counted = score();
    struct flow_key key;
    int done;

    if (!counted || !read_key(ctx, &key))
        return XDP_ABORTED;
    done = !bpf_map_update_elem(&lru, &key, &kept, BPF_ANY);
    counted->begun += done;
    counted->refused += !done;
    return send_back(ctx);
}
