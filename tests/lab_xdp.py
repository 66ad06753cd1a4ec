"""What tests of the XDP engine share: its flags, what is pinned, which program is on an interface."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from lab_running import Serve
from lab_wire import inside

from dsrlb.bpf.objects import object_path
from dsrlb.host import bpf, bpf_attach
from dsrlb.lab.balancer import dsrlb
from dsrlb.lab.commands import inside as command_inside
from dsrlb.lab.topology import Lab, run
from dsrlb.lab.xdp import flags as xdp

__all__ = ["There", "detach", "instances", "is_bare", "refused", "there", "xdp"]


class There(NamedTuple):
    """The program on the balancer's interface: what holds it there."""

    link_id: int
    program_id: int
    mode: str


def there(lab: Lab, instance: str = "default") -> There | None:
    """Return the program on the balancer's interface, as the pinned link says; None: no link is pinned."""
    with inside(lab.namespace("lb")):
        for pinned in (lab.bpf_fs / "dsrlb" / instance / "links").glob("*"):
            fd = bpf.pinned(pinned)
            assert fd is not None
            try:
                link, on = bpf_attach.xdp_link(fd), bpf_attach.on_xdp(int(pinned.name))
            finally:
                bpf_attach.detach_xdp(fd)
            assert on is not None and on.program_id == link.program_id
            return There(link.id, link.program_id, on.mode)
    return None


def is_bare(lab: Lab) -> bool:
    """Return whether no program is on the balancer's interface, and nothing is pinned."""
    shown = run(["ip", "-n", lab.namespace("lb"), "link", "show", "e0"])
    return "prog/xdp" not in shown and not (lab.bpf_fs / "dsrlb").exists()


def instances(lab: Lab) -> list[str]:
    """Return the instances that there are."""
    folder = lab.bpf_fs / "dsrlb"
    return sorted(one.name for one in folder.iterdir()) if folder.is_dir() else []


def detach(lab: Lab, instance: str = "default") -> subprocess.CompletedProcess[str]:
    """Run ``dsrlb detach`` in the balancer's node."""
    line = dsrlb("detach", "--bpffs", str(lab.bpf_fs), "--instance", instance)
    command = command_inside(lab.namespace("lb"), *line)
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


def refused(serve: Serve, code: int, *words: str, flags: list[str]) -> str:
    """Start what must not start; return what it said, one line."""
    it = serve(flags=flags, ready=False)
    assert it.process.wait(30) == code, it.stderr
    said = it.stderr
    assert all(word in said for word in words), said
    assert len(said.splitlines()) == 1, said
    return said


@contextmanager
def without_peer_program(lab: Lab, mtu_bytes: int = 1500) -> Iterator[None]:
    """Take the program off the switch's port, so that the balancer's device cannot have native XDP."""
    port = ["ip", "-n", lab.namespace("switch"), "link", "set", "dev", "p-lb"]
    run([*port, "xdpdrv", "off"])
    run([*port, "mtu", str(mtu_bytes)])
    try:
        yield
    finally:
        run([*port, "mtu", "1500"])
        run([*port, "xdpdrv", "obj", str(object_path("pass")), "sec", "xdp"])
