"""The instructions of BPF programs: as they stand in an object file, and as a kernel has loaded them.

::

    0        1          2          4                8
    +--------+----+-----+----------+----------------+
    | opcode | dst, src | offset   | immediate      |     dst: the low half of its byte
    +--------+----+-----+----------+----------------+

*Source*: Documentation/bpf/standardization/instruction-set.rst; System V ABI, chapter 4 (ELF).
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dsrlb.host import bpf, bpf_maps, libbpf

CALL, WIDE = 0x85, 0x18  # opcodes: a call; a load of 64 bits, which takes two places
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SECTIONS_AT, _COUNTS_AT = 40, 58
_EXECUTABLE = 4


class Instruction(NamedTuple):
    """One instruction."""

    opcode: int
    dst: int
    src: int
    offset: int
    immediate: int


def decoded(code: bytes) -> Iterator[Instruction]:
    """Yield the instructions of a program."""
    is_second_half = False
    for opcode, registers, offset, immediate in struct.iter_unpack("<BBhi", code):
        if not is_second_half:
            yield Instruction(opcode, registers & 15, registers >> 4, offset, immediate)
        is_second_half = opcode == WIDE and not is_second_half


def in_object(path: Path) -> list[Instruction]:
    """Return all instructions of an object file."""
    raw = path.read_bytes()
    (table_at,) = struct.unpack_from("<Q", raw, _SECTIONS_AT)
    size, count = struct.unpack_from("<HH", raw, _COUNTS_AT)
    found: list[Instruction] = []
    for at in range(table_at, table_at + size * count, size):
        _, _, flags, _, begin, length, *_ = _SECTION.unpack_from(raw, at)
        if flags & _EXECUTABLE:
            found += decoded(raw[begin : begin + length])
    return found


def in_kernel(program: bpf.Program) -> list[Instruction]:
    """Return the instructions of a loaded program, without those that the verifier found never reached."""
    info = libbpf.ProgramInfo()
    bpf_maps.ask_info(program.fd, info)
    code = ctypes.create_string_buffer(info.translated_bytes)
    info = libbpf.ProgramInfo(translated_bytes=len(code), translated=ctypes.addressof(code))
    bpf_maps.ask_info(program.fd, info)
    return list(decoded(code.raw))
