"""XDP in the lab: what a balancer needs there to be served by the program, and the flags that say so.

A veth device sends from XDP only while its peer has an XDP program too; and what the peer sends must have
finished checksums, and its VLAN tags inside, since a frame in XDP cannot say otherwise.  ``ip netns exec``
hides the BPF file system in /sys, so the lab has one of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dsrlb.bpf.objects import object_path
from dsrlb.lab.commands import inside, run
from dsrlb.lab.topologies.base import End
from dsrlb.lab.topology import Lab

FEATURES = ("tx", "txvlan", "tx-vlan-stag-hw-insert")


def flags(lab: Lab, *more: str) -> list[str]:
    """Return the flags of ``dsrlb serve`` that choose the engine, and where it keeps what it pins."""
    return ["--engine", "xdp", "--bpffs", str(lab.bpf_fs), *more]


def make_ready(lab: Lab) -> None:
    """Let the balancer's devices have native XDP, and give it a BPF file system."""
    for end in _peers(lab):
        receive_from_xdp(lab.namespace(end.role), end.device)
    lab.bpf_fs.mkdir(exist_ok=True)
    run(["mount", "-t", "bpf", "bpf", str(lab.bpf_fs)])


def receive_from_xdp(namespace: str, device: str) -> None:
    """Let a veth device take what its peer sends from XDP, and send it what XDP can read."""
    _features(namespace, device, "off")
    run([*_program(namespace, device), "obj", str(object_path("pass")), "sec", "xdp"])
    run(inside(namespace, "ethtool", "-K", device, "gro", "off"))  # on by a program: would join frames


def make_plain(lab: Lab) -> None:
    """Undo :func:`make_ready`."""
    for end in _peers(lab):
        run([*_program(lab.namespace(end.role), end.device), "off"])
        if lab.offloads:
            _features(lab.namespace(end.role), end.device, "on")
    unmount(lab)


@contextmanager
def ready(lab: Lab) -> Iterator[None]:
    """Let the balancer have XDP for the length of a block, in a lab that stands without it."""
    make_ready(lab)
    try:
        yield
    finally:
        make_plain(lab)


def unmount(lab: Lab) -> None:
    """Take the BPF file system away again; harmless when there is none."""
    if lab.bpf_fs.is_mount():
        run(["umount", str(lab.bpf_fs)])


def _peers(lab: Lab) -> Iterator[End]:
    for role in lab.balancer_names:
        yield from lab.network.peers(role)


def _features(namespace: str, device: str, value: str) -> None:
    words = [word for feature in FEATURES for word in (feature, value)]
    run(inside(namespace, "ethtool", "-K", device, *words))


def _program(namespace: str, device: str) -> list[str]:
    return ["ip", "-n", namespace, "link", "set", "dev", device, "xdpdrv"]
