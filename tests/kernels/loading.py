"""Every BPF object of the wheel, loaded as dsrlb loads it, and how many instructions the verifier processed.

The verifier says it at the end of each program's log::

    processed 31249 insns (limit 1000000) max_states_per_insn 22 …

*Source*: kernel/bpf/verifier.c, print_verification_stats(); libbpf.h, bpf_program__set_log_buf().
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, TypeVar

from dsrlb.bpf.compile import FOLDER
from dsrlb.bpf.objects import object_path
from dsrlb.engines.xdp import program, traced
from dsrlb.engines.xdp.sizes import sizes_for
from dsrlb.errors import HostError
from dsrlb.host import bpf, libbpf
from dsrlb.table import EMPTY

STATISTICS = 4  # linux/bpf_verifier.h, BPF_LOG_STATS
LOG_BYTES = 4096
MAX_FLOWS = 10_000
Counts = dict[str, int]  # instructions by program
Entered = TypeVar("Entered")


def loaded_objects() -> dict[str, Counts | str]:
    """Load each object; return what the verifier counted, or why it was refused."""
    names = {path.name.removesuffix(".bpf.o") for path in FOLDER.glob("*.bpf.o")}
    found: dict[str, Counts | str] = dict.fromkeys(sorted(names), "not tried, since xdp is refused")
    with ExitStack() as opened:
        sizes = sizes_for(EMPTY, max_flows=MAX_FLOWS)
        forwarding = _entered(opened, found, "xdp", program.loaded(sizes))
        if forwarding is not None:  # the one that tells has its maps
            _entered(opened, found, "traced", traced.loaded(forwarding))
        for name in names - {"xdp", "traced"}:
            _entered(opened, found, name, bpf.load(object_path(name)))
    return found


def _entered(
    opened: ExitStack, found: dict[str, Counts | str], name: str, loading: AbstractContextManager[Entered]
) -> Entered | None:
    try:
        with counted() as counts:
            entered = opened.enter_context(loading)
    except HostError as error:
        found[name] = str(error)
        return None
    found[name] = counts
    return entered


@contextmanager
def counted() -> Iterator[Counts]:
    """Let the verifier count what is loaded in a block; known when an object is in."""
    before, counts = libbpf.call, Counts()

    def call(what: str, function: str, *arguments: Any, **more: Any) -> int:
        if function != "bpf_object__load":
            return before(what, function, *arguments, **more)
        logs = {name: _log_of(one) for name, one in _programs(arguments[0])}
        done = before(what, function, *arguments, **more)
        counts.update({name: _processed(log.value) for name, log in logs.items()})
        return done

    libbpf.call = call
    try:
        yield counts
    finally:
        libbpf.call = before


def _programs(loaded: int) -> Iterator[tuple[str, int]]:
    library, found = libbpf.library(), None
    library.bpf_object__next_program.restype = ctypes.c_void_p
    library.bpf_object__next_program.argtypes = ctypes.c_void_p, ctypes.c_void_p
    library.bpf_program__name.restype = ctypes.c_char_p
    library.bpf_program__name.argtypes = (ctypes.c_void_p,)
    while found := library.bpf_object__next_program(loaded, found):
        yield library.bpf_program__name(found).decode(), found


def _log_of(one: int) -> ctypes.Array[ctypes.c_char]:
    library, log = libbpf.library(), ctypes.create_string_buffer(LOG_BYTES)
    library.bpf_program__set_log_buf.argtypes = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t
    library.bpf_program__set_log_level.argtypes = ctypes.c_void_p, ctypes.c_uint32
    if library.bpf_program__set_log_buf(one, log, LOG_BYTES) or library.bpf_program__set_log_level(
        one, STATISTICS
    ):
        raise HostError("libbpf takes no place for the verifier's log.")
    return log


def _processed(log: bytes) -> int:
    found = re.search(rb"processed (\d+) insns", log)
    if found is None:
        raise HostError(f"The verifier said nothing of its instructions, but: {log!r}.")
    return int(found[1])
