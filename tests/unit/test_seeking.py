"""Is a silent server that is at another MAC found beside the checks, which wait for nothing?"""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Interface, ip_address

import pytest

from dsrlb.health import seeking
from dsrlb.health.base import Outcome
from dsrlb.health.seeking import Seeking
from dsrlb.host.links import Link
from dsrlb.model import Hop

SERVER, FAR = ip_address("198.18.1.11"), ip_address("198.18.21.2")
KNOWN, OTHER = bytes.fromhex("0200c6120111"), bytes.fromhex("0200c6129911")
HOP = Hop(2, bytes.fromhex("0200c6120110"), KNOWN, 1500)
LINK = Link(2, "e0", HOP.src_mac, 1500, True, (IPv4Interface("198.18.1.10/24"),), ())


def outcomes(mac: bytes | None, monkeypatch: pytest.MonkeyPatch) -> list[Outcome | None]:
    """What is said at the first failed check, and at the next one, when that MAC answers."""
    monkeypatch.setattr(seeking, "find_owner", lambda *_: mac)

    async def twice() -> list[Outcome | None]:
        it = Seeking()
        first = it.moved(SERVER, HOP, LINK)
        await asyncio.gather(*it._under_way.values())
        return [first, it.moved(SERVER, HOP, LINK), it.moved(FAR, HOP, LINK)]

    return asyncio.run(twice())


def test_another_mac_is_told_at_the_next_check_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, far = outcomes(OTHER, monkeypatch)
    assert first is None and far is None, "behind a router nobody can be asked"
    assert second is not None and second.word == "server_mac"
    assert "02:00:c6:12:99:11" in second.detail and "02:00:c6:12:01:11" in second.detail


@pytest.mark.parametrize("mac", [KNOWN, None])
def test_the_known_one_and_silence_say_nothing(mac: bytes | None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert outcomes(mac, monkeypatch) == [None, None, None]
