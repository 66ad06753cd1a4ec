"""The system's libbpf, called through ctypes: found, declared, and its errors turned into sentences.

libbpf.so.1 is there wherever iproute2 is (Debian 12, Ubuntu 24.04).  Only what dsrlb calls is
declared.  A function that fails returns a negative errno, or NULL with errno set (libbpf 1.0).

*Source*: libbpf's headers bpf.h and libbpf.h; Documentation/bpf/libbpf/libbpf_overview.rst.
"""

from __future__ import annotations

import ctypes
import errno
import os
from ctypes import POINTER, c_char_p, c_int, c_size_t, c_uint32, c_uint64, c_void_p
from functools import cache

from dsrlb.errors import HostError


class Refused(HostError):
    """The kernel refused; ``code`` is its errno."""

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self.code = code


class TestRunOptions(ctypes.Structure):
    """struct bpf_test_run_opts."""

    _fields_ = (
        ("size", c_size_t),
        ("data_in", c_void_p),
        ("data_out", c_void_p),
        ("data_size_in", c_uint32),
        ("data_size_out", c_uint32),
        ("ctx_in", c_void_p),
        ("ctx_out", c_void_p),
        ("ctx_size_in", c_uint32),
        ("ctx_size_out", c_uint32),
        ("retval", c_uint32),
        ("repeat", c_int),
        ("duration_ns", c_uint32),
        ("flags", c_uint32),
        ("cpu", c_uint32),
        ("batch_size", c_uint32),
    )


class LinkOptions(ctypes.Structure):
    """struct bpf_link_create_opts, as far as an XDP link needs it."""

    _fields_ = (("size", c_size_t), ("flags", c_uint32))


class LinkInfo(ctypes.Structure):
    """The first fields of struct bpf_link_info (linux/bpf.h), of an XDP link."""

    _fields_ = (
        ("type", c_uint32),
        ("id", c_uint32),
        ("prog_id", c_uint32),
        ("pad", c_uint32),
        ("ifindex", c_uint32),
    )


class XdpQuery(ctypes.Structure):
    """struct bpf_xdp_query_opts, as of libbpf 1.0."""

    _fields_ = (
        ("size", c_size_t),
        ("prog_id", c_uint32),
        ("native_id", c_uint32),
        ("offloaded_id", c_uint32),
        ("generic_id", c_uint32),
        ("attach_mode", ctypes.c_uint8),
    )


class TcHook(ctypes.Structure):
    """struct bpf_tc_hook."""

    _fields_ = (
        ("size", c_size_t),
        ("ifindex", c_int),
        ("attach_point", c_int),
        ("parent", c_uint32),
    )


class TcOptions(ctypes.Structure):
    """struct bpf_tc_opts."""

    _fields_ = (
        ("size", c_size_t),
        ("prog_fd", c_int),
        ("flags", c_uint32),
        ("prog_id", c_uint32),
        ("handle", c_uint32),
        ("priority", c_uint32),
    )


class ProgramInfo(ctypes.Structure):
    """The first fields of struct bpf_prog_info (linux/bpf.h)."""

    _fields_ = (
        ("type", c_uint32),
        ("id", c_uint32),
        ("tag", ctypes.c_uint8 * 8),
        ("jited_bytes", c_uint32),
        ("translated_bytes", c_uint32),
        ("jited", c_uint64),
        ("translated", c_uint64),
        ("loaded_at_ns", c_uint64),
        ("created_by_uid", c_uint32),
        ("nr_map_ids", c_uint32),
        ("map_ids", c_uint64),
        ("name", ctypes.c_char * 16),
    )


class MapInfo(ctypes.Structure):
    """The first fields of struct bpf_map_info (linux/bpf.h)."""

    _fields_ = (
        ("type", c_uint32),
        ("id", c_uint32),
        ("key_bytes", c_uint32),
        ("value_bytes", c_uint32),
        ("max_entries", c_uint32),
        ("flags", c_uint32),
        ("name", ctypes.c_char * 16),
    )


