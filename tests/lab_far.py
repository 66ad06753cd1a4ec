"""A balancer and three real servers on one link, each server with a real sshd, and a folder /etc, of its own.

Their names end so::

    f-lb  e0 198.18.1.10 ──┐            ┌── f-web1  e0 198.18.1.11, 2001:db8:1::11
                           [ br0, f-sw ] ── f-web2  e0 198.18.1.12, 2001:db8:1::12
                                        └── f-web3  e0 198.18.1.13, 2001:db8:1::13
                                            default routes by way of 198.18.1.1 and
                                            2001:db8:1::1, where nobody is

A server's PATH begins with a folder of its own, ``bin``, for programs that a test puts before others.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from lab_fork import run_forked
from lab_server import DEADLINE_S, remove, run
from lab_wire import TEST_PREFIX, eventually

ROOT = Path(__file__).parents[1]
BALANCER, SWITCH = f"{TEST_PREFIX}f-lb", f"{TEST_PREFIX}f-sw"
SERVERS = ("web1", "web2", "web3")
ADDRESSES = {name: f"198.18.1.1{name[-1]}" for name in SERVERS}
SSHD, SSH = "/usr/sbin/sshd", "/usr/bin/ssh"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LASTING = ("systemd", "network", "dsrlb")  # in /etc
VARYING = ("net.netfilter.nf_conntrack_count",)


def namespace(name: str) -> str:
    return f"{TEST_PREFIX}f-{name}"


class Farm:
    """Servers that stand, with what is theirs under ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def etc(self, name: str) -> Path:
        return self.folder / name / "etc"

    def put(self, name: str, program: str, text: str) -> None:
        """Put a shell script before all others of its name on a server."""
        path = self.folder / name / "bin" / program
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def on(self, name: str, *words: str) -> str:
        """What a command says on a server."""
        command = ["ip", "netns", "exec", namespace(name), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=True).stdout

    def sshd(self, name: str, *options: str) -> list[str]:
        """The command of an sshd with other options than that which stands."""
        words = [SSHD, "-D", "-e", "-f", str(self.folder / name / "sshd_config")]
        return words + [word for option in options for word in ("-o", option)]

    def there(self, name: str, line: str) -> str:
        """What a line of sh says on a server, by ssh, as whoever comes from the balancer sees it."""
        ssh = [str(self.folder / "bin/ssh"), f"root@{ADDRESSES[name]}", line]
        return run("ip", "netns", "exec", BALANCER, *ssh, code=None)

    def snapshot(self, name: str) -> tuple[object, ...]:
        """All that a setup may change, and more."""
        assert eventually(lambda: "tentative" not in self.on(name, "ip", "address"), DEADLINE_S)
        sysctls = [line for line in self.on(name, "sysctl", "-a").splitlines() if line.startswith("net.")]
        routes = [self.on(name, "ip", version, "route", "show", "table", "all") for version in ("-4", "-6")]
        files = {
            str(path.relative_to(self.etc(name))): path.read_bytes() if path.is_file() else b""
            for folder in LASTING
            for path in self.etc(name).glob(f"{folder}/**/*")
        }
        return (
            self.on(name, "ip", "address"),
            routes,
            [line for line in sysctls if not line.startswith(VARYING)],
            self.on(name, "tc", "qdisc", "show", "dev", "e0"),
            files,
        )

    def snapshots(self) -> list[tuple[object, ...]]:
        return [self.snapshot(name) for name in SERVERS]


def dsrlb(*words: str, code: int | None = 0) -> str:
    """What ``dsrlb backend`` says on the balancer."""
    done = run_forked(BALANCER, "backend", *words)
    said = done.stdout + done.stderr
    assert code is None or done.returncode == code, f"{done.returncode} {said}"
    return said


@contextmanager
def farm(folder: Path) -> Iterator[Farm]:
    """Let the servers stand; PATH here begins with an ``ssh`` that knows their keys and no others."""
    names = [BALANCER, SWITCH, *map(namespace, SERVERS)]
    path, made = os.environ["PATH"], not Path("/run/sshd").exists()
    with ExitStack() as stack:
        for name in names:
            remove(name)
            stack.callback(remove, name)
        _link(names)
        _keys(folder)
        Path("/run/sshd").mkdir(exist_ok=True)
        if made:
            stack.callback(_forget, Path("/run/sshd"))
        for name in SERVERS:
            stack.enter_context(_sshd(folder, name))
        os.environ["PATH"] = f"{folder / 'bin'}:{path}"
        stack.callback(os.environ.__setitem__, "PATH", path)
        yield Farm(folder)


