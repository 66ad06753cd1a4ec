"""Do real servers become what the balancer's file says, by a real ssh, and are they left as they were?"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab_far import (
    ADDRESSES,
    BALANCER,
    ROOT,
    SERVERS,
    SSHD,
    Farm,
    dsrlb,
    dsrlb_command,
    farm,
    namespace,
    standing,
)
from lab_server import DEADLINE_S
from lab_wire import eventually

from dsrlb.host.steps_state import BASE

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="root is missing: network namespaces need it"),
    pytest.mark.skipif(not Path(SSHD).exists(), reason="sshd is missing: install openssh-server"),
]

WAITER = Path("/lib/systemd/systemd-networkd-wait-online")
PASSWORD = "PasswordAuthentication=yes"
VIPS = ("198.18.1.100:80", "198.18.1.101:53/udp", "[2001:db8:1::100]:80")


def service(mode: str, vip: str, *names: str, more: str = "") -> str:
    version = 6 if vip.startswith("[") else 4
    lines = [f'[[service]]\nvip = "{vip}"\nmode = "{mode}"\n{more}']
    for name in names:
        address = ADDRESSES[name] if version == 4 else f"2001:db8:1::1{name[-1]}"
        lines.append(f'[[service.backend]]\nname = "{name}"\naddress = "{address}"\n')
    return "".join(lines)


QUIET = "".join(service("l2dsr", vip, *SERVERS) for vip in VIPS[:2])
MIXED = (
    "".join(service("l2dsr", vip, "web1") for vip in VIPS)
    + service("inline", "198.18.1.102:80", "web2")
    + service("l3dsr", "198.18.1.103:80", "web3", more='encap = "gue"\n')
)


@pytest.fixture(scope="module")
def standing_farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    with farm(tmp_path_factory.mktemp("farm")) as servers:
        yield servers


@pytest.fixture
def servers(standing_farm: Farm) -> Iterator[Farm]:
    yield standing_farm
    for name in SERVERS:
        for program in (standing_farm.folder / name / "bin").iterdir():
            program.unlink()


@pytest.fixture
def mixed(tmp_path: Path) -> str:
    return written(tmp_path, MIXED)


@pytest.fixture
def quiet(tmp_path: Path) -> str:
    return written(tmp_path, QUIET)


def written(folder: Path, text: str) -> str:
    path = folder / "dsrlb.toml"
    path.write_text(text)
    return str(path)


def states(said: str) -> dict[str, str]:
    """How each server is left, by the table at the end."""
    found = re.findall(r"^(web[0-9]) +\S+ +\S+ +(\S+(?: \S+)*?)(?:  .*)?$", said, re.MULTILINE)
    return dict(found)


def test_servers_of_three_modes_are_set_up_verified_and_left_as_they_were(servers: Farm, mixed: str) -> None:
    servers.put("web3", "dsrlb", dsrlb_command())
    before = servers.snapshots()
    planned = dsrlb("setup", "--config", mixed, "--plan", "--boot", "systemd")
    assert states(planned) == dict.fromkeys(SERVERS, "planned")
    assert "ip -4 route replace default via 198.18.1.10" in planned
    assert servers.snapshots() == before
    assert states(dsrlb("setup", "--config", mixed, "--boot", "systemd")) == dict.fromkeys(SERVERS, "set up")
    after = servers.snapshots()
    assert "default via 198.18.1.10 dev e0" in servers.on("web2", "ip", "route")
    again = dsrlb("setup", "--config", mixed, "--boot", "systemd")
    assert "  done " not in again and servers.snapshots() == after
    right = dsrlb("verify", "--config", mixed, "--boot", "systemd")
    assert states(right) == dict.fromkeys(SERVERS, "as it should be")
    assert states(dsrlb("undo", "--config", mixed)) == dict.fromkeys(SERVERS, "undone")
    assert servers.snapshots() == before
    assert states(dsrlb("undo", "--config", mixed)) == dict.fromkeys(SERVERS, "nothing to do")


def test_a_server_without_dsrlb_is_told_what_gue_needs_and_stays_as_it_was(servers: Farm, mixed: str) -> None:
    before = servers.snapshot("web3")
    said = dsrlb("setup", "--config", mixed, "--backend", "web3", code=1)
    assert states(said) == {"web3": "unchanged"}
    assert "install dsrlb here, on the server; one that PATH lacks is told by --dsrlb." in said
    here = ("--via", f"netns:{namespace('{name}')}")  # a namespace of this machine, which has it
    planned = dsrlb("setup", "--config", mixed, "--backend", "web3", *here, "--plan")
    assert states(planned) == {"web3": "planned"} and "decap.bpf.o" in planned
    assert servers.snapshot("web3") == before


# --- over a reboot ----------------------------------------------------------------------------------


def test_what_lasts_brings_a_server_back_after_a_reboot_and_undo_takes_it_away(
    servers: Farm, quiet: str
) -> None:
    """The reboot: what the kernel had is gone, and so is /run; then the command of unit or hook is run."""
    before = servers.snapshot("web1")
    only = ("--config", quiet, "--backend", "web1")
    for kind in ["systemd", *(["networkd"] if WAITER.exists() else []), "ifupdown"]:
        dsrlb("setup", *only, "--boot", kind)
        switch_off(servers, "web1")
        assert servers.snapshot("web1")[:2] == before[:2]
        for command in commands_at_boot(servers.etc("web1"), kind):
            servers.there("web1", command)
        assert "198.18.1.101/32" in servers.on("web1", "ip", "address", "show", "dev", "lo")
    right = dsrlb("verify", *only, "--boot", "ifupdown")
    assert states(right) == {"web1": "as it should be"}
    dsrlb("undo", *only)
    assert servers.snapshot("web1") == before
    lost = dsrlb("verify", *only, "--boot", "ifupdown", code=1)
    assert "setup with --boot ifupdown" in lost


def switch_off(servers: Farm, name: str) -> None:
    for vip in ("198.18.1.100", "198.18.1.101"):
        servers.on(name, "ip", "address", "del", f"{vip}/32", "dev", "lo")
    for key in ("arp_ignore", "arp_announce"):
        servers.on(name, "sysctl", "-w", f"net.ipv4.conf.all.{key}=0")
    inode = Path("/run/netns", namespace(name)).stat().st_ino
    shutil.rmtree(BASE / f"netns-{inode}")


def commands_at_boot(etc: Path, kind: str) -> list[str]:
    """What would be run, as the files that it is run by say it."""
    if kind == "ifupdown":
        hooks = subprocess.run(
            ["run-parts", "--list", str(etc / "network/if-up.d")], capture_output=True, text=True, check=True
        )
        ours = [Path(line).name for line in hooks.stdout.splitlines() if "dsrlb" in line]
        return [f"MODE=start IFACE=e0 /etc/network/if-up.d/{name}" for name in ours]
    wanting = {"systemd": "multi-user.target", "networkd": "systemd-networkd.service"}[kind]
    units = sorted((etc / f"systemd/system/{wanting}.wants").glob("dsrlb-backend-*.service"))
    texts = [(etc / "systemd/system" / one.name).read_text() for one in units]
    assert all(one.readlink() == Path("/etc/systemd/system", one.name) for one in units)
    return [
        line.removeprefix("ExecStart=")
        for text in texts
        for line in text.splitlines()
        if "ExecStart=" in line
    ]


# --- killed half-way --------------------------------------------------------------------------------

DIES_BEFORE = 'case "$*" in *"{line}"*) kill -9 $PPID; exit 1 ;; esac; exec /sbin/ip "$@"'
DIES_AFTER = 'case "$*" in *"{line}"*) /sbin/ip "$@"; kill -9 $PPID; exit 1 ;; esac; exec /sbin/ip "$@"'


def test_scripts_that_were_killed_half_way_are_undone_whole(servers: Farm, tmp_path: Path) -> None:
    file = written(tmp_path, QUIET + service("inline", "198.18.1.102:80", "web2"))
    before = servers.snapshots()
    servers.put("web1", "ip", DIES_BEFORE.replace("{line}", "address add 198.18.1.101/32"))
    servers.put("web2", "ip", DIES_AFTER.replace("{line}", "route replace default"))
    servers.put("web3", "ip", DIES_AFTER.replace("{line}", "address add 198.18.1.100/32"))
    said = dsrlb("setup", "--config", file, code=1)
    assert states(said) == dict.fromkeys(SERVERS, "perhaps half-way")
    after = servers.snapshots()
    assert all(one != other for one, other in zip(before, after, strict=True))
    for name in SERVERS:
        (servers.folder / name / "bin/ip").unlink()
        (command,) = re.findall(rf"^to take back .* on {name}: dsrlb backend (.*)$", said, re.MULTILINE)
        assert states(dsrlb(*command.split())) == {name: "undone"}
    assert servers.snapshots() == before


def test_a_balancer_that_is_killed_half_way_leaves_what_can_be_undone_whole(
    servers: Farm, quiet: str
) -> None:
    before = servers.snapshots()
    for name in SERVERS:
        there = servers.folder / name / "there"
        wait = f"touch {there}; until [ -e {there}.go ]; do sleep 0.05; done"
        servers.put(name, "ip", f'case "$*" in *"address add"*) {wait} ;; esac; exec /sbin/ip "$@"')
    command = [sys.executable, "-m", "dsrlb", "backend", "setup", "--config", quiet]
    enter = ["ip", "netns", "exec", BALANCER]
    with subprocess.Popen(
        [*enter, *command], cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True
    ) as killed:
        try:
            assert eventually(
                lambda: all((servers.folder / name / "there").exists() for name in SERVERS), DEADLINE_S
            )
        finally:
            os.kill(killed.pid, signal.SIGKILL)
    for name in SERVERS:
        (servers.folder / name / "there.go").touch()
        assert eventually(lambda name=name: not scripts_on(name), DEADLINE_S)  # type: ignore[misc]  # a lambda
        (servers.folder / name / "bin/ip").unlink()
    assert states(dsrlb("undo", "--config", quiet)) == dict.fromkeys(SERVERS, "undone")
    assert servers.snapshots() == before


def test_an_undo_ends_a_setup_that_hangs_there_and_would_go_on_after_it(servers: Farm, quiet: str) -> None:
    before = servers.snapshot("web1")
    there = servers.folder / "web1/hangs"
    hang = f"touch {there}; sleep 1000"
    servers.put("web1", "ip", f'case "$*" in *"address add"*) {hang} ;; esac; exec /sbin/ip "$@"')
    enter = ["ip", "netns", "exec", BALANCER, sys.executable, "-m", "dsrlb", "backend", "setup"]
    words = ["--config", quiet, "--backend", "web1"]
    with subprocess.Popen([*enter, *words], cwd=ROOT, stdout=subprocess.DEVNULL) as hanging:
        assert eventually(there.exists, DEADLINE_S)
        hanging.send_signal(signal.SIGKILL)
    assert scripts_on("web1")
    there.unlink()
    said = dsrlb("undo", *words)
    assert states(said) == {"web1": "undone"} and "which was at work on this and hung" in said
    assert not scripts_on("web1") and servers.snapshot("web1") == before


def scripts_on(name: str) -> list[str]:
    """The shells that run a sent script in a server's namespace."""
    inode = Path("/run/netns", namespace(name)).stat().st_ino
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "ns/net").stat().st_ino == inode:
                found.append((process / "cmdline").read_bytes().decode().replace("\0", " "))
        except OSError:  # it has ended
            continue
    return [line for line in found if " -s -- " in line]


