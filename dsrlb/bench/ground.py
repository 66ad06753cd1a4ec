"""Where the packet benchmark runs: one veth pair between two namespaces.

::

    dsrlbb-wire                                             dsrlbb-lb
    w0: router, switch and servers in one  ─────────────── e0: the forwarder under test
        sends client frames for the VIP  ───►  takes them, picks a server,
        counts what comes back           ◄───  writes its MAC, sends them out again

Nothing outside of the two namespaces is touched, and no address is configured in them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address
from pathlib import Path

from dsrlb.errors import DsrlbError, HostError

LB, WIRE = "dsrlbb-lb", "dsrlbb-wire"
LB_DEVICE, WIRE_DEVICE = "e0", "w0"
VIP, PORT = IPv4Address("198.18.1.100"), 80
BACKENDS = {IPv4Address(f"198.18.1.{n}"): bytes.fromhex(f"0200c61201{n}") for n in (11, 12, 13)}
LB_MAC, ROUTER_MAC = bytes.fromhex("0200c6120110"), bytes.fromhex("0200c6120101")


@contextlib.contextmanager
def standing() -> Iterator[None]:
    """Hold the two namespaces up for the length of a block; what was left of an earlier run goes first."""
    _require()
    with _alone():
        _remove()
        try:
            _build()
            yield
        finally:
            _remove()


@contextlib.contextmanager
def ends(addresses: Iterable[str]) -> Iterator[None]:
    """Hold the two namespaces up with addresses, each a namespace and words for ``ip``, for a block."""
    _require()
    with _alone():
        _remove()
        try:
            for namespace in (LB, WIRE):
                _ip("netns", "add", namespace)
            _wire()
            _run(inside(WIRE, "sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=1"))
            for one in addresses:
                _ip("-n", *one.split())
            yield
        finally:
            _remove()


def inside(namespace: str, *command: str) -> list[str]:
    """Return the command that runs ``command`` in a namespace."""
    return ["ip", "netns", "exec", namespace, *command]


def cores() -> tuple[int, int]:
    """Return the cores of the generator and of the forwarder under test; HostError if there is only one."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise HostError("The benchmark needs two cores, one for the traffic and one for the forwarder.")
    return allowed[-2], allowed[-1]


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Keep a second run away for the length of a block: an abstract socket's name leaves no file behind."""
    with socket.socket(socket.AF_UNIX) as lock:
        try:
            lock.bind(b"\0dsrlb-bench")
        except OSError as error:
            raise DsrlbError("Another benchmark is running on this machine: wait for its end.") from error
        yield


def _require() -> None:
    if os.geteuid() != 0:
        raise HostError("The benchmark builds network namespaces and needs root: run it with sudo.")
    if shutil.which("ip") is None:
        raise HostError("The benchmark needs the command ip: install the package iproute2.")


def _build() -> None:
    for namespace in (LB, WIRE):
        _ip("netns", "add", namespace)
        # Silence: neither MLD nor router solicitations among the frames that are counted.
        if Path("/proc/sys/net/ipv6").is_dir():
            for scope in ("all", "default"):
                _run(inside(namespace, "sysctl", "-qw", f"net.ipv6.conf.{scope}.disable_ipv6=1"))
    _wire()
    # A port of a bridge that is down drops every frame once packet sockets have seen it: the host's
    # own stack costs the generator nothing, and cannot answer.
    _ip("-n", LB, "link", "add", "drain", "type", "bridge")
    _ip("-n", LB, "link", "set", LB_DEVICE, "master", "drain")


def _wire() -> None:
    lb_end = ("link", "add", LB_DEVICE, "netns", LB, "address", LB_MAC.hex(":"))
    _ip(*lb_end, "type", "veth", "peer", "name", WIRE_DEVICE, "netns", WIRE, "address", ROUTER_MAC.hex(":"))
    for namespace, device in ((LB, LB_DEVICE), (WIRE, WIRE_DEVICE), (WIRE, "lo")):
        _ip("-n", namespace, "link", "set", device, "up")


def _remove() -> None:
    for namespace in (LB, WIRE):
        if Path("/run/netns", namespace).exists():
            _ip("netns", "del", namespace)


def _ip(*arguments: str) -> None:
    _run(["ip", *arguments])


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  fixed words
    if done.returncode:
        raise DsrlbError(f"The benchmark's command '{' '.join(command)}' failed: {done.stderr.strip()}")
