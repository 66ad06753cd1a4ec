"""A client and a real server in two namespaces, and the two tools that set a real server up.

Their names end so::

    b-client                             b-server
    c0 02:00:c6:12:00:01  ------------  s0 02:00:c6:12:00:02
    198.18.0.1/24, 2001:db8::1/64        198.18.0.2/24, 2001:db8::2/64
                                         default routes by way of the client
                                         tunl0, sit0: where the kernel has no tunnels, a pair of veth,
                                         which can be switched on and given addresses all the same
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from lab_fork import run_forked
from lab_wire import TEST_PREFIX, eventually

from dsrlb.host.steps_state import BASE

ROOT = Path(__file__).parents[1]
SCRIPT = str(ROOT / "scripts/backend-setup")
SHELLS = {"sh": ["sh", SCRIPT], "busybox": ["busybox", "sh", SCRIPT]}
CLIENT, SERVER = f"{TEST_PREFIX}b-client", f"{TEST_PREFIX}b-server"
CLIENT_MAC, SERVER_MAC = "02:00:c6:12:00:01", "02:00:c6:12:00:02"
DEADLINE_S = 60
LINKS = ("ip", "-o", "link", "show")


def run(*words: str, code: int | None = 0, text: str = "") -> str:
    done = subprocess.run(words, input=text, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    return said(done, code)


def said(done: subprocess.CompletedProcess[str], code: int | None) -> str:
    assert code is None or done.returncode == code, (
        f"{done.args}: {done.returncode} {done.stdout}{done.stderr}"
    )
    return done.stdout + done.stderr


def server(*words: str, code: int | None = 0) -> str:
    return run("ip", "netns", "exec", SERVER, *words, code=code)


def shown(*words: str) -> str:
    """What a command shows of the server.

    What it complains of is left out: ``ip`` does so whenever another test's namespace goes away just then.
    """
    command = ["ip", "netns", "exec", SERVER, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=True).stdout


def called(name: str, *words: str, code: int | None = 0) -> str:
    """What a tool says: ``python``, ``sh`` or ``busybox``."""
    if name == "busybox" and shutil.which("busybox") is None:
        pytest.skip("busybox is missing")
    if name == "python":
        return said(run_forked(SERVER, "backend", *words), code)
    return server(*SHELLS[name], *words, code=code)


def snapshot() -> tuple[object, ...]:
    """All that a setup may change."""
    # A new address of lo is tentative for a moment, though nobody could have a duplicate of it.
    assert eventually(lambda: "tentative" not in shown("ip", "-o", "address", "show"), DEADLINE_S)
    links = [line.split()[1:3] for line in shown(*LINKS).splitlines()]
    values = ["grep", "-r", "", "/proc/sys/net/ipv4/conf", "--include=arp_*", "--include=rp_filter"]
    return (
        sorted(shown("ip", "-o", "address", "show").splitlines()),
        sorted(shown(*values).splitlines()),
        sorted((name, "UP" in flags.strip("<>").split(",")) for name, flags in links),
        shown("ip", "-4", "route", "show"),
        shown("ip", "-6", "route", "show"),
        shown("tc", "qdisc", "show", "dev", "s0"),
        shown("tc", "filter", "show", "dev", "s0", "ingress"),
    )


def remove(namespace: str) -> None:
    handle = Path("/run/netns") / namespace
    if not handle.exists():
        return
    shutil.rmtree(BASE / f"netns-{handle.stat().st_ino}", ignore_errors=True)
    run("ip", "netns", "del", namespace)


def _wait_for_link_local_addresses() -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    for namespace in (CLIENT, SERVER):
        ready = f"ip -n {namespace} -6 -o address show up scope link -tentative".split()
        while "fe80:" not in run(*ready):
            assert time.monotonic() < deadline_s, f"{namespace} got no link-local address"


@contextmanager
def two_namespaces() -> Iterator[None]:
    for namespace in (CLIENT, SERVER):
        remove(namespace)
    try:
        for namespace in (CLIENT, SERVER):
            run("ip", "netns", "add", namespace)
            run("ip", "-n", namespace, "link", "set", "lo", "up")
            no_dad = "echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad"
            run("ip", "netns", "exec", namespace, "sh", "-c", no_dad)
        run(*f"ip link add c0 netns {CLIENT} address {CLIENT_MAC} type veth peer name s0".split(),
            "netns", SERVER, "address", SERVER_MAC)  # fmt: skip
        for namespace, device, number in ((CLIENT, "c0", 1), (SERVER, "s0", 2)):
            run("ip", "-n", namespace, "address", "add", f"198.18.0.{number}/24", "dev", device)
            run("ip", "-n", namespace, "address", "add", f"2001:db8::{number}/64", "dev", device, "nodad")
            run("ip", "-n", namespace, "link", "set", device, "up")
        run("ip", "-n", SERVER, "-4", "route", "add", "default", "via", "198.18.0.1")
        run("ip", "-n", SERVER, "-6", "route", "add", "default", "via", "2001:db8::1")
        _make_tunnel_devices()
        _wait_for_link_local_addresses()
        yield
    finally:
        for namespace in (CLIENT, SERVER):
            remove(namespace)


def _make_tunnel_devices() -> None:
    if "tunl0" not in server("ip", "-o", "link", "show"):
        server("ip", "link", "add", "tunl0", "type", "veth", "peer", "name", "sit0")
    for device in ("tunl0", "sit0"):  # no address of their own, which would come after a while
        server("ip", "link", "set", "dev", device, "addrgenmode", "none", code=None)  # a real tunl0 has none
