"""The wire's side: clients' frames go out, and what comes back is read.

Run as a process in the namespace of the wire: a JSON line in, a JSON line out.

``{"do": "open", "mode": …, "port": …}``
    Send the SYN of each flow, then its ACK; the answer names the server of each flow, and what is wrong.
``{"do": "load", "port": …}``
    Send ACKs of all flows until the next line, which is then obeyed as well; the answer is how many.
``{"do": "came"}``
    How many frames have come back so far.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from dsrlb.bench.traffic import ETH_P_ALL, PACKET_IGNORE_OUTGOING, SOL_PACKET
from dsrlb.wire.checksum import checksum, is_valid, pseudo_header
from peers.rows import FAR, LB_MAC, NEAR, PORT, ROUTER, ROUTER_MAC, SERVER_PORT, VIP

DEVICE = "w0"
FLOWS, AT_ONCE, WITHIN_S = 1024, 64, 10.0
BURST, PAUSE_S, QUIET_S = 64, 0.0002, 0.2
SYN, ACK, TCP, IPIP, TTL = 2, 16, 6, 4, 64
ETH_P_ARP = 0x0806
_VIP = socket.inet_aton(VIP)
_SERVERS = [
    {socket.inet_aton(one): number for number, one in enumerate(NEAR)},
    {socket.inet_aton(one): number for number, one in enumerate(FAR)},
]
_MACS = {bytes.fromhex(mac.replace(":", "")): number for number, mac in enumerate(NEAR.values())}
Key = tuple[bytes, bytes]  # address and port of a client


def frames(port: int, flags: int) -> list[bytes]:
    """Return a segment of each flow, from the router, checksums right.

    No two services have a client's port in common: behind NAT they would be the same to a server.
    """
    first = 20_000 + (port - PORT) * FLOWS
    return [_frame(bytes((198, 18, 0, 2 + n % 251)), first + n, port, flags) for n in range(FLOWS)]


def _frame(source: bytes, sport: int, port: int, flags: int) -> bytes:
    ports = sport.to_bytes(2, "big") + port.to_bytes(2, "big")
    tcp = ports + bytes((0, 0, 0, 1, 0, 0, 0, 1, 5 << 4, flags, 0xFF, 0xFF, 0, 0, 0, 0))
    tcp = tcp[:16] + checksum(pseudo_header(source, _VIP, len(tcp), TCP) + tcp) + tcp[18:]
    header = bytes((0x45, 0, 0, 40, 0, 0, 0x40, 0, TTL, TCP, 0, 0)) + source + _VIP
    header = header[:10] + checksum(header) + header[12:]
    macs = bytes.fromhex((LB_MAC + ROUTER_MAC).replace(":", ""))
    return (macs + b"\x08\0" + header + tcp).ljust(60, b"\0")


def key(packet: bytes) -> Key:
    """Return whose packet it is."""
    return packet[12:16], packet[20:22]


def server(mode: str, frame: bytes, sent: bytes) -> int | str:
    """Return to which server a frame goes, or what is wrong with it."""
    packet, before = frame[14:], sent[14:54]
    if mode == "TUN":
        if packet[9] != IPIP or not is_valid(packet[:20]):
            return "no sound tunnel header"
        where, packet = _SERVERS[1].get(packet[16:20]), packet[20:]
    elif mode == "NAT":
        where = _SERVERS[0].get(packet[16:20])
        if where != _MACS.get(frame[:6]):
            return "address and MAC are of two servers"
    else:
        where = _MACS.get(frame[:6])
    if where is None:
        return "to no server"
    if not is_valid(packet[:20]) or not 0 <= before[8] - packet[8] <= 1:
        return "its IP header is not sound"
    segment = packet[20:40]
    if mode != "NAT":
        return where if segment == before[20:] and packet[16:20] == _VIP else "its segment is another"
    there = pseudo_header(packet[12:16], packet[16:20], 20, TCP)
    rest = segment[:2] + segment[4:16] == before[20:22] + before[24:36]
    is_right = rest and segment[2:4] == SERVER_PORT.to_bytes(2, "big") and is_valid(there + segment)
    return where if is_right else "its segment is not translated right"


class Wire:
    """The device, with what is sent and read."""

    def opened(self, mode: str, port: int) -> dict[str, object]:
        """Open all flows and go on with each; return the server of each, and what is wrong."""
        self._socket = _opened(ETH_P_ALL)  # of its own: one that has seen a load is full of it
        end = time.monotonic() + WITHIN_S
        while time.monotonic() < end and self._read(time.monotonic() + QUIET_S):
            pass
        first, wrong = self._sent(mode, frames(port, SYN))
        then, more = self._sent(mode, frames(port, ACK))
        self._socket.close()
        pairs = list(zip(first, then, strict=True))
        moved = sum(None not in pair and pair[0] != pair[1] for pair in pairs)  # lost: said in wrong
        return {"servers": first, "moved": moved, "wrong": sorted({*wrong, *more})}

    def _sent(self, mode: str, all_frames: Sequence[bytes]) -> tuple[list[int | None], list[str]]:
        found: dict[Key, int] = {}
        wrong = []
        for start in range(0, len(all_frames), AT_ONCE):
            awaited = {key(one[14:]): one for one in all_frames[start : start + AT_ONCE]}
            for one in awaited.values():
                self._socket.send(one)
            end = time.monotonic() + WITHIN_S
            while awaited and time.monotonic() < end:
                frame = self._read(end)
                inner = frame[34:] if mode == "TUN" else frame[14:]
                sent = awaited.pop(key(inner), None)
                if sent is None:
                    continue
                where = server(mode, frame, sent)
                if isinstance(where, str):
                    wrong.append(where)
                else:
                    found[key(sent[14:])] = where
            if awaited:
                wrong.append("frames are lost")
        return [found.get(key(one[14:])) for one in all_frames], wrong

    def _read(self, end: float) -> bytes:
        self._socket.settimeout(max(0.001, end - time.monotonic()))
        try:
            return self._socket.recv(2048)
        except TimeoutError:
            return b""

    def loaded(self, port: int) -> int:
        """Send more than an emulated processor takes, until another line is there; return how many."""
        all_frames, count = frames(port, ACK), 0
        with _opened(0) as out:
            while not select.select([sys.stdin], [], [], PAUSE_S)[0]:
                at = count % FLOWS
                for one in all_frames[at : at + BURST]:
                    out.send(one)
                count += BURST
        return count


def _opened(protocol: int) -> socket.socket:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    made.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    made.bind((DEVICE, protocol))
    return made


def answer() -> None:
    """Answer for the router and the servers, whoever asks by ARP where they are."""
    known = {ROUTER_MAC: ROUTER, **{mac: address for address, mac in NEAR.items()}}
    macs = {socket.inet_aton(address): bytes.fromhex(mac.replace(":", "")) for mac, address in known.items()}
    wire = _opened(ETH_P_ARP)
    while True:
        asked = wire.recv(2048)
        mac = macs.get(asked[38:42])
        if mac and asked[20:22] == b"\0\1":
            wire.send(asked[6:12] + mac + asked[12:20] + b"\0\2" + mac + asked[38:42] + asked[22:32])


def main() -> None:
    """Obey."""
    threading.Thread(target=answer, daemon=True).start()
    wire = Wire()
    came = Path(f"/sys/class/net/{DEVICE}/statistics/rx_packets")
    for line in sys.stdin:
        words = json.loads(line)
        match words.pop("do"):
            case "open":
                said: object = wire.opened(**words)
            case "load":
                said = wire.loaded(**words)
            case _:
                said = int(came.read_text())
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
