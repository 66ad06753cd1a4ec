"""Is what was left at work kept whole, whoever starts or stops beside it; and can it be taken away?"""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from lab_reload import DEADLINE_S, Write, reload, service
from lab_running import RS1, RS2, RS3, Serve, ours, to
from lab_wire import inside
from lab_xdp import detach, instances, is_bare, refused, there, without_peer_program, xdp

from dsrlb.engines.xdp.pins import Pins
from dsrlb.host import bpf, bpf_attach
from dsrlb.lab.topology import VIP, Lab, run

SERVERS = (RS1, RS2, RS3)
OTHER_VIP = "198.18.1.101"
NOBODY = "198.18.1.250"


def leave(serve: Serve, lab: Lab, *more: str, interfaces: tuple[str, ...] = ("e0",)) -> None:
    """Leave a program at work for the VIP that no process runs."""
    left = serve(flags=to(*SERVERS, interfaces=interfaces, more=xdp(lab, "--on-exit", "keep", *more)))
    assert left.stop() == 0
    assert there(lab) and str(VIP) in ours(lab)


def packet(lab: Lab, vip: object) -> list[str]:
    return to(*SERVERS, vip=vip, more=["--bpffs", str(lab.bpf_fs)])


def program_on(lab: Lab, device: str) -> bool:
    return "prog/xdp" in run(["ip", "-n", lab.namespace("lb"), "link", "show", device])


def test_a_start_in_a_mode_that_cannot_be_puts_the_program_back(lab: Lab, serve: Serve, client: Any) -> None:
    leave(serve, lab, "--xdp-mode", "generic")
    with without_peer_program(lab, mtu_bytes=9000):
        refused(serve, 4, "e0", "MTU", flags=to(*SERVERS, more=xdp(lab, "--xdp-mode", "native")))
        left = there(lab)
        assert left and left.mode == "generic"
        assert client.requests(9)["errors"] == []


def test_a_start_that_nobody_answers_leaves_the_rules_of_what_is_at_work(lab: Lab, serve: Serve) -> None:
    leave(serve, lab)
    before = ours(lab)
    refused(serve, 3, NOBODY, flags=to(NOBODY, more=xdp(lab)))
    assert there(lab) and ours(lab) == before


def test_rules_of_what_is_at_work_stay_when_others_start_stop_and_are_detached(
    lab: Lab, serve: Serve
) -> None:
    leave(serve, lab)
    before = ours(lab)
    beside = serve(flags=packet(lab, OTHER_VIP))
    assert set(before.splitlines()) < set(ours(lab).splitlines())
    assert beside.stop() == 0
    assert ours(lab) == before
    (lab.bpf_fs / "dsrlb" / "other").mkdir()
    assert detach(lab, "other").returncode == 0
    assert ours(lab) == before


def test_answers_of_inline_servers_stay_guarded_too(lab: Lab, serve: Serve) -> None:
    flags = to(RS1, more=xdp(lab, "--on-exit", "keep", "--force"))
    flags[flags.index("l2dsr")] = "inline"
    assert serve(flags=flags).stop() == 0
    before = ours(lab)
    assert "sport 80" in before
    assert serve(flags=packet(lab, OTHER_VIP)).stop() == 0
    assert ours(lab) == before


def test_a_start_with_another_vip_takes_the_rules_of_the_former_one_back(lab: Lab, serve: Serve) -> None:
    leave(serve, lab)
    running = serve(flags=to(*SERVERS, vip=OTHER_VIP, more=xdp(lab)))
    assert OTHER_VIP in ours(lab) and f"to {VIP} " not in ours(lab)
    assert running.stop() == 0


def test_auto_starts_no_packet_engine_beside_another_instance_that_serves_the_vip(
    lab: Lab, serve: Serve, client: Any
) -> None:
    leave(serve, lab)
    flags = to(*SERVERS, more=xdp(lab, "--engine", "auto", "--instance", "other"))
    refused(serve, 3, str(VIP), "instance default", "dsrlb detach", flags=flags)
    assert client.requests(9)["errors"] == []