def _forget(path: Path) -> None:
    with suppress(OSError):  # another worker's is in use
        path.rmdir()


def _link(names: list[str]) -> None:
    for name in names:
        run("ip", "netns", "add", name)
        run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "netns", "exec", name, "sh", "-c", "echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad")
    run(*f"ip -n {SWITCH} link add br0 type bridge mcast_snooping 0".split())
    run(*f"ip -n {SWITCH} link set br0 up".split())
    for number, name in enumerate([BALANCER, *map(namespace, SERVERS)], start=10):
        port = f"p{number}"
        run(*f"ip link add e0 netns {name} type veth peer name {port} netns {SWITCH}".split())
        run(*f"ip -n {SWITCH} link set {port} master br0 up".split())
        run(*f"ip -n {name} link set e0 up".split())
        run(*f"ip -n {name} address add 198.18.1.{number}/24 dev e0".split())
        run(*f"ip -n {name} address add 2001:db8:1::{number}/64 dev e0 nodad".split())
        run(*f"ip -n {name} -4 route add default via 198.18.1.1".split())
        run(*f"ip -n {name} -6 route add default via 2001:db8:1::1".split())


def _keys(folder: Path) -> None:
    (folder / "bin").mkdir()
    for key in ("host", "client"):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", key, "-f", str(folder / key))
    host = (folder / "host.pub").read_text()
    (folder / "known").write_text("".join(f"{one},[{one}]:2222 {host}" for one in ADDRESSES.values()))
    known = f"-o UserKnownHostsFile={folder}/known -o GlobalKnownHostsFile=/dev/null"
    mine = f"-F none -o IdentitiesOnly=yes -o IdentityAgent=none -i {folder}/client"
    ssh = folder / "bin/ssh"
    ssh.write_text(f'#!/bin/sh\nexec {SSH} {mine} {known} "$@"\n')
    ssh.chmod(0o755)


@contextmanager
def _sshd(folder: Path, name: str) -> Iterator[None]:
    mine = folder / name
    (mine / "bin").mkdir(parents=True)
    shutil.copytree("/etc", mine / "etc", symlinks=True, ignore=_gone)
    for needed in ("systemd/system/multi-user.target.wants", "network/if-up.d"):
        (mine / "etc" / needed).mkdir(parents=True, exist_ok=True)
    unlock_root(mine / "etc/shadow")
    options = {
        "ListenAddress": ADDRESSES[name],
        "HostKey": f"{folder}/host",
        "PidFile": "none",
        "AuthorizedKeysFile": f"{folder}/client.pub",
        "StrictModes": "no",
        "UsePAM": "no",
        "PermitRootLogin": "yes",
        "PasswordAuthentication": "no",
        "SetEnv": f"PATH={mine}/bin:{SYSTEM_PATH}",
        "LogLevel": "ERROR",
    }
    (mine / "sshd_config").write_text("".join(f"{key} {value}\n" for key, value in options.items()))
    start = f"mount --bind {mine}/etc /etc && exec {SSHD} -D -e -f {mine}/sshd_config"
    with standing(name, 22, "sh", "-c", start):
        yield


@contextmanager
def standing(name: str, port: int, *words: str) -> Iterator[None]:
    """Run a program on a server that listens at a port, and its own mounts with it."""
    command = ["ip", "netns", "exec", namespace(name), *words]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        try:
            listens = ["ip", "netns", "exec", namespace(name), "ss", "-Hltn", f"sport = :{port}"]
            assert eventually(lambda: process.poll() is not None or run(*listens), DEADLINE_S)
            assert process.poll() is None, f"{words} has ended"
            yield
        finally:
            process.terminate()
            process.wait(DEADLINE_S)


def _gone(folder: str, names: list[str]) -> list[str]:
    """Leave out what is no plain file, folder or link, and what is large."""
    paths = [Path(folder, name) for name in names]
    return [one.name for one in paths if not (one.is_symlink() or one.is_dir() or one.is_file())]


def unlock_root(shadow: Path) -> None:
    """Of an account without a password sshd takes no key either, unless its password is impossible."""
    lines = shadow.read_text().splitlines()
    fields = [line.split(":") for line in lines]
    shadow.write_text(
        "".join(":".join([one[0], "*" if one[0] == "root" else one[1], *one[2:]]) + "\n" for one in fields)
    )


def dsrlb_command() -> str:
    """The line that starts this dsrlb on a server."""
    return f'PYTHONPATH={ROOT} exec {sys.executable} -m dsrlb "$@"'
