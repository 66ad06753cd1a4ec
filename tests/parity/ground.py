"""Frames that come in by the interfaces of ``tests/packets.py``, and the program that meets them.

``BPF_PROG_TEST_RUN`` takes a frame and the number of the interface that it came in by, which has to exist
where the caller is.  So the tests have a network namespace without a name, with the two interfaces.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import packets as p
from lab_wire import enter

from dsrlb.bpf.objects import object_path
from dsrlb.engines.xdp.program import Loaded
from dsrlb.engines.xdp.sizes import sizes_for
from dsrlb.host import bpf, bpf_maps, libbpf
from dsrlb.lab.topology import run
from dsrlb.table import EMPTY

SIZES = replace(sizes_for(EMPTY, max_flows=512), targets=2048, slots=1 << 15)
CLONE_NEWNET = 0x40000000  # linux/sched.h
LEAST_BYTES = 14  # of a frame that can be run
MOST_BYTES = 3500  # of one that lies in one page, as a driver has it
ROOM_BYTES = 8192
MANY_CPUS = 5, 6, 10  # linux/bpf.h: map types with a value for each CPU
ARRAYS, HASHES = (2, 6), (1, 9)  # linux/bpf.h: BPF_MAP_TYPE_ARRAY, _PERCPU_ARRAY; _HASH, _LRU_HASH
PASS = "dsrlb_pass"
ENOTSUPP = 524  # include/linux/errno.h
KEPT = "setup", "slots"  # written by whoever loads the program; told by what is not kept


@contextmanager
def interfaces() -> Iterator[None]:
    """Be, for the length of a ``with`` block, where the two interfaces are and nothing else."""
    with Path("/proc/thread-self/ns/net").open() as home:
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "cannot make a network namespace")
        try:
            run(["ip", "link", "add", "e0", "index", str(p.IFINDEX), "type", "veth",
                 "peer", "name", "e1", "index", str(p.OTHER_IFINDEX)])  # fmt: skip
            yield
        finally:
            enter(home)


class Runner:
    """The program that an interface has, frame after frame, with little between it and the kernel."""

    def __init__(self, program: bpf.Program) -> None:
        self._came = ctypes.create_string_buffer(ROOM_BYTES)
        self._left = ctypes.create_string_buffer(ROOM_BYTES)
        self._context = (ctypes.c_uint32 * 6)()  # struct xdp_md
        self._options = libbpf.TestRunOptions(size=ctypes.sizeof(libbpf.TestRunOptions), repeat=1)
        self._options.data_in = ctypes.addressof(self._came)
        self._options.data_out = ctypes.addressof(self._left)
        self._options.ctx_in = ctypes.addressof(self._context)
        self._options.ctx_size_in = ctypes.sizeof(self._context)
        self._call = libbpf.library().bpf_prog_test_run_opts
        self._fd, self._pointer = program.fd, ctypes.byref(self._options)

    def __call__(self, frame: bytes, ifindex: int) -> tuple[int, bytes]:
        """Return what the program says of a frame, and the frame as it is then."""
        size, options = len(frame), self._options
        ctypes.memmove(self._came, frame, size)
        options.data_size_in, options.data_size_out = size, ROOM_BYTES
        self._context[1], self._context[3] = size, ifindex  # data_end, ingress_ifindex
        if self._call(self._fd, self._pointer):
            raise OSError(ctypes.get_errno(), f"cannot run {size} bytes from interface {ifindex}")
        return options.retval, ctypes.string_at(self._left, options.data_size_out)


def forget_all(loaded: Loaded) -> None:
    """Empty every map of a loaded program, so that the next story begins with nothing."""
    for name, table in loaded.maps.items():
        kind, entries = kind_of(table)
        if kind in HASHES:
            for key in list(bpf_maps.keys(table)):
                bpf_maps.delete(table, key)
        elif kind in ARRAYS and name not in KEPT and "." not in name:
            _zero(table, entries)


def kind_of(table: bpf_maps.Map) -> tuple[int, int]:
    """Return a map's type and how many entries it has at most."""
    info = libbpf.MapInfo()
    bpf_maps.ask_info(table.fd, info)
    return info.type, info.max_entries


def _zero(table: bpf_maps.Map, entries: int) -> None:
    places = np.arange(entries, dtype=np.uint32)
    count = ctypes.c_uint32(entries)
    values = bytes(table.value_bytes * entries)
    call = ("bpf_map_update_batch", table.fd, places.tobytes(), values, ctypes.byref(count), None)
    if -libbpf.call(f"empty map {table.name}", *call, allowed=(ENOTSUPP,)) == ENOTSUPP:  # before Linux 5.13
        for place in places:
            bpf_maps.update(table, place.tobytes(), bytes(table.value_bytes))


@cache
def takes_context() -> bool:
    """Return whether a test run can say by which interface a frame comes in (Linux 5.15)."""
    with bpf.load(object_path("pass")) as opened:
        passing = opened.program(PASS)
        frame = bytes(LEAST_BYTES)
        context = struct.pack("=6I", 0, len(frame), 0, 0, 0, 0)  # struct xdp_md
        try:
            bpf.run(passing, frame, context=context)
        except libbpf.Refused as refused:
            if refused.code != errno.EINVAL:
                raise
            return False
    return True


class Counters:
    """The counters of a program by Reason, and which of them moved."""

    def __init__(self, reasons: bpf_maps.Map) -> None:
        self._value = ctypes.create_string_buffer(reasons.value_bytes)
        self._all = np.frombuffer(self._value, np.uint64).reshape(bpf_maps.possible_cpus(), -1)
        self._call = libbpf.library().bpf_map_lookup_elem
        self._fd, self._key = reasons.fd, bytes(4)
        self._before = self._read()

    def _read(self) -> np.ndarray:
        if self._call(self._fd, self._key, self._value):
            raise OSError(os.strerror(ctypes.get_errno()))
        return self._all.sum(axis=0, dtype=np.int64)

    def moved(self) -> dict[int, int]:
        """Return by how much each counter went up since this was asked last."""
        now = self._read()
        change, self._before = now - self._before, now
        return {int(number): int(change[number]) for number in np.flatnonzero(change)}