def test_a_reload_of_the_packet_engine_takes_no_vip_that_such_a_program_serves(
    lab: Lab, serve: Serve, write: Write, tmp_path: Path
) -> None:
    leave(serve, lab)
    write(service(*SERVERS, vip=OTHER_VIP))
    running = serve(flags=["--config", str(tmp_path / "dsrlb.toml"), "--bpffs", str(lab.bpf_fs)])
    write(service(*SERVERS, vip=OTHER_VIP), service(*SERVERS))
    assert "instance default" in reload(running, "reload refused")
    assert running.stop() == 0
    assert str(VIP) in ours(lab)


def in_another_namespace(lab: Lab) -> None:
    """Let what is left look as if it were of another network namespace."""
    (mark,) = (lab.bpf_fs / "dsrlb" / "default").glob("netns_*")
    mark.rmdir()
    mark.with_name("netns_1").mkdir()


def end_links(lab: Lab) -> None:
    """End the links that are left, as they end with their interfaces."""
    for pinned in (lab.bpf_fs / "dsrlb" / "default" / "links").iterdir():
        fd = bpf.pinned(pinned)
        assert fd is not None
        bpf_attach.end_link(fd)
        os.close(fd)


def test_what_is_at_work_in_another_namespace_is_left_alone_with_the_way_there(
    lab: Lab, serve: Serve
) -> None:
    leave(serve, lab)
    in_another_namespace(lab)
    said = detach(lab)
    assert said.returncode == 3 and "ip netns exec" in said.stderr
    refused(serve, 3, "another network namespace", flags=to(*SERVERS, more=xdp(lab)))
    end_links(lab)


@pytest.mark.parametrize("how", ["detach", "adopt"])
def test_what_lost_its_interfaces_with_their_namespace_can_be_taken(
    how: str, lab: Lab, serve: Serve, client: Any
) -> None:
    leave(serve, lab)
    in_another_namespace(lab)
    end_links(lab)
    if how == "detach":
        assert detach(lab).returncode == 0
    else:
        running = serve(flags=to(*SERVERS, more=xdp(lab)))
        assert client.requests(9)["errors"] == []
        assert running.stop() == 0
    assert is_bare(lab)


def test_a_program_whose_pins_are_out_of_reach_is_taken_off_all_the_same(lab: Lab, serve: Serve) -> None:
    running = serve(flags=to(*SERVERS, more=xdp(lab)))
    its_mounts = ["nsenter", "--mount", "--target", str(running.process.pid)]  # it has its own: ip netns exec
    run([*its_mounts, "umount", "--lazy", str(lab.bpf_fs)])
    assert running.stop() == 0
    assert "Traceback" not in running.stderr
    assert not program_on(lab, "e0")


def test_a_start_on_fewer_interfaces_takes_the_program_off_the_others(lab: Lab, serve: Serve) -> None:
    lb = ["ip", "-n", lab.namespace("lb"), "link"]
    run([*lb, "add", "d0", "type", "veth", "peer", "name", "d1"])
    try:
        run([*lb, "set", "d0", "up"])
        run([*lb, "set", "d1", "up"])
        leave(serve, lab, "--xdp-mode", "generic", interfaces=("e0", "d0"))
        assert program_on(lab, "d0")
        running = serve(flags=to(*SERVERS, more=xdp(lab)))
        assert program_on(lab, "e0") and not program_on(lab, "d0")
        assert running.stop() == 0
    finally:
        run([*lb, "del", "d0"])


def test_a_lock_that_somebody_has_for_a_moment_refuses_nobody(lab: Lab) -> None:
    (lab.bpf_fs / "dsrlb" / "default").mkdir(parents=True)
    looking = os.open(lab.bpf_fs / "dsrlb" / "default", os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    release = threading.Timer(0.05, os.close, [looking])
    release.start()
    with inside(lab.namespace("lb")):
        held = Pins(lab.bpf_fs, "default")
    held.remove()
    held.close()
    release.join(DEADLINE_S)
    assert instances(lab) == []
