"""The traffic of the packet benchmark: makes it, and proves that a forwarder forwards it right.

Run as a process in the wire's namespace.  It reads one command a line and answers with one line:

``prove``
    Send every frame once, a few at a time, and look at what comes back: ``ok``, or what is wrong.
``load SECONDS``
    Send frames as fast as one core can; answers with the number sent.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Sequence

from dsrlb.bench.ground import BACKENDS, LB_MAC, PORT, ROUTER_MAC, VIP, WIRE_DEVICE
from dsrlb.model import V4_MAPPED, wire_address
from dsrlb.wire import ipv4
from dsrlb.wire.checksum import checksum, pseudo_header
from dsrlb.wire.l4 import ACK, TCP

FLOWS = 1024  # UIO_MAXIOV: as many as one sendmmsg takes
FRAME_BYTES = 60  # a 64-byte frame without its checksum, which sockets never see
PROVE_FRAMES = 64  # at a time: fits the default receive buffer
PROVE_S = 2.0
SOL_PACKET, PACKET_QDISC_BYPASS, PACKET_IGNORE_OUTGOING, ETH_P_ALL = 263, 20, 23, 3
PR_SET_PDEATHSIG = 1


def frames() -> list[bytes]:
    """Return one TCP segment (ACK, no payload) of each flow, from the router to the VIP, checksums right."""
    return [_segment(V4_MAPPED + bytes((198, 18, 0, 2 + i % 251)), 20_000 + i) for i in range(FLOWS)]


def _segment(src: bytes, sport: int) -> bytes:
    vip = wire_address(VIP)
    ports = sport.to_bytes(2, "big") + PORT.to_bytes(2, "big")
    tcp = ports + bytes((0, 0, 0, 1, 0, 0, 0, 1, 5 << 4, ACK, 0xFF, 0xFF, 0, 0, 0, 0))
    tcp = tcp[:16] + checksum(pseudo_header(src[12:], vip[12:], len(tcp), TCP) + tcp) + tcp[18:]
    header = ipv4.header(src, vip, TCP, len(tcp))
    header = header[:10] + checksum(header) + header[12:]
    return (LB_MAC + ROUTER_MAC + b"\x08\0" + header + tcp).ljust(FRAME_BYTES, b"\0")


def faults(sent: Sequence[bytes], returned: Sequence[bytes]) -> str:
    """Return what is wrong with the frames that came back for those sent, or an empty string."""
    macs = Counter(frame[:6] for frame in returned)
    strangers = set(macs) - set(BACKENDS.values())
    if strangers:
        return f"frames to {', '.join(sorted(mac.hex(':') for mac in strangers))}, which is no server"
    if any(frame[6:12] != LB_MAC for frame in returned):
        return "frames whose source is not the forwarder's MAC"
    if Counter(frame[12:] for frame in sent) != Counter(frame[12:] for frame in returned):
        return f"{len(sent)} frames were sent and {len(returned)} came back, lost or changed"
    if len(macs) < len(BACKENDS):
        return "not every server got its share"
    return ""


def prove(all_frames: Sequence[bytes]) -> str:
    """Send each frame once and return ``ok`` if all come back rewritten, else what is wrong."""
    returned: list[bytes] = []
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as wire:
        wire.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        wire.bind((WIRE_DEVICE, ETH_P_ALL))
        wire.settimeout(PROVE_S)
        for start in range(0, len(all_frames), PROVE_FRAMES):
            chunk = all_frames[start : start + PROVE_FRAMES]
            for frame in chunk:
                wire.send(frame)
            try:
                returned += [wire.recv(2048) for _ in chunk]
            except TimeoutError:
                break
    return faults(all_frames, returned) or "ok"


# struct iovec and struct mmsghdr, see sendmmsg(2): name, its length; vectors, how many; control, its length;
# flags; bytes sent.
_VECTOR, _MESSAGE = struct.Struct("@PN"), struct.Struct("@PIPNPNi4xI4x")


def load(all_frames: Sequence[bytes], seconds: float) -> int:
    """Send the frames over and over for so long, past every queue; return how many went out."""
    count = len(all_frames)
    joined = ctypes.create_string_buffer(b"".join(all_frames))
    starts = range(ctypes.addressof(joined), ctypes.addressof(joined) + count * FRAME_BYTES, FRAME_BYTES)
    vectors = ctypes.create_string_buffer(b"".join(_VECTOR.pack(start, FRAME_BYTES) for start in starts))
    firsts = range(ctypes.addressof(vectors), ctypes.addressof(vectors) + count * _VECTOR.size, _VECTOR.size)
    messages = ctypes.create_string_buffer(
        b"".join(_MESSAGE.pack(0, 0, first, 1, 0, 0, 0, 0) for first in firsts)
    )
    sendmmsg = ctypes.CDLL(None, use_errno=True).sendmmsg
    sent, deadline = 0, time.monotonic() + seconds
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as wire:
        wire.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
        wire.bind((WIRE_DEVICE, 0))
        while time.monotonic() < deadline:
            sent += max(0, sendmmsg(wire.fileno(), messages, count, 0))
    return sent


def stay_on(core: int) -> None:
    """Keep this process on one core, and end it when the benchmark does, however that ends."""
    os.sched_setaffinity(0, {core})
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> None:
    """Obey the commands on standard input; the argument is the core to stay on."""
    stay_on(int(sys.argv[1]))
    all_frames = frames()
    for line in sys.stdin:
        word, *rest = line.split()
        print(prove(all_frames) if word == "prove" else load(all_frames, float(rest[0])), flush=True)


if __name__ == "__main__":
    main()
