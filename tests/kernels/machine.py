"""A virtual machine of qemu: a kernel, an initramfs, interfaces in namespaces, and a dialogue with it.

Its first serial port is the kernel's console, and goes into a file; by the second it tells one JSON object a
line, and is told ``next``.  The processor is emulated: that goes everywhere, and is the same everywhere.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from lab_wire import inside

from dsrlb.host.probe_path import IFF_NO_PI, TUN, TUNSETIFF

IFF_TAP, IFF_VNET_HDR, IFF_MULTI_QUEUE = 2, 0x4000, 0x100  # linux/if_tun.h
QUEUES = 4  # native XDP in virtio_net of Linux 5.10 takes queues of its own
MEMORY_MIB = 2048
SAYS_MAX = 2000


class SilentError(Exception):
    """The machine does not say what it was to say."""


@contextmanager
def tap(namespace: str, name: str) -> Iterator[list[int]]:
    """Have a TAP device in a namespace, which goes when it is closed; one descriptor a queue."""
    flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE
    fds: list[int] = []
    try:
        with inside(namespace):
            for _ in range(QUEUES):
                fds.append(os.open(TUN, os.O_RDWR | os.O_NONBLOCK))
                fcntl.ioctl(fds[-1], TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
        yield fds
    finally:
        for fd in fds:
            os.close(fd)


class Machine:
    """A running machine."""

    def __init__(self, process: subprocess.Popen[bytes], console: Path) -> None:
        self._process, self._console, self._unread = process, console, b""

    def hears(self, wanted: str, deadline_s: float) -> Any:
        """Return the value that the machine says under a name next; raises ``SilentError``."""
        end = time.monotonic() + deadline_s
        while (line := self._line(end)) is not None:
            if line.startswith(b"@{"):
                said = json.loads(line[1:])
                if wanted in said:
                    return said[wanted]
                raise SilentError(f"{wanted} was awaited, it said {str(said)[-SAYS_MAX:]}")
        raise SilentError(f"{wanted} was awaited for {deadline_s:g} s; its console: {self._last_words()}")

    def go_on(self, words: str = "next") -> None:
        """Tell the machine to go on, or what it is to do; raises ``SilentError``."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{words}\n".encode())
            self._process.stdin.flush()
        except BrokenPipeError:
            raise SilentError(f"it has ended; its console: {self._last_words()}") from None

    def _line(self, end: float) -> bytes | None:
        assert self._process.stdout is not None
        while b"\n" not in self._unread:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self._process.stdout], [], [], left)[0]:
                return None
            more = os.read(self._process.stdout.fileno(), 1 << 16)
            if not more:
                return None
            self._unread += more
        line, _, self._unread = self._unread.partition(b"\n")
        return line.strip()

    def _last_words(self) -> str:
        return " ".join(self._console.read_text(errors="replace").split())[-SAYS_MAX:]


@contextmanager
def booted(
    image: Path, archives: Sequence[Path], ports: Sequence[tuple[str, str]], scratch: Path
) -> Iterator[Machine]:
    """Boot a machine for the length of a block; ``ports``: namespace and MAC address of each interface."""
    with ExitStack() as opened:
        cards = []
        for namespace, mac in ports:
            cards.append((mac, opened.enter_context(tap(namespace, "p-kernel"))))
            _plug_in(namespace)
        yield opened.enter_context(running(image, archives, cards, scratch))


@contextmanager
def running(
    image: Path,
    archives: Sequence[Path],
    cards: Sequence[tuple[str, Sequence[int]]],
    scratch: Path,
    is_counted: bool = False,
) -> Iterator[Machine]:
    """Boot a machine for the length of a block; ``cards``: MAC address and TAP of each interface.

    If it is counted, its clock goes by the instructions that it has done, one a nanosecond: what else the
    host has to do does not change what the machine measures.
    """
    initrd, console = scratch / "initrd", scratch / "console"
    with initrd.open("wb") as out:
        for one in archives:
            out.write(one.read_bytes())
    console.write_bytes(b"")
    command = _command(image, initrd, console, is_counted)
    for number, (mac, fds) in enumerate(cards):
        command += _card(number, mac, fds)
    passed = [fd for _, fds in cards for fd in fds]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=console.open("ab"), pass_fds=passed
    )
    try:
        yield Machine(process, console)
    finally:
        process.kill()
        process.wait()
        initrd.unlink()


def _command(image: Path, initrd: Path, console: Path, is_counted: bool) -> list[str]:
    accelerator = ("tcg,thread=single", "-icount", "shift=0") if is_counted else ("tcg,thread=multi",)
    words = "console=ttyS0 panic=-1 quiet mitigations=off no_timer_check random.trust_cpu=on"
    return [
        *("qemu-system-x86_64", "-machine", "pc", "-accel", *accelerator, "-cpu", "max", "-smp", "1"),
        *("-m", str(MEMORY_MIB), "-nodefaults", "-no-reboot", "-display", "none", "-monitor", "none"),
        *("-serial", f"file:{console}", "-serial", "stdio"),
        *("-kernel", str(image), "-initrd", str(initrd), "-append", words),
    ]


def _card(number: int, mac: str, fds: Sequence[int]) -> list[str]:
    """Return what makes an interface of virtio; without what native XDP in the driver cannot have."""
    numbers = ":".join(map(str, fds))
    off = ",".join(f"guest_{one}=off" for one in ("csum", "tso4", "tso6", "ecn", "ufo"))
    return [
        *("-netdev", f"tap,id=n{number},fds={numbers},vhost=off"),
        "-device",
        f"virtio-net-pci,netdev=n{number},mac={mac},mq=on,vectors={2 * QUEUES + 2},addr={number + 4},{off}",
    ]


def _plug_in(namespace: str) -> None:
    for words in (("p-lb", "down"), ("p-kernel", "master", "br0", "up")):
        subprocess.run(["ip", "-n", namespace, "link", "set", *words], check=True)
