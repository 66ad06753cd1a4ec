"""Is a packet that was cut told from one that is for nobody?"""

from __future__ import annotations

import packets as p
import pytest
from reading import refused

from dsrlb.model import Reason
from dsrlb.wire.destination import destination


@pytest.mark.parametrize("dst", [p.VIP, p.VIP6])
def test_a_packet_cut_in_its_header_is_for_nobody_and_one_cut_behind_it_is_truncated(dst: str) -> None:
    whole, header_bytes = bytes(p.tcp(dst=dst)), 20 if dst == p.VIP else 40
    for length in range(14, len(whole)):
        is_cut_in_header = length < 14 + header_bytes
        assert refused(whole[:length]) is (Reason.NOT_IP if is_cut_in_header else Reason.TRUNCATED)
        assert bool(destination(whole[:length])) is not is_cut_in_header
