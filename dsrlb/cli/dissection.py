"""Two frames side by side: what came in, what leaves, field by field, as scapy reads them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Any, NamedTuple

from dsrlb.modes.l3dsr import GUE_BYTES

_LINK = ("Ethernet", "802.1Q", "802.1ad")
_SHOWN_MOST = 48  # characters of a value


class Line(NamedTuple):
    """One field; None: that frame does not have it."""

    layer: str
    field: str
    came: str | None
    leaves: str | None


class Layer(NamedTuple):
    """A header, by its fields."""

    name: str
    fields: dict[str, str]


def side_by_side(came: bytes, leaves: bytes | None, encap: str = "", port: int = 0) -> list[Line]:
    """Return the fields of both; ``encap``, ``port``: how what leaves is wrapped in UDP, if it is."""
    before = _layers(came, "", 0)
    after = _layers(leaves, encap, port) if leaves is not None else []
    return [line for one, other in _pairs(before, after) for line in _lines(one, other)]


def _pairs(before: Sequence[Layer], after: Sequence[Layer]) -> Iterator[tuple[Layer | None, Layer | None]]:
    """Yield layers that belong together: link headers, then those inside, from the innermost outwards."""
    link = _common(before, after, _LINK)
    yield from zip(before[:link], after[:link], strict=True)
    before, after = before[link:], after[link:]
    inner = _common(before[::-1], after[::-1])
    outer_before, outer_after = before[: len(before) - inner], after[: len(after) - inner]
    names, others = ([one.name for one in layers] for layers in (outer_before, outer_after))
    for tag, i, i_end, j, j_end in SequenceMatcher(None, names, others).get_opcodes():
        if tag == "equal":
            yield from zip(outer_before[i:i_end], outer_after[j:j_end], strict=True)
        else:
            yield from ((one, None) for one in outer_before[i:i_end])
            yield from ((None, one) for one in outer_after[j:j_end])
    yield from zip(before[len(outer_before) :], after[len(outer_after) :], strict=True)


def _common(one: Sequence[Layer], other: Sequence[Layer], among: Sequence[str] | None = None) -> int:
    """Return how many layers at the beginning have the same names."""
    for count, (a, b) in enumerate(zip(one, other, strict=False)):
        if a.name != b.name or (among is not None and a.name not in among):
            return count
    return min(len(one), len(other))


def _lines(one: Layer | None, other: Layer | None) -> Iterator[Line]:
    came, leaves = (layer.fields if layer is not None else {} for layer in (one, other))
    name = (one or other or Layer("", {})).name
    for field in {**came, **leaves}:
        yield Line(name, field, came.get(field), leaves.get(field))


def _layers(frame: bytes, encap: str, port: int) -> list[Layer]:
    from scapy.layers import inet6  # noqa: F401  # late, like below; it teaches Ether what IPv6 is
    from scapy.layers.l2 import Ether  # late: scapy takes half a second to import

    try:
        return list(_parts(Ether(frame), encap, port))
    except Exception:  # struct.error and others: headers that are cut short, or contradict themselves
        return [Layer("Raw", {"load": _shown(frame)})]


def _parts(packet: Any, encap: str, port: int) -> Iterator[Layer]:
    """Yield scapy's layers, and those behind a header of GUE, which it does not know."""
    from scapy.layers.inet import IP, UDP
    from scapy.layers.inet6 import IPv6
    from scapy.packet import NoPayload, Raw

    while not isinstance(packet, NoPayload):
        yield _layer(packet)
        is_wrapped = bool(encap) and isinstance(packet, UDP) and packet.dport == port
        packet = packet.payload
        if is_wrapped and isinstance(packet, Raw):
            head = GUE_BYTES if encap == "gue" else 0
            if head:
                yield Layer("GUE", {"header": packet.load[:head].hex(" ")})
            inner = packet.load[head:]
            packet = IP(inner) if inner[:1] and inner[0] >> 4 == 4 else IPv6(inner)
            encap = ""


def _layer(packet: Any) -> Layer:
    from scapy.fields import ConditionalField

    there = [
        field
        for field in packet.fields_desc
        if not isinstance(field, ConditionalField) or field._evalcond(packet)
    ]
    values = ((field, packet.getfieldval(field.name)) for field in there)
    return Layer(packet.name, {field.name: _shown(field.i2repr(packet, value)) for field, value in values})


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= _SHOWN_MOST else f"{text[:_SHOWN_MOST]}..."
