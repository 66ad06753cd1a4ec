"""What ``scripts/bench peers`` makes of frames that come back, and of IPVS's own lines."""

from __future__ import annotations

import socket

import pytest
from peers.load import ACK, TCP, frames, server
from peers.rows import ALL, FAR, NEAR, SERVER_PORT, Row

from dsrlb.config import config_in
from dsrlb.importing import ipvsadm
from dsrlb.importing.written import written
from dsrlb.wire.checksum import checksum, pseudo_header

SENT = frames(8000, ACK)[7]
SECOND_MAC = bytes.fromhex(list(NEAR.values())[1].replace(":", ""))


def _ip(source: bytes, destination: str, protocol: int, payload: bytes) -> bytes:
    head = (
        bytes((0x45, 0)) + (20 + len(payload)).to_bytes(2, "big") + bytes((0, 0, 0x40, 0, 63, protocol, 0, 0))
    )
    head += source + socket.inet_aton(destination)
    return head[:10] + checksum(head) + head[12:] + payload


def _translated(port: int = SERVER_PORT) -> bytes:
    address, tcp = list(NEAR)[1], SENT[34:54]
    tcp = tcp[:2] + port.to_bytes(2, "big") + tcp[4:16] + b"\0\0" + tcp[18:]
    pseudo = pseudo_header(SENT[26:30], socket.inet_aton(address), 20, TCP)
    tcp = tcp[:16] + checksum(pseudo + tcp) + tcp[18:]
    return SECOND_MAC + SENT[6:14] + _ip(SENT[26:30], address, TCP, tcp)


def test_what_comes_back_right_names_its_server() -> None:
    assert server("DR", SECOND_MAC + SENT[6:], SENT) == 1
    outer = _ip(socket.inet_aton("198.18.1.10"), FAR[2], 4, SENT[14:54])
    assert server("TUN", SENT[:14] + outer, SENT) == 2
    assert server("NAT", _translated(), SENT) == 1


@pytest.mark.parametrize("at", [14, 30, 34, 36, 50])
def test_what_comes_back_changed_is_wrong(at: int) -> None:
    frame = bytearray(SECOND_MAC + SENT[6:])
    frame[at] ^= 0x10
    assert isinstance(server("DR", bytes(frame), SENT), str)
    frame = bytearray(_translated())
    frame[at] ^= 0x10
    assert isinstance(server("NAT", bytes(frame), SENT), str)


def test_a_port_that_is_not_the_servers_is_wrong() -> None:
    assert isinstance(server("NAT", _translated(8000), SENT), str)


def test_every_row_is_imported_with_its_mode_scheduler_and_weights() -> None:
    def kind(row: Row) -> tuple[str, str]:
        names = {"DR": "l2dsr", "TUN": "l3dsr", "NAT": "inline"}
        return names[row.mode], {"sh": "hash", "mh": "maglev"}.get(row.scheduler, row.scheduler)

    found = ipvsadm.read("\n".join(line for row in ALL for line in row.rules()), "rules")
    text, problems = written(found, [])
    assert not problems
    services = config_in(text.encode(), "dsrlb.toml").services
    assert [one.port for one in services] == [row.port for row in ALL]
    assert [(str(one.mode), str(one.scheduler)) for one in services] == [kind(row) for row in ALL]
    assert [tuple(b.weight for b in one.backends) for one in services] == [row.weights for row in ALL]
