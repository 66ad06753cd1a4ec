"""Is an interface that cannot serve refused, for what it is?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from lab_refusals import CONFIG, USAGE, Run, flags

from dsrlb.lab.topology import Lab, run


def test_an_interface_that_does_not_exist_is_named_with_those_that_do(refused: Run) -> None:
    refused(*flags(interface="eth77")).because(CONFIG, "eth77", "e0")


def test_an_interface_without_a_name_is_refused(refused: Run) -> None:
    refused(*flags(interface="")).because(USAGE, "--interface", "no name")


@pytest.mark.parametrize("name", ["e0 ", "e0/x", "x" * 300, "e0\n", "\N{GREEK SMALL LETTER ALPHA}"])
def test_an_interface_whose_name_is_nonsense_is_refused(name: str, refused: Run) -> None:
    found = refused(*flags(interface=name))
    assert found.code == CONFIG and "interface" in found.stderr and "Traceback" not in found.stderr, found


def test_the_loopback_interface_is_refused(refused: Run) -> None:
    refused(*flags(interface="lo")).because(CONFIG, "lo", "not an Ethernet interface")


def test_an_interface_that_is_down_is_refused(lab: Lab, refused: Run, configure: Callable[..., None]) -> None:
    configure(lab.namespace("lb"), "link", "add", "d0", "type", "veth", "peer", "name", "d1")
    refused(*flags(interface="d0")).because(CONFIG, "d0", "down", "ip link set d0 up")


def test_an_interface_without_a_carrier_is_refused(
    lab: Lab, refused: Run, configure: Callable[..., None]
) -> None:
    configure(lab.namespace("lb"), "link", "add", "d0", "type", "veth", "peer", "name", "d1")
    run(["ip", "-n", lab.namespace("lb"), "link", "set", "d0", "up"])
    refused(*flags(interface="d0")).because(CONFIG, "d0", "down")


def test_a_second_interface_that_does_not_exist_is_refused(refused: Run) -> None:
    refused(*flags("--interface", "eth77")).because(CONFIG, "eth77")


def test_no_interface_and_no_default_route_is_refused(lab: Lab, refused: Run) -> None:
    line = flags()
    at = line.index("--interface")
    # The switch has no route at all.
    refused(*line[:at], *line[at + 2 :], role="switch").because(CONFIG, "no default route", "--interface")


def test_a_server_without_a_default_route_is_told_how_to_name_its_device(dsrlb: Callable[..., Any]) -> None:
    done = dsrlb(
        "backend", "setup", "--mode", "l3dsr", "--vip", "198.18.10.1", "--decap", "bpf", role="switch"
    )
    assert done.returncode == CONFIG
    assert "no default route" in done.stderr and "--device" in done.stderr