_PROTOTYPES: dict[str, tuple[object, tuple[object, ...]]] = {
    "bpf_object__open_file": (c_void_p, (c_char_p, c_void_p)),
    "bpf_object__load": (c_int, (c_void_p,)),
    "bpf_object__close": (None, (c_void_p,)),
    "bpf_object__find_program_by_name": (c_void_p, (c_void_p, c_char_p)),
    "bpf_object__find_map_by_name": (c_void_p, (c_void_p, c_char_p)),
    "bpf_object__next_map": (c_void_p, (c_void_p, c_void_p)),
    "bpf_object__btf": (c_void_p, (c_void_p,)),
    "bpf_program__fd": (c_int, (c_void_p,)),
    "bpf_map__fd": (c_int, (c_void_p,)),
    "bpf_map__name": (c_char_p, (c_void_p,)),
    "bpf_map__set_pin_path": (c_int, (c_void_p, c_char_p)),
    "bpf_map__reuse_fd": (c_int, (c_void_p, c_int)),
    "bpf_map__set_max_entries": (c_int, (c_void_p, c_uint32)),
    "bpf_map__initial_value": (c_void_p, (c_void_p, POINTER(c_size_t))),
    "btf__find_by_name_kind": (c_int, (c_void_p, c_char_p, c_uint32)),
    "btf__type_by_id": (c_void_p, (c_void_p, c_uint32)),
    "btf__name_by_offset": (c_char_p, (c_void_p, c_uint32)),
    "bpf_map_lookup_elem": (c_int, (c_int, c_void_p, c_void_p)),
    "bpf_map_update_elem": (c_int, (c_int, c_void_p, c_void_p, c_uint64)),
    "bpf_map_delete_elem": (c_int, (c_int, c_void_p)),
    "bpf_map_get_next_key": (c_int, (c_int, c_void_p, c_void_p)),
    "bpf_map_lookup_batch": (
        c_int,
        (c_int, c_void_p, c_void_p, c_void_p, c_void_p, POINTER(c_uint32), c_void_p),
    ),
    "bpf_map_update_batch": (c_int, (c_int, c_void_p, c_void_p, POINTER(c_uint32), c_void_p)),
    "bpf_map_get_fd_by_id": (c_int, (c_uint32,)),
    "bpf_prog_get_fd_by_id": (c_int, (c_uint32,)),
    "bpf_prog_load": (c_int, (c_int, c_char_p, c_char_p, c_void_p, c_size_t, c_void_p)),
    "bpf_obj_get_info_by_fd": (c_int, (c_int, c_void_p, POINTER(c_uint32))),
    "bpf_obj_pin": (c_int, (c_int, c_char_p)),
    "bpf_obj_get": (c_int, (c_char_p,)),
    "bpf_prog_test_run_opts": (c_int, (c_int, POINTER(TestRunOptions))),
    "bpf_link_create": (c_int, (c_int, c_int, c_int, POINTER(LinkOptions))),
    "bpf_xdp_query": (c_int, (c_int, c_int, POINTER(XdpQuery))),
    "bpf_link_update": (c_int, (c_int, c_int, c_void_p)),
    "bpf_link_detach": (c_int, (c_int,)),
    "bpf_link_get_next_id": (c_int, (c_uint32, POINTER(c_uint32))),
    "bpf_link_get_fd_by_id": (c_int, (c_uint32,)),
    "bpf_tc_hook_create": (c_int, (POINTER(TcHook),)),
    "bpf_tc_hook_destroy": (c_int, (POINTER(TcHook),)),
    "bpf_tc_attach": (c_int, (POINTER(TcHook), POINTER(TcOptions))),
    "bpf_tc_detach": (c_int, (POINTER(TcHook), POINTER(TcOptions))),
    "bpf_tc_query": (c_int, (POINTER(TcHook), POINTER(TcOptions))),
    "libbpf_num_possible_cpus": (c_int, ()),
    "ring_buffer__new": (c_void_p, (c_int, c_void_p, c_void_p, c_void_p)),
    "ring_buffer__consume": (c_int, (c_void_p,)),
    "ring_buffer__free": (None, (c_void_p,)),
}
_PRINT = ctypes.CFUNCTYPE(c_int, c_int, c_char_p, c_void_p)
_said: list[str] = []  # what libbpf said since the last call: its words for the next error


