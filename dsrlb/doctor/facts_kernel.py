"""What this host's kernel can, and what dsrlb may do with it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pyroute2 import IPRoute

from dsrlb.doctor.scene import Scene
from dsrlb.errors import DsrlbError
from dsrlb.host import bpf, libbpf
from dsrlb.host.jit import compiled_bytes
from dsrlb.host.policy_rules import families
from dsrlb.host.privileges import missing
from dsrlb.host.probe_path import TUN


@dataclass(frozen=True)
class KernelFacts:
    """The kernel, as far as serving stands on it."""

    release: str
    wants_xdp: bool  # the engine in the kernel is at work, or asked for
    checks: bool  # servers are checked at their VIPs, which takes a tun device
    rule_families: frozenset[int]  # families with policy rules, by number of IP version
    has_tun: bool
    why_no_bpf: str  # empty: a BPF file system and libbpf are there
    jit_bytes: int | None  # of machine code, which a small program was compiled to; None: it was not taken
    lacking: tuple[str, ...]  # capabilities
    whose: str  # of which process those are


def kernel_facts(scene: Scene) -> KernelFacts:
    """Ask this host."""
    pid = scene.running.engine.get("pid") if scene.running is not None else None
    pid = pid if pid is not None and Path("/proc", str(pid)).exists() else None  # else of another container
    wants_xdp = scene.wants_xdp
    return KernelFacts(
        release=os.uname().release,
        wants_xdp=wants_xdp,
        checks=any(
            check is not None and not check.direct
            for service in scene.config.forwarded
            for check in (service.check, *(one.check for one in service.backends))
        ),
        rule_families=_rule_families(),
        has_tun=Path(TUN).exists(),
        why_no_bpf=_why_no_bpf(Path(scene.config.engine.bpf_fs)) if pid is None else "",  # else it is at work
        jit_bytes=_jit_bytes(),
        lacking=tuple(missing(pid, bpf=wants_xdp)),
        whose="dsrlb serve" if pid is not None else "dsrlb, as it would be started from here,",
    )


def _rule_families() -> frozenset[int]:
    with IPRoute() as ipr:
        return frozenset({2: 4, 10: 6}[family] for family in families(ipr))  # linux/socket.h, AF_*


def _why_no_bpf(bpf_fs: Path) -> str:
    try:
        libbpf.library()
        bpf.need_bpf_fs(bpf_fs)
    except DsrlbError as error:
        return str(error)
    return ""


def _jit_bytes() -> int | None:
    try:
        return compiled_bytes()
    except DsrlbError:
        return None
