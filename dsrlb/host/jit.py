"""Whether this kernel compiles BPF programs: it is given one, and asked how much machine code came of it.

::

    b7 00 00 00  00000000    r0 = 0
    95 00 00 00  00000000    exit

The sysctl of it, net.core.bpf_jit_enable, is to be seen in the first network namespace only.

*Source*: Documentation/bpf/standardization/instruction-set.rst; linux/bpf.h, struct bpf_prog_info.
"""

from __future__ import annotations

import ctypes
import os

from dsrlb.host import libbpf
from dsrlb.host.bpf_maps import ask_info

_PROGRAM = bytes.fromhex("b7000000 00000000 95000000 00000000")
_SOCKET_FILTER = 1  # linux/bpf.h, BPF_PROG_TYPE_SOCKET_FILTER


def compiled_bytes() -> int:
    """Return how many bytes of machine code two instructions are compiled to; 0: they are interpreted.

    Raises HostError: no libbpf, no privilege.
    """
    code = ctypes.create_string_buffer(_PROGRAM, len(_PROGRAM))
    load = ("bpf_prog_load", _SOCKET_FILTER, b"dsrlb_jit", b"GPL", ctypes.addressof(code), 2, None)
    fd = libbpf.call("load a BPF program of two instructions", *load)
    try:
        info = libbpf.ProgramInfo()
        ask_info(fd, info)
        return int(info.jited_bytes)
    finally:
        os.close(fd)
