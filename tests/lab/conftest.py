"""The lab as fixtures: one network for the whole run, a balancer and a client for each test.

``lab``      a standing :class:`Lab` (client, router, switch, lb, rs1..rs3; the VIPs on the servers)
``serve``    ``serve()`` starts ``dsrlb serve`` for the lab's VIP and all servers and waits until it is
             ready; ``serve("--scheduler", "rr")`` adds flags; ``serve(flags=[…])`` gives them all.
             Whatever a test leaves running is stopped at its end.
``write``    ``write(service(…), …)`` writes a configuration file
``start``    starts a balancer with it
``kept``     starts one with it that is always the same one, started again
``client``   what a client does: requests, upload, download, echo; each in one process in the namespace
``dsrlb``    ``dsrlb("serve", "--mode", …)`` runs a command in the balancer's node to its end
``engine``   the engine that ``serve`` and ``dsrlb`` choose, see tests/lab_engine.py; the lab is ready for it
``l3_lab``, ``inline_lab``  standing labs of the other modes, for the tests of one file; one that says
             ``lab = l3_lab`` as a fixture of its own has ``serve`` and ``client`` there
``guest``    one more machine on the switch, for the tests of one file: the name of its namespace
``owner``    ``owner(vip)``: the guest has a VIP, until the end of the test
``second``   a second interface of the balancer, x0; where it leads differs from test to test
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lab_engine import PACKET, Engine, engines_of, is_wanted
from lab_reload import Start, Write
from lab_running import Serve, forget_neighbours
from lab_shared import shared_directories as shared_directories
from lab_wire import GUEST_MAC, TEST_PREFIX, Inject, Tap, socket_in

from dsrlb.lab import balancer, xdp
from dsrlb.lab.balancer import Balancer
from dsrlb.lab.client import Result, ask, begin, result
from dsrlb.lab.lifecycle import standing
from dsrlb.lab.topology import VIP, Lab, run


@pytest.fixture(scope="session")
def lab(shared_directories: None) -> Iterator[Lab]:
    with standing(Lab(prefix=TEST_PREFIX)) as it:
        # What a test leaves half closed when it takes servers away must not be heard of in the next one.
        for end in ("client", *it.server_names):
            run(["ip", "netns", "exec", it.namespace(end), "sysctl", "-qw", "net.ipv4.tcp_orphan_retries=1"])
        yield it


@pytest.fixture(scope="module")
def l3_lab(shared_directories: None) -> Iterator[Lab]:
    with standing(Lab(prefix=f"{TEST_PREFIX}l3-", mode="l3dsr")) as it:
        yield it


@pytest.fixture(scope="module")
def inline_lab(shared_directories: None) -> Iterator[Lab]:
    with standing(Lab(prefix=f"{TEST_PREFIX}in-", mode="inline")) as it:
        yield it


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test once on each of its engines."""
    if "engine" in metafunc.fixturenames:
        engines = engines_of(metafunc.definition, metafunc.config)
        if engines not in ([], [PACKET]):
            metafunc.parametrize("engine", engines, ids=str, indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests that are about another engine than the chosen one."""
    wanted = [is_wanted(one, config) for one in items]
    config.hook.pytest_deselected(items=[one for one, keep in zip(items, wanted, strict=True) if not keep])
    items[:] = [one for one, keep in zip(items, wanted, strict=True) if keep]


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> Engine:
    engine: Engine = getattr(request, "param", PACKET)
    return engine


@pytest.fixture
def engine_flags(lab: Lab, engine: Engine) -> Iterator[list[str]]:
    """What ``dsrlb serve`` is to be told of its engine; the lab is ready for that."""
    with engine.at_hand(lab):
        yield engine.flags(lab)


@pytest.fixture
def serve(lab: Lab, engine_flags: list[str]) -> Iterator[Callable[..., Balancer]]:
    started: list[Balancer] = []

    def start(*more: str, flags: list[str] | None = None, ready: bool = True, **shape: Any) -> Balancer:
        line = balancer.serve_flags(lab, *more, **shape) if flags is None else [*flags, *more]
        started.append(balancer.serve(lab, [*engine_flags, *line], ready=ready))
        return started[-1]

    yield start
    for it in started:
        it.stop()


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write the file, which a test may write again."""

    def to_file(*services: str, interfaces: Sequence[str] = ("e0",)) -> None:
        names = ", ".join(f'"{name}"' for name in interfaces)
        (tmp_path / "dsrlb.toml").write_text(f"interfaces = [{names}]\n" + "".join(services))

    return to_file


@pytest.fixture
def start(serve: Serve, tmp_path: Path) -> Start:
    """Start a balancer with that file."""
    return lambda *more: serve(*more, flags=["--config", str(tmp_path / "dsrlb.toml")])


@pytest.fixture
def kept(lab: Lab, tmp_path: Path) -> Iterator[Start]:
    """As ``start``; each one is the same balancer, started again, and what it leaves is taken away."""
    started: list[Balancer] = []
    admin = lab.run_directory / "kept.sock"

    def begin(*more: str) -> Balancer:
        started.append(balancer.serve(lab, ["--config", str(tmp_path / "dsrlb.toml"), *more], admin=admin))
        return started[-1]

    yield begin
    for one in started:
        one.stop()
    balancer.run_dsrlb(lab, "lb", "detach", "--admin", str(admin))


@pytest.fixture
def dsrlb(lab: Lab, engine_flags: list[str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    def call(command: str, *words: str, role: str = "lb", **more: Any) -> subprocess.CompletedProcess[str]:
        chosen = ["--admin", "off", *engine_flags] if command == "serve" else []
        return balancer.run_dsrlb(lab, role, command, *chosen, *words, **more)

    return call


@pytest.fixture(scope="module")
def guest(lab: Lab) -> Iterator[str]:
    """One more machine on the switch; returns its namespace."""
    name, switch = f"{lab.prefix}guest", lab.namespace("switch")
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    run(["ip", "netns", "add", name])
    try:
        run(["ip", "link", "add", "e0", "netns", name, "address", GUEST_MAC, "type", "veth",
             "peer", "name", "p-guest", "netns", switch])  # fmt: skip
        run(["ip", "-n", switch, "link", "set", "p-guest", "master", "br0", "up"])
        run(["ip", "-n", name, "link", "set", "e0", "up"])
        yield name
    finally:
        run(["ip", "netns", "del", name])


@pytest.fixture
def owner(lab: Lab, guest: str) -> Iterator[Callable[[object], None]]:
    """``owner(vip)``: the guest has the VIP, until the end of the test."""

    def own(vip: object) -> None:
        nodad = ["nodad"] if ":" in str(vip) else []
        run(["ip", "-n", guest, "addr", "replace", str(vip), "dev", "e0", *nodad])

    yield own
    for vip in lab.vips:
        run(["ip", "-n", guest, "addr", "flush", "dev", "e0", "to", str(vip)])
    forget_neighbours(lab)


@pytest.fixture
def second(lab: Lab, engine: Engine) -> Iterator[Callable[[str, str, str], None]]:
    """``second(role, own, other)``: an interface x0 of the balancer, and one of another node, on a wire."""
    lb = lab.namespace("lb")

    def add(role: str, own: str, other: str) -> None:
        there = lab.namespace(role)
        run(["ip", "link", "add", "x0", "netns", lb, "type", "veth", "peer", "name", "x1", "netns", there])
        for namespace, device, address in ((lb, "x0", own), (there, "x1", other)):
            run(["ip", "-n", namespace, "link", "set", device, "up"])
            if address:
                run(["ip", "-n", namespace, "addr", "add", address, "dev", device])
        if engine != PACKET:
            xdp.receive_from_xdp(there, "x1")

    yield add
    subprocess.run(["ip", "-n", lb, "link", "del", "x0"], capture_output=True, check=False)


@dataclass(frozen=True)
class Client:
    """The works of :mod:`dsrlb.lab.client`, done in the client's namespace."""

    lab: Lab

    def requests(self, count: int, host: object = VIP, **more: Any) -> Result:
        return ask(self.lab, "requests", host=host, count=count, **more)

    def upload(self, size_bytes: int, host: object = VIP, **more: Any) -> Result:
        return ask(self.lab, "upload", host=host, size_bytes=size_bytes, **more)

    def download(self, size_bytes: int, host: object = VIP, **more: Any) -> Result:
        return ask(self.lab, "download", host=host, size_bytes=size_bytes, **more)

    def exchange(self, count: int, host: object = VIP, **more: Any) -> Result:
        return ask(self.lab, "exchange", host=host, count=count, deadline_s=300, **more)

    def echo(self, count: int, host: object = VIP, **more: Any) -> Result:
        return ask(self.lab, "echo", host=host, count=count, **more)

    def begin(self, work: str, host: object = VIP, **more: Any) -> subprocess.Popen[str]:
        """Start a work without waiting for it."""
        return begin(self.lab, work, host=host, **more)

    def result(self, begun: subprocess.Popen[str], deadline_s: float = 120) -> Result:
        """Wait for a work that was begun."""
        return result(begun, deadline_s)


@pytest.fixture
def client(lab: Lab) -> Client:
    return Client(lab)


@pytest.fixture
def tap(lab: Lab, engine: Engine) -> Iterator[Callable[[str], Tap]]:
    """``tap("lb")`` hears all that a node's e0 receives and sends."""
    with contextlib.ExitStack() as opened:

        def at(role: str) -> Tap:
            one = Tap(lab, role, beyond=role == "lb" and engine != PACKET)
            opened.callback(one.socket.close)
            return one

        yield at


@pytest.fixture
def inject(lab: Lab) -> Iterator[Inject]:
    """Put frames on the wire at the router; the value is their bytes."""
    with socket_in(lab, "router") as wire:
        wire.bind(("e0", 0))

        def send(*frames: Any) -> list[bytes]:
            raw = [bytes(frame) for frame in frames]
            for frame in raw:
                wire.send(frame)
            return raw

        yield send
