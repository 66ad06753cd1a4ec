"""Is the MSS that a SYN announces lowered, with the right checksum, and nothing else changed?"""

from __future__ import annotations

import packets as p
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wrapping import job, sent

from dsrlb.modes.l3dsr import forward
from dsrlb.wire.mss import clamped

PADS = [[], [("NOP", None)], [("NOP", None)] * 3, [("SAckOK", b"")], [("WScale", 7)], [("Timestamp", (1, 2))]]


def syn(before: list[object], mss: int | None, vip: str = p.VIP, flags: str = "S") -> p.Packet:
    options = [*before, *([("MSS", mss)] if mss is not None else []), ("SAckOK", b"")]
    return p.ether() / p.ip(dst=vip) / p.TCP(sport=5, dport=80, flags=flags, options=options) / p.Raw(b"odd")


@pytest.mark.parametrize("before", PADS)
@pytest.mark.parametrize("vip", [p.VIP, p.VIP6])
@pytest.mark.parametrize("most", [1, 255, 256, 1400, 1459])
def test_a_greater_one_is_lowered_as_scapy_would_have_built_it(
    before: list[object], vip: str, most: int
) -> None:
    at = 20 if vip == p.VIP else 40
    assert clamped(bytes(syn(before, 1460, vip))[14:], at, most) == bytes(syn(before, most, vip))[14:]


@pytest.mark.parametrize("mss", [None, 0, 536, 1400])
def test_one_that_is_small_enough_or_missing_stays(mss: int | None) -> None:
    packet = bytes(syn([], mss))[14:]
    assert clamped(packet, 20, 1400) == packet


@pytest.mark.parametrize(
    "options",
    [
        "00000000",
        "020305b4",
        "020205b4",
        "0200ffff",
        "03000204",
        "0301ffff",
        "00020405",
        "01010102",
        "05ff0204",
    ],
)
def test_options_that_cannot_be_read_stay(options: str) -> None:
    packet = bytes(p.IP(dst=p.VIP) / p.TCP(flags="S", dataofs=6))[:40] + bytes.fromhex(options) + bytes(4)
    assert clamped(packet, 20, 1) == packet


@given(st.binary(min_size=40, max_size=40), st.integers(5, 15), st.integers(1, 65_535))
def test_whatever_the_options_say_at_most_the_sum_and_two_bytes_of_them_change(
    options: bytes, words: int, most: int
) -> None:
    packet = bytes(p.IP(dst=p.VIP) / p.TCP(flags="S", dataofs=words))[:40] + options
    out = clamped(packet, 20, most)
    changed = [at for at, (old, new) in enumerate(zip(packet, out, strict=True)) if old != new]
    inside = [at for at in changed if at not in (36, 37)]
    assert len(inside) <= 2
    assert all(40 <= at < 20 + 4 * words for at in inside)


@pytest.mark.parametrize(("vip", "fits"), [(p.VIP, 1440), (p.VIP6, 1420)])
def test_the_mode_lowers_it_to_what_the_tunnel_takes_in_packets_with_syn_only(vip: str, fits: int) -> None:
    for flags in ("S", "SE", "A"):
        made = job(syn([], 1460, vip, flags))
        plain, lowered = (
            sent(forward(made._replace(options=made.options.__class__(clamp_mss=clamp))))[0]
            for clamp in (False, True)
        )
        assert plain[34:] == bytes(syn([], 1460, vip, flags))[14:]
        assert lowered[34:] == bytes(syn([], fits if "S" in flags else 1460, vip, flags))[14:]
