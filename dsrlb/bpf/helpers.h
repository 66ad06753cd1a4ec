/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * What a BPF program of dsrlb needs besides the kernel's own UAPI headers: the helper functions that the
 * programs here call, map definitions as libbpf reads them, and the byte order of the wire.
 *
 * A helper is called by its number, which is part of the kernel's interface and never changes.
 * Source: linux/bpf.h, enum bpf_func_id (the numbers) and the description of each helper above it.
 */
#ifndef DSRLB_HELPERS_H
#define DSRLB_HELPERS_H

#include <linux/bpf.h>
#include <linux/types.h>

#define SEC(name) __attribute__((section(name), used))
#define ALWAYS_INLINE inline __attribute__((always_inline))
#define LIKELY(condition) __builtin_expect(!!(condition), 1)
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)

/* Whatever is in memory is read anew from there: neither compiler nor verifier goes by what was written. */
#define FORGET() __asm__ volatile("" ::: "memory")
/* The compiler shall not know a value: it would leave out checks that the verifier wants to see. */
#define UNKNOWN(value) __asm__ volatile("" : "+r"(value))

/* Map definitions, section ".maps": libbpf reads the types of the members, never their values. */
#define MAP_NUMBER(name, number) int(*name)[number]
#define MAP_TYPE(name, type) type *name

static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
/* An int each, not a long: before Linux 6.4 the function of the map that is called in the helper's place returns
 * an int, and then -EEXIST is not negative in 64 bits.  Source: kernel/bpf/hashtab.c, htab_map_update_elem(). */
static int (*const bpf_map_update_elem)(void *map, const void *key, const void *value, __u64 flags) =
    (void *)BPF_FUNC_map_update_elem;
static int (*const bpf_map_delete_elem)(void *map, const void *key) = (void *)BPF_FUNC_map_delete_elem;
static __u64 (*const bpf_ktime_get_ns)(void) = (void *)BPF_FUNC_ktime_get_ns;
static __u64 (*const bpf_jiffies64)(void) = (void *)BPF_FUNC_jiffies64;
static long (*const bpf_tail_call)(void *context, void *programs, __u32 index) = (void *)BPF_FUNC_tail_call;
static long (*const bpf_redirect)(__u32 ifindex, __u64 flags) = (void *)BPF_FUNC_redirect;
static long (*const bpf_xdp_adjust_head)(struct xdp_md *context, int bytes) =
    (void *)BPF_FUNC_xdp_adjust_head;
static long (*const bpf_xdp_adjust_tail)(struct xdp_md *context, int bytes) =
    (void *)BPF_FUNC_xdp_adjust_tail;
static __s64 (*const bpf_csum_diff)(const __be32 *from, __u32 from_bytes, const __be32 *to, __u32 to_bytes,
                                    __u32 seed) = (void *)BPF_FUNC_csum_diff;
static long (*const bpf_spin_lock)(struct bpf_spin_lock *lock) = (void *)BPF_FUNC_spin_lock;
static long (*const bpf_spin_unlock)(struct bpf_spin_lock *lock) = (void *)BPF_FUNC_spin_unlock;
static long (*const bpf_skb_store_bytes)(struct __sk_buff *skb, __u32 offset, const void *from, __u32 length,
                                         __u64 flags) = (void *)BPF_FUNC_skb_store_bytes;
static long (*const bpf_skb_load_bytes)(const struct __sk_buff *skb, __u32 offset, void *to, __u32 length) =
    (void *)BPF_FUNC_skb_load_bytes;
static long (*const bpf_skb_change_proto)(struct __sk_buff *skb, __be16 proto, __u64 flags) =
    (void *)BPF_FUNC_skb_change_proto;
static long (*const bpf_skb_adjust_room)(struct __sk_buff *skb, __s32 difference, __u32 mode, __u64 flags) =
    (void *)BPF_FUNC_skb_adjust_room;
static long (*const bpf_fib_lookup)(void *context, struct bpf_fib_lookup *params, int length, __u32 flags) =
    (void *)BPF_FUNC_fib_lookup;
static long (*const bpf_ringbuf_output)(void *ringbuf, void *data, __u64 size, __u64 flags) =
    (void *)BPF_FUNC_ringbuf_output;

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define bpf_htons(value) ((__be16)__builtin_bswap16(value))
#define bpf_htonl(value) ((__be32)__builtin_bswap32(value))
#else
#define bpf_htons(value) ((__be16)(value))
#define bpf_htonl(value) ((__be32)(value))
#endif
#define bpf_ntohs(value) ((__u16)bpf_htons(value))
#define bpf_ntohl(value) ((__u32)bpf_htonl(value))

#endif
