"""The engine that a lab test's balancer has.

``pytest tests/lab`` runs every test on the packet engine, and those marked ``both_engines`` on the XDP
engine as well, in the driver and behind it.  ``pytest tests/lab --engine xdp --xdp-mode native`` runs all
of them on that one alone, but for those that speak of the other: ``only_engine("packet", reason="…")``.
``both_engines(version=[4], xdp_mode=["native"])`` is a choice of the parameters, for XDP.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from lab_xdp import detach, instances, is_bare

from dsrlb.lab import xdp
from dsrlb.lab.topology import Lab

BOTH, ONLY = "both_engines", "only_engine"


@dataclass(frozen=True)
class Engine:
    """An engine, and for XDP where in the kernel its program is."""

    name: str = "packet"
    xdp_mode: str = "auto"

    def __str__(self) -> str:
        return self.name if self.xdp_mode == "auto" else f"{self.name} {self.xdp_mode}"

    def flags(self, lab: Lab) -> list[str]:
        """Return what chooses it, as flags of ``dsrlb serve``."""
        return xdp.flags(lab, "--xdp-mode", self.xdp_mode) if self.name == "xdp" else []

    @contextmanager
    def at_hand(self, lab: Lab) -> Iterator[None]:
        """Make the lab ready for it, and take away what balancers that were killed have left at work."""
        if self.name == "packet" or lab.xdp:
            yield
            return
        with xdp.ready(lab):
            yield
            for instance in instances(lab):
                detach(lab, instance)
            assert is_bare(lab)


PACKET = Engine()
EACH = (PACKET, Engine("xdp", "native"), Engine("xdp", "generic"))


def chosen(config: pytest.Config) -> Engine | None:
    """Return the engine of the command line, if there is one."""
    name = config.getoption("--engine")
    return Engine(name, config.getoption("--xdp-mode")) if name else None


def engines_of(item: pytest.Function | pytest.FunctionDefinition, config: pytest.Config) -> list[Engine]:
    """Return the engines that a test runs on."""
    only, one = item.get_closest_marker(ONLY), chosen(config)
    wanted = [one] if one else list(EACH) if item.get_closest_marker(BOTH) else [PACKET]
    return [engine for engine in wanted if only is None or engine.name == only.args[0]]


def is_wanted(item: pytest.Item, config: pytest.Config) -> bool:
    """Return whether a test is to run with its parameters: on XDP a choice of them, if it is on both."""
    if not isinstance(item, pytest.Function):
        return True
    marker = item.get_closest_marker(BOTH)
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    engine = parameters.get("engine", PACKET)
    if marker is None or engine == PACKET or chosen(config):
        return bool(engines_of(item, config))
    given = {**parameters, "xdp_mode": engine.xdp_mode}
    return all(given[name] in among for name, among in marker.kwargs.items())
