"""Does the lab come up from any state, carry packets as drawn, and leave nothing behind?"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab_wire import TEST_PREFIX, eventually, socket_in
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from dsrlb.errors import DsrlbError, UsageError
from dsrlb.host.steps_state import BASE
from dsrlb.lab import build, processes, topology
from dsrlb.lab.balancer import run_dsrlb
from dsrlb.lab.client import ask
from dsrlb.lab.counters import checksum_errors, kernel_counters
from dsrlb.lab.lifecycle import down, standing, up
from dsrlb.lab.topology import CLIENT, MORE_CLIENTS, RUN_ROOT, VIP, VIP6, Lab, inside, link_bytes, run

SMALL = Lab(prefix=f"{TEST_PREFIX}x-", servers=1)

DSRLB = (sys.executable, "-m", "dsrlb")


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    yield
    down(SMALL.prefix)


def traces(prefix: str) -> list[str]:
    """Everything that a lab can leave on a machine."""
    left = [one.name for one in topology.NAMESPACES.iterdir() if one.name.startswith(prefix)]
    left += [f"process {pid}" for pid in processes.recorded(prefix)]
    directory = RUN_ROOT / prefix
    return [*left, *([str(directory)] if directory.exists() else [])]


def programs(lab: Lab) -> list[int]:
    return [
        int(word) for role in lab.roles for word in run(["ip", "netns", "pids", lab.namespace(role)]).split()
    ]


def setup_notes(lab: Lab) -> list[Path]:
    """What ``dsrlb backend setup`` noted about the lab's servers."""
    numbers = [(topology.NAMESPACES / lab.namespace(name)).stat().st_ino for name in lab.server_names]
    return [note for note in (BASE / f"netns-{number}" for number in numbers) if note.is_dir()]


