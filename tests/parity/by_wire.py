"""Frames that really come in by the two interfaces, where a test run cannot say by which.

Before Linux 5.15 ``BPF_PROG_TEST_RUN`` has every frame of XDP come in by ``lo``.  So the program is put on
the interfaces, behind their drivers; frames go in at the other ends of their cables, and come out there::

    w0 ──── e0 (program)      w1 ──── e1 (program)      m0 ──── m1

A veth hands each frame to the queue of the CPU that sends it, which is emptied before the call is over, or
soon after.  That queue is one for all: once a mark from m0 is there at m1, a frame that was sent before has
met the program, and what the program sent is in the queue; after a second one that has come out as well.

*Source*: net/bpf/test_run.c, bpf_prog_test_run_xdp(); drivers/net/veth.c, veth_forward_skb();
net/core/dev.c, do_xdp_generic(), process_backlog().
"""

from __future__ import annotations

import os
import socket
import weakref
from contextlib import ExitStack
from pathlib import Path

import packets as p
from lab_wire import ETH_P_ALL, PACKET_AUXDATA, PACKET_OUTGOING, SOL_PACKET, with_tag

from dsrlb.host import bpf, bpf_attach
from dsrlb.lab.topology import run
from dsrlb.model import Action

CABLES = {"e0": ("w0", p.IFINDEX), "e1": ("w1", p.OTHER_IFINDEX), "m0": ("m1", 50)}
MTU_BYTES, ROOM_BYTES, MARK_S = 4000, 8192, 10.0
MARK = bytes(12) + b"\x88\xb5" + b"mark".ljust(46)  # an EtherType for experiments (IEEE 802)
NO_IPV6 = Path("/proc/sys/net/ipv6/conf/default/disable_ipv6")  # interfaces say nothing by themselves


class WireRunner:
    """The program on real interfaces: frame after frame, and what became of each."""

    def __init__(self, program: bpf.Program) -> None:
        _lay_cables()
        with ExitStack() as opened:
            cpus = os.sched_getaffinity(0)
            opened.callback(os.sched_setaffinity, 0, cpus)
            os.sched_setaffinity(0, {min(cpus)})  # one queue
            names = [*CABLES, *(far for far, _ in CABLES.values())]
            sockets = {name: opened.enter_context(_socket(name)) for name in names}
            sockets["m1"].settimeout(MARK_S)
            for name in ("e0", "e1"):
                opened.callback(os.close, bpf_attach.attach_xdp(CABLES[name][1], program.fd, "generic"))
            self._sockets = sockets
            weakref.finalize(self, opened.pop_all().close)

    def __call__(self, frame: bytes, ifindex: int) -> tuple[int, bytes]:
        """Return what the program makes of a frame, and the frame as it is then; of one dropped nothing."""
        mine, other = ("0", "1") if ifindex == p.IFINDEX else ("1", "0")
        self._sockets[f"w{mine}"].send(frame)
        self._settle()
        places = {f"w{mine}": Action.TX, f"w{other}": Action.REDIRECT, f"e{mine}": Action.PASS}
        came = [(int(action), one) for name, action in places.items() for one in _read(self._sockets[name])]
        if len(came) > 1:
            raise AssertionError(f"{len(came)} frames came of one: {came}")
        return came[0] if came else (int(Action.DROP), b"")

    def _settle(self) -> None:
        for _ in range(2):
            self._sockets["m0"].send(MARK)
            if self._sockets["m1"].recv(ROOM_BYTES) != MARK:
                raise AssertionError("something else than a mark came")


def _lay_cables() -> None:
    NO_IPV6.write_text("1")
    run(["ip", "link", "del", "e0"])  # and e1, which is its other end
    for near, (far, ifindex) in CABLES.items():
        run(["ip", "link", "add", near, "index", str(ifindex), "mtu", str(MTU_BYTES), "type", "veth",
             "peer", "name", far, "index", str(ifindex + 100), "mtu", str(MTU_BYTES)])  # fmt: skip
        for one in (near, far):
            run(["ip", "link", "set", one, "up"])


def _socket(device: str) -> socket.socket:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    made.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    made.setblocking(False)
    made.bind((device, ETH_P_ALL))
    return made


def _read(one: socket.socket) -> list[bytes]:
    """Return what has come in by now."""
    found = []
    while True:
        try:
            frame, ancillary, _, where = one.recvmsg(ROOM_BYTES, 256)
        except BlockingIOError:
            return found
        if where[2] != PACKET_OUTGOING:
            found.append(with_tag(frame, ancillary))
