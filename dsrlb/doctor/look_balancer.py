"""Looks at the balancer itself."""

from __future__ import annotations

from collections.abc import Iterator

from dsrlb.doctor.facts_kernel import kernel_facts
from dsrlb.doctor.finding import Finding
from dsrlb.doctor.judge_kernel import judge_kernel
from dsrlb.doctor.scene import Scene


def kernel(scene: Scene) -> Iterator[Finding]:
    """Yield what this host's kernel can and may."""
    versions = frozenset(one.vip.version for one in scene.config.forwarded)
    yield from judge_kernel(kernel_facts(scene), versions)
