"""Is the lab of every mode the network that its picture shows, and does it show its mode at work?"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab_wire import TEST_PREFIX, eventually, socket_in
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from dsrlb.lab import build
from dsrlb.lab.client import ask
from dsrlb.lab.lifecycle import down, standing, up
from dsrlb.lab.topologies import TOPOLOGIES
from dsrlb.lab.topology import Lab, link_bytes, run

PREFIX = f"{TEST_PREFIX}m-"
MODES = [one.mode for one in TOPOLOGIES if not one.forwards]  # tiers: test_two_tier.py
each_mode = pytest.mark.parametrize("mode", MODES)
LAYOUTS = [{"mode": "l2dsr"}, {"mode": "l3dsr"}, {"mode": "inline"}, {"mode": "inline", "one_armed": True}]


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    yield
    down(PREFIX)
    assert build.present(PREFIX) == []


def dsrlb(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dsrlb", "lab", *words, "--prefix", PREFIX]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda one: "-".join(map(str, one.values())))
def test_every_server_is_at_its_address_behind_links_of_the_width_that_was_asked_for(
    layout: dict[str, object],
) -> None:
    wanted = Lab(prefix=PREFIX, narrow_links=(("rs2", 1400),), lb_forwards=True, **layout)
    with standing(wanted) as lab:
        for version in (4, 6):
            for name, address in zip(lab.server_names, lab.server_addresses(version), strict=True):
                assert ask(lab, "requests", host=address, count=1, path="/file/64k")["servers"] == [name]
        for cable in lab.network.cables:
            for end in (cable.one, cable.other):
                shown = run(["ip", "-n", lab.namespace(end.role), "link", "show", end.device])
                assert f" mtu {1400 if 'rs2' in (cable.one.role, cable.other.role) else 1500} " in shown


def frames_to(lab: Lab, version: int) -> list[Ether]:
    """What arrives at the balancer when the client sends a datagram to the VIP; the VIP is nobody's else."""
    vip, kind = lab.vips[version == 6], IP if version == 4 else IPv6
    with socket_in(lab, "lb") as wire:
        wire.bind(("e0", 3))
        wire.setblocking(False)
        ask(lab, "knock", host=vip, port=9, timeout_s=0.2)
        seen: list[Ether] = []

        def arrived() -> bool:
            try:
                seen.append(Ether(wire.recv(2000)))
            except BlockingIOError:
                return False
            return any(frame.haslayer(kind) and frame[kind].dst == str(vip) for frame in seen)

        assert eventually(arrived, 10)
    return [frame for frame in seen if frame.haslayer(kind) and frame[kind].dst == str(vip)]


def test_the_router_brings_a_routed_vip_to_the_balancer_whose_own_address_it_asks_for() -> None:
    with standing(Lab(prefix=PREFIX, servers=1, mode="l3dsr")) as lab:
        for version in (4, 6):
            [frame] = frames_to(lab, version)
            assert (frame.src, frame.dst) == (lab.mac("router"), lab.mac("lb"))
            assert frame[UDP].dport == 9
            known = run(
                ["ip", "-n", lab.namespace("router"), "neighbour", "show", str(lab.vips[version == 6])]
            )
            assert known == ""


@pytest.mark.parametrize(("mode", "served_by"), [*((mode, "packet") for mode in MODES), ("l2dsr", "xdp")])
def test_the_demonstration_loses_nothing_and_says_by_which_way_the_answers_went(
    mode: str, served_by: str
) -> None:
    done = dsrlb("demo", "--mode", mode, "--engine", served_by)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "requests answered        300 of 300" in done.stdout
    assert "rs1 100 (33.3%)   rs2 100 (33.3%)   rs3 100 (33.3%)" in done.stdout
    [percent] = re.findall(r"\(([\d.]+)% of the servers' bytes\)", done.stdout)
    if mode == "inline":
        assert "all bytes crossed it" in done.stdout
        assert float(percent) > 95
    else:
        assert "Direct Server Return" in done.stdout
        assert float(percent) < 10
    assert build.present(PREFIX) == []


@pytest.mark.parametrize(("mode", "served_by"), [*((mode, "packet") for mode in MODES), ("l3dsr", "xdp")])
def test_up_prints_lines_that_balance_and_down_removes_it_whatever_its_mode(
    mode: str, served_by: str
) -> None:
    done = dsrlb("up", "--mode", mode, "--servers", "2", "--engine", served_by)
    assert done.returncode == 0, done.stderr
    lab = Lab(prefix=PREFIX, servers=2, mode=mode)
    vip = lab.vips[0]
    [serve] = re.findall(rf"^sudo (ip netns exec \S+-lb .* serve .*--vip {vip}:80 .*)$", done.stdout, re.M)
    [curl] = re.findall(rf"^sudo (ip netns exec \S+ curl http://{vip}/)$", done.stdout, re.M)
    balancer = subprocess.Popen(serve.split(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        assert balancer.stderr is not None
        assert any("ready" in line for line in balancer.stderr)
        for name in ("rs1", "rs2"):
            answer = subprocess.run(curl.split(), capture_output=True, text=True, check=True)
            assert answer.stdout.startswith(name)
    finally:
        balancer.terminate()
        balancer.communicate()
    assert dsrlb("down").returncode == 0
    assert build.present(PREFIX) == []


@each_mode
def test_a_lab_of_one_mode_replaces_one_of_another(mode: str) -> None:
    up(Lab(prefix=PREFIX, mode=mode))
    other = MODES[(MODES.index(mode) + 1) % len(MODES)]
    up(Lab(prefix=PREFIX, mode=other, servers=1))
    lab = Lab(prefix=PREFIX, mode=other, servers=1)
    assert build.present(PREFIX) == sorted(map(lab.namespace, lab.roles))
    assert link_bytes(lab, "lb").received >= 0


def test_the_python_lines_of_the_document_do_what_they_say() -> None:
    page = (Path(__file__).parents[2] / "docs/lab.md").read_text()
    [block] = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    mine = block.replace("Lab(", f"Lab(prefix={PREFIX!r}, ")
    done = subprocess.run([sys.executable, "-c", mine], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    upload, wrong = done.stdout.splitlines()
    assert "'bytes': 20000000" in upload
    assert wrong == "{}"
