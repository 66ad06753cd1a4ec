"""Does the XDP engine say what keeps it from its work, and take nothing from others?"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from lab_reload import Start, Write, reload, service
from lab_running import RS1, RS2, RS3, Serve, to
from lab_wire import inside
from lab_xdp import detach, instances, refused, there, without_peer_program, xdp

from dsrlb.bpf.objects import object_path
from dsrlb.host import bpf, bpf_attach, bpf_maps
from dsrlb.lab.topology import VIP, Lab, run

SERVERS = (RS1, RS2, RS3)


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
    off = {"xdpgeneric": "ip link set dev e0 xdpgeneric off", "xdpdrv": "ip link set dev e0 xdp off"}[how]
    with another_program(lab, how):
        said = refused(serve, 3, "e0", "dsrlb_pass", off, "--engine packet", flags=to(RS1, more=xdp(lab)))
        shown = run(["ip", "-n", lab.namespace("lb"), "link", "show", "e0"])
        number = shown.partition("prog/xdp id ")[2].split()[0]
        assert f"(id {number})" in said


def test_another_program_that_a_link_holds_is_named_with_its_link(lab: Lab, serve: Serve) -> None:
    with bpf.load(object_path("pass")) as opened, inside(lab.namespace("lb")):
        fd = bpf_attach.attach_xdp(socket.if_nametoindex("e0"), opened.program("dsrlb_pass").fd, "generic")
        try:
            way = f"bpftool link detach id {bpf_attach.xdp_link(fd).id}"
            refused(serve, 3, "e0", "dsrlb_pass", way, flags=to(RS1, more=xdp(lab)))
        finally:
            os.close(fd)


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
    way = "dsrlb detach --instance default"
    refused(serve, 3, "e0", "another instance", way, flags=[*other, "--instance", "other"])
    assert instances(lab) == ["default"]


def test_without_a_bpf_file_system_the_line_to_mount_it_is_told(lab: Lab, serve: Serve) -> None:
    flags = to(RS1, more=["--engine", "xdp", "--bpffs", str(lab.run_directory)])
    refused(serve, 4, str(lab.run_directory), "mount -t bpf bpf", flags=flags)


def test_an_mtu_that_the_driver_cannot_have_with_xdp_is_told(lab: Lab, serve: Serve) -> None:
    with without_peer_program(lab, mtu_bytes=9000):  # veth: what the peer may send must fit into a page
        refused(
            serve, 4, "e0", "MTU", "--xdp-mode generic", flags=to(RS1, more=xdp(lab, "--xdp-mode", "native"))
        )
        running = serve(flags=to(RS1, more=xdp(lab)))
        assert there(lab).mode == "generic"  # type: ignore[union-attr]  # or it fails
        assert running.stop() == 0


def test_the_packet_engine_is_not_started_beside_a_program_that_was_left(lab: Lab, serve: Serve) -> None:
    serve(flags=to(RS1, more=xdp(lab))).stop(signal.SIGKILL)
    packet = [*to(RS1), "--bpffs", str(lab.bpf_fs)]
    refused(serve, 3, str(VIP), "instance default", "detach", "--engine xdp", flags=packet)


def test_maps_of_another_layout_are_refused_with_the_way_out_and_stay_at_work(
    lab: Lab, serve: Serve, client: Any
) -> None:
    serve(flags=to(*SERVERS, more=xdp(lab))).stop(signal.SIGKILL)
    fd = bpf.pinned(lab.bpf_fs / "dsrlb" / "default" / "maps" / "setup")
    assert fd is not None
    try:
        setup = bpf_maps.map_of(fd)
        value = bpf_maps.lookup(setup, bytes(4)) or b""
        bpf_maps.update(setup, bytes(4), struct.pack("=I", 99) + value[4:])
    finally:
        os.close(fd)
    before = there(lab)
    for engine in ("xdp", "auto"):
        refused(
            serve, 4, "another layout", "dsrlb detach", flags=to(RS1, more=[*xdp(lab), "--engine", engine])
        )
    assert there(lab) == before
    assert client.requests(9)["errors"] == []


def test_a_flow_table_that_is_smaller_than_what_is_asked_is_refused(lab: Lab, serve: Serve) -> None:
    serve(flags=to(RS1, more=xdp(lab, "--max-flows", "10000"))).stop(signal.SIGKILL)
    refused(
        serve, 4, "flow table", "16384", "dsrlb detach", flags=to(RS1, more=xdp(lab, "--max-flows", "200000"))
    )
    assert serve(flags=to(RS1, more=xdp(lab))).stop() == 0  # what is there is enough where nothing is asked


def test_a_reload_to_more_backends_than_the_maps_hold_is_refused_and_changes_nothing(
    lab: Lab, start: Start, write: Write, client: Any
) -> None:
    write(service(*SERVERS))
    running = start()
    many = [f"198.18.1.{number}" for number in range(101, 231)]
    write(service(*SERVERS, *many), service(*SERVERS, *many, port=81))
    said = reload(running, "reload refused")
    assert "255 backends" in said and "dsrlb detach" in said
    assert client.requests(9)["errors"] == []
    assert running.stop() == 0


def test_a_reload_to_more_slots_than_the_maps_hold_is_refused_and_changes_nothing(
    lab: Lab, start: Start, write: Write, client: Any
) -> None:
    write(service(*SERVERS))
    running = start()
    write(
        service(*SERVERS), *(service(*SERVERS, port=port, scheduler="maglev") for port in range(1000, 1032))
    )
    said = reload(running, "reload refused")
    assert "lines of slots" in said and "dsrlb detach" in said
    assert client.requests(9)["errors"] == []
    assert running.stop() == 0


def test_what_is_not_there_is_not_detached(lab: Lab) -> None:
    gone = detach(lab, "web")
    assert gone.returncode == 3 and "no instance web" in gone.stderr