# --- hostile servers --------------------------------------------------------------------------------

NEVER_SPEAKS = (
    "import socket\n"
    "door, held = socket.create_server(('198.18.1.12', 2222)), []\n"
    "while True: held.append(door.accept())"
)


def test_a_server_that_hangs_and_one_that_wants_a_password_hold_up_no_other(
    servers: Farm, quiet: str
) -> None:
    """And nobody is asked, nothing is begun there, and each is told in one sentence."""
    ways = [word for name in ("web2", "web3") for word in ("--via", f"{name}=ssh:root@{{address}}:2222")]
    with (
        standing("web2", 2222, sys.executable, "-c", NEVER_SPEAKS),
        standing("web3", 2222, *servers.sshd("web3", "Port=2222", "PubkeyAuthentication=no", PASSWORD)),
    ):
        began_s = time.monotonic()
        said = dsrlb("setup", "--config", quiet, *ways, code=1)
        assert time.monotonic() - began_s < DEADLINE_S
    assert states(said) == {"web1": "set up", "web2": "unchanged", "web3": "unchanged"}
    assert "takes no key of yours, and no password is asked for: ssh-copy-id -p 2222 root@198.18.1.13" in said
    assert "ssh:root@198.18.1.12:2222 cannot be reached: " in said
    assert "assword:" not in said
    dsrlb("undo", "--config", quiet, "--backend", "web1")
    assert states(dsrlb("verify", "--config", quiet, code=1)) == dict.fromkeys(SERVERS, "not as it should be")
