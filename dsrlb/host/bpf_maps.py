"""BPF maps: read, write, list, many entries at once."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dsrlb.host import libbpf

_ENOTSUPP = 524  # include/linux/errno.h: from a kind of map that has no batches
_NO_BATCH = (errno.ENOENT, errno.EINVAL, _ENOTSUPP)  # the first one is the end of the map
_A_READ = 4096
_INDEX = struct.Struct("=I")
_PER_CPU_TYPES = (5, 6, 10)  # linux/bpf.h: BPF_MAP_TYPE_PERCPU_HASH, _PERCPU_ARRAY, _LRU_PERCPU_HASH


@dataclass(frozen=True)
class Map:
    """A map: where it is, and how many bytes a key and a value take."""

    fd: int
    key_bytes: int
    value_bytes: int  # a per-CPU map: of all CPUs together, each rounded up to 8
    name: str


def map_of(fd: int) -> Map:
    """Return what the kernel says of the map behind a file descriptor."""
    info = libbpf.MapInfo()
    ask_info(fd, info)
    value_bytes = int(info.value_bytes)
    if info.type in _PER_CPU_TYPES:
        value_bytes = -(-value_bytes // 8) * 8 * possible_cpus()
    return Map(fd, info.key_bytes, value_bytes, libbpf.text(info.name))


def number_of(table: Map) -> int:
    """Return the kernel's own number of a map, which no other one has."""
    info = libbpf.MapInfo()
    ask_info(table.fd, info)
    return int(info.id)


def room_in(table: Map) -> int:
    """Return for how many entries a map has room."""
    info = libbpf.MapInfo()
    ask_info(table.fd, info)
    return int(info.max_entries)


def possible_cpus() -> int:
    """Return how many values a per-CPU map has."""
    return libbpf.call("count the CPUs", "libbpf_num_possible_cpus")


def ask_info(fd: int, info: ctypes.Structure) -> None:
    """Fill in what the kernel says of the program or map behind a file descriptor."""
    size = ctypes.c_uint32(ctypes.sizeof(info))
    what = "ask the kernel about a BPF program or map"
    libbpf.call(what, "bpf_obj_get_info_by_fd", fd, ctypes.byref(info), ctypes.byref(size))


def update(table: Map, key: bytes, value: bytes) -> None:
    """Write one entry, new or not.  Raises ``HostError`` when the map is full."""
    libbpf.call(f"write map {table.name}", "bpf_map_update_elem", table.fd, key, value, 0)


def lookup(table: Map, key: bytes) -> bytes | None:
    """Return the value of a key, or None."""
    value = ctypes.create_string_buffer(table.value_bytes)
    what = f"read map {table.name}"
    answer = libbpf.call(what, "bpf_map_lookup_elem", table.fd, key, value, allowed=(errno.ENOENT,))
    return None if answer < 0 else value.raw


def delete(table: Map, key: bytes) -> bool:
    """Remove one entry; say whether it was there."""
    call = ("bpf_map_delete_elem", table.fd, key)
    return libbpf.call(f"change map {table.name}", *call, allowed=(errno.ENOENT,)) >= 0


def keys(table: Map) -> Iterator[bytes]:
    """Yield every key.  Change nothing in between: the kernel finds the next one from the last."""
    following = ctypes.create_string_buffer(table.key_bytes)
    last: bytes | None = None
    while True:
        what = f"list map {table.name}"
        call = ("bpf_map_get_next_key", table.fd, last, following)
        if libbpf.call(what, *call, allowed=(errno.ENOENT,)) < 0:
            return
        last = following.raw
        yield last


def batches(table: Map, most: int) -> Iterator[list[tuple[bytes, bytes]]]:
    """Yield the entries of a hash map, so many by one call (Linux 5.6); what comes or goes may be missed."""
    keys_out = ctypes.create_string_buffer(table.key_bytes * most)
    values_out = ctypes.create_string_buffer(table.value_bytes * most)
    place, following = None, ctypes.create_string_buffer(max(table.key_bytes, 4))
    while True:
        count = ctypes.c_uint32(most)
        call = (
            "bpf_map_lookup_batch",
            table.fd,
            place,
            following,
            keys_out,
            values_out,
            ctypes.byref(count),
            None,
        )
        is_last = libbpf.call(f"list map {table.name}", *call, allowed=(errno.ENOENT,)) < 0
        yield list(
            zip(
                _parts(keys_out, table.key_bytes, count.value),
                _parts(values_out, table.value_bytes, count.value),
                strict=True,
            )
        )
        if is_last:
            return
        place, following = following, ctypes.create_string_buffer(len(following))


def _parts(column: ctypes.Array[ctypes.c_char], size: int, count: int) -> list[bytes]:
    raw = column.raw
    return [raw[at : at + size] for at in range(0, count * size, size)]


def update_batch(table: Map, entries: Iterable[tuple[bytes, bytes]]) -> None:
    """Write many entries by one call (Linux 5.6)."""
    pairs = list(entries)
    if not pairs:
        return
    count = ctypes.c_uint32(len(pairs))
    columns = (b"".join(key for key, _ in pairs), b"".join(value for _, value in pairs))
    call = ("bpf_map_update_batch", table.fd, *columns, ctypes.byref(count), None)
    libbpf.call(f"write {len(pairs)} entries of map {table.name}", *call)


def values(table: Map, entries: int) -> bytes:
    """Return the values of a whole array map, in order, by one call (Linux 5.6); not of a per-CPU one."""
    place, count = ctypes.create_string_buffer(table.key_bytes), ctypes.c_uint32(entries)
    keys = ctypes.create_string_buffer(entries * table.key_bytes)
    found = ctypes.create_string_buffer(entries * table.value_bytes)
    call = ("bpf_map_lookup_batch", table.fd, None, place, keys, found, ctypes.byref(count), None)
    libbpf.call(f"read map {table.name}", *call, allowed=(errno.ENOENT,))  # that is the end of the map
    return found.raw


def first_values(table: Map, count: int) -> bytes:
    """Return the first values of an array map, of all CPUs where there is one for each.

    By few calls (Linux 5.13 for one with a value for each CPU), or by one for each entry.
    """
    found, keys = ctypes.create_string_buffer(count * table.value_bytes), (ctypes.c_uint32 * count)()
    following, done = ctypes.c_uint32(), 0
    while done < count:
        part = ctypes.c_uint32(min(_A_READ, count - done))
        place = ctypes.byref(ctypes.c_uint32(following.value)) if done else None
        values = ctypes.byref(found, done * table.value_bytes)
        call = ("bpf_map_lookup_batch", table.fd, place, ctypes.byref(following), keys, values)
        answer = libbpf.call(f"read map {table.name}", *call, ctypes.byref(part), None, allowed=_NO_BATCH)
        if -answer in (_ENOTSUPP, errno.EINVAL):
            return b"".join(lookup(table, _INDEX.pack(one)) or b"" for one in range(count))
        done += part.value
        if answer < 0:
            break
    return found.raw[: done * table.value_bytes]


def entries_of(path: Path) -> tuple[int, int] | None:
    """Return for how many entries a pinned map has room, and the bytes of a value; None: it is not there."""
    fd = libbpf.call(f"open {path}", "bpf_obj_get", str(path).encode(), allowed=(errno.ENOENT,))
    if fd < 0:
        return None
    try:
        info = libbpf.MapInfo()
        ask_info(fd, info)
        return int(info.max_entries), int(info.value_bytes)
    finally:
        os.close(fd)
