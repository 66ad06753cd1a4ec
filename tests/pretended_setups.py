"""Setups of every kind for a pretended machine, and the lines that are planned for one."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from pretended_machine import World

from dsrlb.host import steps

VIP = ip_address("198.18.0.10")
SECOND = ip_address("198.18.0.11")
VIP6 = ip_address("2001:db8::10")
SETUPS: dict[str, dict[str, Any]] = {
    "l2dsr": {"mode": "l2dsr"},
    "l3dsr by the kernel": {"mode": "l3dsr"},
    "l3dsr by the kernel, IPv4 outside": {"mode": "l3dsr", "outer": (4,)},
    "l3dsr by a program": {"mode": "l3dsr", "decap": "bpf", "device": "e0"},
    "l3dsr, for some clients": {
        "mode": "l3dsr",
        "decap": "bpf",
        "device": "e0",
        "networks": ("198.18.7.0/24",),
    },
    "inline": {"mode": "inline", "gateway": ip_address("198.18.0.7")},
}
every_setup = pytest.mark.parametrize("chosen", SETUPS.values(), ids=SETUPS)


def vips_of(chosen: dict[str, Any]) -> tuple[steps.Address, ...]:
    return (VIP, SECOND) if chosen["mode"] == "inline" else (VIP, VIP6)  # a gateway has one IP version


def own(chosen: dict[str, Any]) -> dict[str, str]:
    return {"mode": chosen["mode"]}


def lines(world: World, *vips: steps.Address, **chosen: Any) -> list[str]:
    return [steps.command(step) for step in steps.plan(world.wanted(*vips, **chosen))]
