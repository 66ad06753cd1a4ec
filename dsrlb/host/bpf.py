"""BPF objects and programs: load, find, run, pin.

A file descriptor that comes from an ``Object`` lives as long as the object is open; one that
was fetched by id is the caller's to close.  A program or map outlives both where something in the
kernel holds it: a filter, a link, a pin.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from dsrlb.errors import HostError
from dsrlb.host import libbpf
from dsrlb.host.bpf_maps import Map, ask_info, map_of

BPF_FS = Path("/sys/fs/bpf")
_BPF_FS_MAGIC = "bpf"
_FILE_SYSTEMS = Path("/proc/filesystems")
_KIND_DATASEC = 15  # linux/btf.h
_KIND_VAR = 14


@dataclass(frozen=True)
class Program:
    """A loaded program: where it is, and the kernel's digest of its instructions."""

    fd: int
    id: int
    name: str
    tag: str


class TestRun(NamedTuple):
    """What came of a run: the program's return value, the packet after it, the time it took."""

    retval: int
    packet: bytes
    duration_ns: int  # of one run, on average


@dataclass(frozen=True)
class Object:
    """A loaded object file."""

    path: Path
    pointer: int

    def program(self, name: str) -> Program:
        """Return a program by the name of its function."""
        what = f"find program {name} in {self.path.name}"
        found = libbpf.find(what, "bpf_object__find_program_by_name", self.pointer, name.encode())
        return program_of(libbpf.call(what, "bpf_program__fd", found))

    def map(self, name: str) -> Map:
        """Return a map by the name of its variable."""
        what = f"find map {name} in {self.path.name}"
        found = libbpf.find(what, "bpf_object__find_map_by_name", self.pointer, name.encode())
        return map_of(libbpf.call(what, "bpf_map__fd", found))

    def maps(self) -> Iterator[Map]:
        """Yield every map, under the name of its variable."""
        found = libbpf.library().bpf_object__next_map(self.pointer, None)
        while found:
            name = libbpf.text(libbpf.library().bpf_map__name(found))
            fd = libbpf.call(f"find map {name} in {self.path.name}", "bpf_map__fd", found)
            yield replace(map_of(fd), name=name)  # the kernel's copy of the name may be cut
            found = libbpf.library().bpf_object__next_map(self.pointer, found)


@contextmanager
def load(
    path: Path,
    constants: Mapping[str, bytes] | None = None,
    max_entries: Mapping[str, int] | None = None,
    reused: Mapping[str, int] | None = None,
    pinned: Mapping[str, Path] | None = None,
) -> Iterator[Object]:
    """Load an object file for the length of a ``with`` block.

    constants: values for variables declared ``const volatile`` (section ``.rodata``), by name.
    max_entries: sizes of maps, by name, in place of the compiled ones.
    reused: file descriptors of existing maps that take the place of the object's own, by name.
    pinned: paths in a BPF file system by map: what is pinned there is reused, else the new map is
    pinned there.
    Raises ``HostError``: missing privilege, no BPF file system, what the verifier says.
    """
    for where in (pinned or {}).values():
        need_bpf_fs(where.parent)
    pointer = libbpf.find(f"open {path}", "bpf_object__open_file", str(path).encode(), None)
    loaded = Object(path, pointer)
    try:
        _prepare(loaded, constants or {}, max_entries or {}, reused or {}, pinned or {})
        libbpf.call(f"load {path.name}", "bpf_object__load", pointer)
        yield loaded
    finally:
        libbpf.library().bpf_object__close(pointer)


def _prepare(
    loaded: Object,
    constants: Mapping[str, bytes],
    max_entries: Mapping[str, int],
    reused: Mapping[str, int],
    pinned: Mapping[str, Path],
) -> None:
    for name, value in constants.items():
        _set_constant(loaded, name, value)
    for name, entries in max_entries.items():
        _on_map(loaded, name, "bpf_map__set_max_entries", entries)
    for name, fd in reused.items():
        _on_map(loaded, name, "bpf_map__reuse_fd", fd)
    for name, path in pinned.items():
        _on_map(loaded, name, "bpf_map__set_pin_path", str(path).encode())


def _on_map(loaded: Object, name: str, function: str, argument: object) -> None:
    what = f"prepare map {name} of {loaded.path.name}"
    found = libbpf.find(what, "bpf_object__find_map_by_name", loaded.pointer, name.encode())
    libbpf.call(what, function, found, argument)


def _set_constant(loaded: Object, name: str, value: bytes) -> None:
    """Write a variable of ``.rodata``; the object's type information tells where it lies."""
    what = f"set {name} in {loaded.path.name}"
    known = _variables(loaded, what)
    if name not in known:
        raise HostError(f"{loaded.path.name} has no constant {name}.")
    offset, size = known[name]
    if len(value) != size:
        raise HostError(f"cannot {what}: it has {size} bytes, not {len(value)}.")
    section = libbpf.find(what, "bpf_object__find_map_by_name", loaded.pointer, b".rodata")
    start = libbpf.find(what, "bpf_map__initial_value", section, ctypes.byref(ctypes.c_size_t()))
    ctypes.memmove(start + offset, value, size)


