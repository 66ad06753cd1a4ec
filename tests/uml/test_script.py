"""Do ``scripts/backend-setup`` and dsrlb do the same with real tunnel devices, and undo each other's work?"""

from __future__ import annotations

import pytest
from uml_machine import TUNNELS, Machine, have_tunnels, snapshot, tool

from dsrlb.lab.topology import Lab


@pytest.fixture
def words(lab: Lab) -> list[str]:
    return ["--mode", "l3dsr", *(word for vip in lab.vips for word in ("--vip", str(vip)))]


@pytest.mark.parametrize(("one", "other"), [("sh", "python"), ("python", "sh")])
def test_either_verifies_and_undoes_what_the_other_set_up_byte_for_byte(
    machine: Machine, words: list[str], one: str, other: str
) -> None:
    have_tunnels(machine)
    before = snapshot(machine)
    tool(machine, one, "setup", *words)
    assert "missing" not in tool(machine, other, "verify", *words)
    tool(machine, other, "undo", *words)
    assert snapshot(machine) == before


def test_a_kernel_is_given_the_modules_that_it_lacks_and_keeps_them(
    machine: Machine, words: list[str]
) -> None:
    machine.run("modprobe", "-r", "-a", *TUNNELS.values())
    said = tool(machine, "python", "setup", *words)
    assert all(f"done     modprobe {module}" in said for module in TUNNELS.values())
    tool(machine, "python", "verify", *words)
    said = tool(machine, "python", "undo", *words)
    assert all(f"kept     module {module}: others may use it by now" in said for module in TUNNELS.values())