def lives(pid: int) -> bool:
    """Whether a process still runs; one that nobody has collected yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_every_server_answers_at_its_own_address_in_both_families(lab: Lab) -> None:
    for version in (4, 6):
        for name, address in zip(lab.server_names, lab.server_addresses(version), strict=True):
            answers = ask(lab, "requests", host=address, count=2)
            assert answers["bodies"] == [f"{name} {lab.address('client', version)}\n"] * 2
            assert ask(lab, "echo", host=address, count=2)["servers"] == [name, name]


def test_the_client_chooses_its_source_address(lab: Lab) -> None:
    for source in (CLIENT, MORE_CLIENTS[3]):
        answers = ask(lab, "requests", host=lab.server_addresses()[0], count=1, source=source)
        assert answers["bodies"] == [f"rs1 {source}\n"]


def test_an_upload_and_a_download_arrive_intact(lab: Lab) -> None:
    server = lab.server_addresses()[1]
    upload = ask(lab, "upload", host=server, size_bytes=3_000_001)
    assert (upload["server"], upload["bytes"]) == ("rs2", 3_000_001)
    assert upload["sent"] == upload["received"]
    download = ask(lab, "download", host=server, size_bytes=3_000_001)
    assert (download["server"], download["bytes"], download["intact"]) == ("rs2", 3_000_001, True)


def test_a_download_with_a_rate_takes_its_time(lab: Lab) -> None:
    answer = ask(lab, "download", host=lab.server_addresses()[0], size_bytes=300_000, rate=1_000_000)
    assert answer["intact"]
    assert answer["seconds"] > 0.25


def test_files_are_served_whole(lab: Lab) -> None:
    answers = ask(lab, "requests", host=lab.server_addresses()[2], count=3, path="/file/1m")
    assert (answers["servers"], answers["bytes"]) == (["rs3"] * 3, 3 << 20)


def test_nobody_answers_for_the_vip_while_no_balancer_runs(lab: Lab) -> None:
    for vip in (VIP, VIP6):
        answers = ask(lab, "requests", host=vip, count=1, timeout_s=1)
        assert answers["servers"] == [None]
        assert len(answers["errors"]) == 1


def test_the_counters_of_an_interface_see_what_crosses_it(lab: Lab) -> None:
    before = link_bytes(lab, "rs1")
    ask(lab, "requests", host=lab.server_addresses()[0], count=1, path="/file/1m")
    assert (link_bytes(lab, "rs1") - before).sent > 1 << 20


def test_a_node_counts_what_it_gets_under_the_names_of_nstat(lab: Lab) -> None:
    before = kernel_counters(lab, "rs2")
    ask(lab, "echo", host=lab.server_addresses()[1], count=5)
    ask(lab, "echo", host=lab.server_addresses(6)[1], count=7)
    grew = kernel_counters(lab, "rs2") - before
    assert (grew["UdpInDatagrams"], grew["Udp6InDatagrams"]) == (5, 7)
    assert checksum_errors(grew) == {}
    shown = run(inside(lab.namespace("rs2"), "env", "NSTAT_HISTORY=/dev/null", "nstat", "-asz", "--json"))
    assert set(json.loads(shown)["kernel"]) <= set(kernel_counters(lab, "rs2"))


@pytest.mark.parametrize("version", [4, 6])
def test_a_wrong_checksum_is_counted(lab: Lab, version: int) -> None:
    client, server = (str(lab.address(role, version)) for role in ("client", "rs1"))
    header = IP(src=client, dst=server) if version == 4 else IPv6(src=client, dst=server)
    udp = Ether(src=lab.mac("router"), dst=lab.mac("rs1")) / header / UDP(dport=5353, chksum=0xBAD) / b"x"
    before = kernel_counters(lab, "rs1")
    with socket_in(lab, "router") as wire:
        wire.bind(("e0", 0))
        wire.send(bytes(udp))
    assert eventually(lambda: checksum_errors(kernel_counters(lab, "rs1") - before), 10)
    name = "UdpInCsumErrors" if version == 4 else "Udp6InCsumErrors"
    assert checksum_errors(kernel_counters(lab, "rs1") - before) == {name: 1}


def test_up_and_down_leave_nothing_behind() -> None:
    with standing(SMALL):
        inmates, notes = programs(SMALL), setup_notes(SMALL)
        assert len(inmates) >= 1
        assert len(notes) == 1
    assert traces(SMALL.prefix) == []
    assert not any(note.exists() for note in notes)
    assert not any(map(lives, inmates))


def test_up_over_a_standing_lab_replaces_it() -> None:
    up(SMALL)
    before = programs(SMALL)
    up(Lab(prefix=SMALL.prefix, servers=2))
    assert not any(map(lives, before))
    assert len(build.present(SMALL.prefix)) == 6


def test_up_after_half_a_lab_succeeds() -> None:
    for role in ("router", "rs7"):
        run(["ip", "netns", "add", SMALL.namespace(role)])
    (SMALL.run_directory).mkdir(parents=True)
    with standing(SMALL):
        assert ask(SMALL, "requests", host=SMALL.server_addresses()[0], count=1)["errors"] == []
    assert traces(SMALL.prefix) == []


def test_the_servers_are_real_servers_by_the_products_own_account() -> None:
    with standing(SMALL):
        verify = ("backend", "verify", "--mode", "l2dsr", "--vip", str(VIP), "--vip", str(VIP6))
        done = run_dsrlb(SMALL, "rs1", *verify)
    assert done.returncode == 0, done.stdout + done.stderr


def test_down_finds_what_is_left_when_the_namespaces_were_deleted_by_hand() -> None:
    up(SMALL)
    inmates, notes = programs(SMALL), setup_notes(SMALL)
    assert len(notes) == 1
    for namespace in build.present(SMALL.prefix):
        run(["ip", "netns", "del", namespace])
    down(SMALL.prefix)
    assert not any(map(lives, inmates))
    assert not any(note.exists() for note in notes)
    assert traces(SMALL.prefix) == []


def test_down_works_when_the_programs_are_dead_already() -> None:
    up(SMALL)
    inmates = programs(SMALL)
    for pid in inmates:
        os.kill(pid, signal.SIGKILL)
    processes.wait_gone(inmates, 30)
    down(SMALL.prefix)
    assert traces(SMALL.prefix) == []


def test_down_works_when_the_run_directory_is_gone_and_a_program_ignores_sigterm() -> None:
    up(SMALL)
    stubborn = processes.start(
        SMALL, "client", ["sh", "-c", "trap '' TERM; echo set; cat /dev/zero"], "stubborn"
    )
    run(["rm", "-r", str(SMALL.run_directory)])
    down(SMALL.prefix)
    assert stubborn.wait(30) == -signal.SIGKILL
    assert traces(SMALL.prefix) == []


def test_down_spares_a_process_that_only_has_a_recorded_number() -> None:
    bystander = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        SMALL.run_directory.mkdir(parents=True)
        (SMALL.run_directory / f"{bystander.pid}.pid").write_text("1\n")  # began long before it did
        down(SMALL.prefix)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_down_spares_a_namespace_that_only_begins_alike() -> None:
    other = f"{SMALL.prefix}lb-of-someone-else"
    subprocess.run(["ip", "netns", "del", other], capture_output=True, check=False)  # of a killed run
    run(["ip", "netns", "add", other])
    try:
        up(SMALL)
        down(SMALL.prefix)
        assert (topology.NAMESPACES / other).exists()
    finally:
        run(["ip", "netns", "del", other])


def test_down_of_nothing_is_fine() -> None:
    down(SMALL.prefix)
    assert traces(SMALL.prefix) == []


def test_a_lab_that_cannot_be_built_leaves_nothing_behind() -> None:
    with pytest.raises(DsrlbError, match="ip -batch"):
        up(Lab(prefix=SMALL.prefix, servers=1, mtu_bytes=70_000))
    assert traces(SMALL.prefix) == []


def test_a_lab_may_have_ten_servers_small_packets_and_no_offloads() -> None:
    wide = Lab(prefix=SMALL.prefix, servers=10, mtu_bytes=1400, client_mtu_bytes=1300, offloads=False)
    with standing(wide):
        answers = ask(wide, "requests", host=wide.server_addresses()[9], count=1, path="/file/64k")
        assert (answers["servers"], answers["bytes"]) == (["rs10"], 64 << 10)
        features = run(inside(wide.namespace("client"), "ethtool", "-k", "c0"))
        assert "tx-checksumming: off" in features
        assert "mtu 1300" in run(["ip", "-n", wide.namespace("router"), "link", "show", "c1"])


@pytest.mark.parametrize("prefix", ["", "Lab", "a/b", "..", "-x", "x" * 30])
def test_a_prefix_that_could_name_other_things_is_refused(prefix: str) -> None:
    with pytest.raises(UsageError, match="prefix"):
        Lab(prefix=prefix)


def test_up_prints_lines_that_work_and_down_takes_it_away() -> None:
    command = ["--prefix", SMALL.prefix]
    done = subprocess.run(
        [*DSRLB, "lab", "up", "--servers", "2", *command], capture_output=True, text=True, check=True
    )
    assert f"{SMALL.prefix}rs2" in done.stdout
    assert f"ip netns exec {SMALL.prefix}client curl http://{VIP}/" in done.stdout
    assert f"--backend {SMALL.server_addresses()[0]} --backend" in done.stdout
    subprocess.run([*DSRLB, "lab", "down", *command], check=True)
    assert traces(SMALL.prefix) == []