def _variables(loaded: Object, what: str) -> dict[str, tuple[int, int]]:
    """Return the variables of ``.rodata``: name -> offset and size in bytes.

    ::

        struct btf_type           | name 4 | info 4 (vlen in the low 16 bits) | size 4 |
        struct btf_var_secinfo    | type 4 | offset 4 | size 4 |     vlen times, after it

    *Source*: Documentation/bpf/btf.rst, BTF_KIND_DATASEC.
    """
    btf = libbpf.find(what, "bpf_object__btf", loaded.pointer)
    section = libbpf.call(what, "btf__find_by_name_kind", btf, b".rodata", _KIND_DATASEC)
    words = ctypes.POINTER(ctypes.c_uint32)
    head = libbpf.find(what, "btf__type_by_id", btf, section)
    count = ctypes.cast(head, words)[1] & 0xFFFF
    entries = ctypes.cast(head + 12, words)
    found: dict[str, tuple[int, int]] = {}
    for kind, offset, size in (tuple(entries[3 * n : 3 * n + 3]) for n in range(count)):
        name = ctypes.cast(libbpf.find(what, "btf__type_by_id", btf, kind), words)[0]
        found[libbpf.text(libbpf.library().btf__name_by_offset(btf, name))] = (offset, size)
    return found


# --- what is loaded already ---------------------------------------------------------------------


def program_of(fd: int) -> Program:
    """Return what the kernel says of the program behind a file descriptor."""
    info = libbpf.ProgramInfo()
    ask_info(fd, info)
    return Program(fd, info.id, libbpf.text(info.name), bytes(info.tag).hex())


@contextmanager
def program_by_id(number: int) -> Iterator[Program]:
    """Open a loaded program by its id, for the length of a ``with`` block."""
    fd = libbpf.call(f"open BPF program {number}", "bpf_prog_get_fd_by_id", number)
    try:
        yield program_of(fd)
    finally:
        os.close(fd)


@contextmanager
def maps_of(program: Program) -> Iterator[dict[str, Map]]:
    """Open the maps that a program uses, for the length of a ``with`` block; by name."""
    ids = (ctypes.c_uint32 * 64)()
    info = libbpf.ProgramInfo(nr_map_ids=len(ids), map_ids=ctypes.addressof(ids))
    ask_info(program.fd, info)
    fds: list[int] = []
    try:
        for number in ids[: info.nr_map_ids]:
            fds.append(libbpf.call(f"open BPF map {number}", "bpf_map_get_fd_by_id", number))
        yield {opened.name: opened for opened in map(map_of, fds)}
    finally:
        for fd in fds:
            os.close(fd)


# --- runs and pins ------------------------------------------------------------------------------


def run(program: Program, packet: bytes, repeat: int = 1, context: bytes = b"", room: int = 512) -> TestRun:
    """Run a program on a packet inside the kernel (BPF_PROG_TEST_RUN); nothing is sent.

    ``packet``: a whole frame, of at least 14 bytes.  ``context``: the program's context structure, where
    its fields matter.  ``room``: by how many bytes the packet may grow.
    """
    out = ctypes.create_string_buffer(len(packet) + room)
    options = libbpf.TestRunOptions(size=ctypes.sizeof(libbpf.TestRunOptions), repeat=repeat)
    held = (
        ctypes.create_string_buffer(packet, len(packet)),
        ctypes.create_string_buffer(context, len(context)),
    )
    options.data_in, options.data_size_in = ctypes.addressof(held[0]), len(packet)
    options.data_out, options.data_size_out = ctypes.addressof(out), len(out)
    if context:
        options.ctx_in, options.ctx_size_in = ctypes.addressof(held[1]), len(context)
    libbpf.call(f"run {program.name}", "bpf_prog_test_run_opts", program.fd, ctypes.byref(options))
    return TestRun(options.retval, out.raw[: options.data_size_out], options.duration_ns)


def pin(fd: int, path: Path) -> None:
    """Keep a program, map or link in the kernel under a path of a BPF file system."""
    need_bpf_fs(path.parent)
    libbpf.call(f"pin {path}", "bpf_obj_pin", fd, str(path).encode())


def pinned(path: Path) -> int | None:
    """Return a file descriptor of what is pinned, the caller's to close; None when nothing is."""
    call = ("bpf_obj_get", str(path).encode())
    fd = libbpf.call(f"open {path}", *call, allowed=(errno.ENOENT,))
    return None if fd < 0 else fd


def need_bpf_fs(folder: Path) -> None:
    """Raise ``HostError`` unless a folder is in a BPF file system, or will be once it is made."""
    if not any(line.endswith("\tbpf\n") for line in _FILE_SYSTEMS.open()):
        raise HostError(
            "This kernel has no BPF; it takes one built with CONFIG_BPF_SYSCALL and CONFIG_BPF_JIT."
        )
    while not folder.exists():
        folder = folder.parent
    mounts = [line.split()[:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
    inside = [(Path(at), kind) for _, at, kind in mounts if folder == Path(at) or Path(at) in folder.parents]
    if max(inside, key=lambda mount: len(mount[0].parts))[1] != _BPF_FS_MAGIC:
        raise HostError(f"{folder} is not in a BPF file system: run mount -t bpf bpf {BPF_FS}.")
