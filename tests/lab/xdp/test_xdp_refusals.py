"""Does the XDP engine say what keeps it from its work, and take nothing from others?"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from lab_reload import DEADLINE_S
from lab_running import RS1, RS2, RS3, Serve, to
from lab_xdp import detach, instances, there, xdp

from dsrlb.bpf.objects import object_path
from dsrlb.lab.topology import Lab, run

SERVERS = (RS1, RS2, RS3)


def refused(serve: Serve, code: int, *words: str, flags: list[str]) -> str:
    """Start what must not start; return what it said, one line."""
    it = serve(flags=flags, ready=False)
    assert it.process.wait(DEADLINE_S) == code, it.stderr
    said = it.stderr
    assert all(word in said for word in words), said
    assert len(said.splitlines()) == 1, said
    return said


@contextlib.contextmanager
def another_program(lab: Lab, how: str = "xdpgeneric") -> Iterator[None]:
    """Put a program of somebody else's on the balancer's interface."""
    link = ["ip", "-n", lab.namespace("lb"), "link", "set", "dev", "e0"]
    run([*link, how, "obj", str(object_path("pass")), "sec", "xdp"])
    try:
        yield
    finally:
        run([*link, how, "off"])


@pytest.mark.parametrize("how", ["xdpgeneric", "xdpdrv"])
def test_another_program_on_the_interface_is_named_and_left_alone(how: str, lab: Lab, serve: Serve) -> None:
    with another_program(lab, how):
        said = refused(serve, 3, "e0", "dsrlb_pass", "--engine packet", flags=to(RS1, more=xdp(lab)))
        shown = run(["ip", "-n", lab.namespace("lb"), "link", "show", "e0"])
        number = shown.partition("prog/xdp id ")[2].split()[0]
        assert f"(id {number})" in said


def test_auto_takes_the_packet_engine_where_xdp_cannot_be_and_says_why(
    lab: Lab, serve: Serve, client: Any
) -> None:
    auto = [*xdp(lab), "--engine", "auto"]
    with another_program(lab):
        running = serve(flags=to(*SERVERS, more=auto))
        assert "dsrlb_pass" in running.wait_for("engine packet, since")
        assert client.requests(9)["errors"] == []
        assert running.stop() == 0
    taken = serve(flags=to(*SERVERS, more=auto))
    assert there(lab)
    assert taken.stop() == 0


def test_an_instance_that_a_process_runs_is_nobody_else_s(lab: Lab, serve: Serve) -> None:
    serve(flags=to(RS1, more=xdp(lab)))
    other = to(RS1, vip="198.18.1.101", more=xdp(lab))
    refused(serve, 3, "Instance default", "another process", "--instance", flags=other)
    assert detach(lab).returncode == 3
    said = refused(serve, 3, "e0", "another instance", flags=[*other, "--instance", "other"])
    assert "detach" in said
    assert instances(lab) == ["default"]


def test_without_a_bpf_file_system_the_line_to_mount_it_is_told(lab: Lab, serve: Serve) -> None:
    flags = to(RS1, more=["--engine", "xdp", "--bpffs", str(lab.run_directory)])
    refused(serve, 4, str(lab.run_directory), "mount -t bpf bpf", flags=flags)


def test_an_mtu_that_the_driver_cannot_have_with_xdp_is_told(lab: Lab, serve: Serve) -> None:
    port = ["ip", "-n", lab.namespace("switch"), "link", "set", "dev", "p-lb"]
    run([*port, "xdpdrv", "off"])
    run([*port, "mtu", "9000"])  # veth: what the peer may send must fit into a page
    try:
        refused(
            serve, 4, "e0", "MTU", "--xdp-mode generic", flags=to(RS1, more=xdp(lab, "--xdp-mode", "native"))
        )
        running = serve(flags=to(RS1, more=xdp(lab)))
        assert there(lab).mode == "generic"  # type: ignore[union-attr]  # or it fails
        assert running.stop() == 0
    finally:
        run([*port, "mtu", "1500"])
        run([*port, "xdpdrv", "obj", str(object_path("pass")), "sec", "xdp"])


def test_what_is_not_there_is_not_detached(lab: Lab) -> None:
    gone = detach(lab, "web")
    assert gone.returncode == 3 and "no instance web" in gone.stderr
