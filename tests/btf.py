"""The type information (BTF) of a compiled object, as far as a layout can be told from it.

Source: Documentation/bpf/btf.rst.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

INT, POINTER, ARRAY, STRUCT, UNION, ENUM, FORWARD, TYPEDEF, VOLATILE, CONST, RESTRICT = range(1, 12)
FUNC, FUNC_PROTO, VAR, DATASEC, FLOAT, DECL_TAG, TYPE_TAG, ENUM64 = range(12, 20)
_TRANSPARENT = (TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG)
_BEHIND = {  # bytes behind the common part: fixed, and for each member
    INT: (4, 0), ARRAY: (12, 0), STRUCT: (0, 12), UNION: (0, 12), ENUM: (0, 8), FUNC_PROTO: (0, 8),
    VAR: (4, 0), DATASEC: (0, 12), DECL_TAG: (4, 0), ENUM64: (0, 12),
}  # fmt: skip


class Type(NamedTuple):
    """One type."""

    name: str
    kind: int
    size: int  # in bytes; or the number of the type that it is of
    members: list[tuple[int, ...]]  # three or two words each


class Btf:
    """All types of an object file."""

    def __init__(self, path: Path) -> None:
        raw = section(path.read_bytes(), b".BTF")
        header, types_at, types_bytes, strings_at = struct.unpack_from("=4x4I", raw)
        self._strings = raw[header + strings_at :]
        self.types = [Type("void", 0, 0, [])]
        at, end = header + types_at, header + types_at + types_bytes
        while at < end:
            at = self._read(raw, at)

    def members(self, struct_name: str) -> dict[str, tuple[int, int]]:
        """Return the members of a struct: name -> offset and size in bytes."""
        number = next(n for n, one in enumerate(self.types) if one.kind == STRUCT and one.name == struct_name)
        return {
            self._text(name): (bits // 8, self.size_of(kind))
            for name, kind, bits in self.types[number].members
        }

    def variables(self, section_name: str) -> list[str]:
        """Return the names of the variables in a section."""
        there = next(one for one in self.types if one.kind == DATASEC and one.name == section_name)
        return [self.types[kind].name for kind, _, _ in there.members]

    def size(self, struct_name: str) -> int:
        """Return the size of a struct in bytes."""
        return next(one.size for one in self.types if one.kind == STRUCT and one.name == struct_name)

    def size_of(self, number: int) -> int:
        """Return the size of a type in bytes."""
        one = self.types[number]
        if one.kind in _TRANSPARENT:
            return self.size_of(one.size)
        if one.kind == ARRAY:
            of, _, count = one.members[0]
            return count * self.size_of(of)
        return 8 if one.kind == POINTER else one.size

    def _read(self, raw: bytes, at: int) -> int:
        name, info, size = struct.unpack_from("=3I", raw, at)
        kind, count = info >> 24 & 0x1F, info & 0xFFFF
        fixed, each = _BEHIND.get(kind, (0, 0))
        at, words = at + 12, []
        if kind == ARRAY:
            words = [struct.unpack_from("=3I", raw, at)]
        elif each:
            words = [struct.unpack_from(f"={each // 4}I", raw, at + n * each) for n in range(count)]
        self.types.append(Type(self._text(name), kind, size, words))
        return at + fixed + each * count

    def _text(self, at: int) -> str:
        return self._strings[at : self._strings.index(b"\0", at)].decode()


def section(elf: bytes, wanted: bytes) -> bytes:
    """Return a section of a 64-bit ELF file of this machine's byte order."""
    (headers_at,) = struct.unpack_from("=Q", elf, 40)
    size, count, names = struct.unpack_from("=3H", elf, 58)
    headers = [struct.unpack_from("=II8x8xQQ", elf, headers_at + n * size) for n in range(count)]
    names_at = headers[names][2]
    for name_at, _, at, length in headers:
        if elf[names_at + name_at :].split(b"\0", 1)[0] == wanted:
            return elf[at : at + length]
    raise LookupError(wanted)