@cache
def library() -> ctypes.CDLL:
    """Return libbpf with its functions declared; raise ``HostError`` when it is missing or too old."""
    try:
        found = ctypes.CDLL("libbpf.so.1", use_errno=True)
    except OSError:
        raise HostError(_why_missing()) from None
    for name, (result, arguments) in _PROTOTYPES.items():
        function = getattr(found, name)
        function.restype, function.argtypes = result, arguments
    found.libbpf_set_print(_listener)
    return found


def call(what: str, name: str, *arguments: object, allowed: tuple[int, ...] = ()) -> int:
    """Call a function that returns an int; ``what`` names the deed in the error ("load decap.bpf.o").

    Returns what the function returned; an error in ``allowed`` (an errno) is returned negative.
    """
    _said.clear()
    answer = int(getattr(library(), name)(*arguments))
    if answer < 0 and -answer not in allowed:
        raise Refused(_sentence(what, -answer), -answer)
    return answer


def find(what: str, name: str, *arguments: object) -> int:
    """Call a function that returns a pointer; NULL is a ``HostError`` with ``what`` as its subject."""
    _said.clear()
    pointer = getattr(library(), name)(*arguments)
    if not pointer:
        raise Refused(_sentence(what, ctypes.get_errno()), ctypes.get_errno())
    return int(pointer)


def text(pointer: bytes | None) -> str:
    """Return a C string as a Python one."""
    return (pointer or b"").decode(errors="replace")


def _why_missing() -> str:
    try:
        ctypes.CDLL("libbpf.so.0")
    except OSError:
        return (
            "libbpf.so.1 was not found: install libbpf1 (it comes with iproute2 on Debian 12, Ubuntu 24.04)."
        )
    return (
        "only libbpf.so.0 was found, which is too old: BPF programs need libbpf 1.0 or later (libbpf.so.1)."
    )


def _sentence(what: str, code: int) -> str:
    if code == errno.EPERM:
        hint = (
            "it needs root (CAP_BPF and CAP_NET_ADMIN)"
            if os.geteuid()
            else "this root may not (a container?)"
        )
        return f"cannot {what}: {hint}."
    said = _verifier_said() if code in (errno.EACCES, errno.EINVAL) else ""
    return f"cannot {what}: {os.strerror(code)}{said}."


def _verifier_said() -> str:
    """Return the verifier's last lines before its statistics, as one clause."""
    lines = [line.strip() for message in _said for line in message.splitlines()]
    ends = [number for number, line in enumerate(lines) if line.startswith(("processed ", "-- END PROG"))]
    begin = next((number for number, line in enumerate(lines) if "BEGIN PROG LOAD LOG" in line), None)
    if begin is None or not ends:
        return ""
    words = "; ".join(line for line in lines[begin + 1 : ends[0]][-2:] if line)
    return f" (the kernel's verifier: {words})" if words else ""


def _listen(level: int, template: bytes, arguments: int) -> int:
    """Keep what libbpf has to say; only the C library can read its argument list."""
    buffer = ctypes.create_string_buffer(65_536)
    ctypes.CDLL(None).vsnprintf(buffer, c_size_t(len(buffer)), c_char_p(template), c_void_p(arguments))
    if level == 0:  # LIBBPF_WARN
        _said.append(text(buffer.value))
    return 0


_listener = _PRINT(_listen)
