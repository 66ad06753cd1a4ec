"""What does a frame carry, behind its tags?"""

from __future__ import annotations

import packets as p
import pytest

from dsrlb.wire import ethernet


@pytest.mark.parametrize(("tags", "at"), [((), 14), ((5,), 18), ((5, 6), 22)])
def test_up_to_two_tags_are_skipped(tags: tuple[int, ...], at: int) -> None:
    assert ethernet.skip_tags(bytes(p.tcp(tags=tags))) == (ethernet.ETHERTYPE_IPV4, at)


def test_a_third_tag_is_an_ethertype_of_its_own() -> None:
    kind, _ = ethernet.skip_tags(bytes(p.tcp(tags=(5, 6, 7))))
    assert kind in ethernet.TAG_TYPES


@pytest.mark.parametrize("tags", [(), (5,), (5, 6)])
def test_a_frame_that_ends_inside_its_header_has_no_known_ethertype(tags: tuple[int, ...]) -> None:
    whole = bytes(p.tcp(tags=tags))
    for length in range(14 + 4 * len(tags)):
        kind, _ = ethernet.skip_tags(whole[:length])
        assert kind not in (ethernet.ETHERTYPE_IPV4, ethernet.ETHERTYPE_IPV6, ethernet.ETHERTYPE_ARP)
