"""Are the servers' MACs found, followed and given up as the kernel learns them?"""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Iterator
from ipaddress import ip_address

import pytest
from lab_host import LB, SERVER, SERVER_MAC, SERVER_V4, SERVERS, SWITCH, ip
from lab_wire import inside, soon

from dsrlb.host import links, neighbours
from dsrlb.host.resolver import Resolver
from dsrlb.host.watch import Event, Watch
from dsrlb.model import person_mac, wire_address


def by_address(macs: dict) -> dict:
    return {address: mac for (_, address), mac in macs.items()}


class Control:
    """The part of the control loop that keeps MACs: step every 0.25 s, look at once on an event."""

    def __init__(self, *targets) -> None:
        self.events: queue.Queue[Event] = queue.Queue()
        with inside(LB):
            self.watch = Watch(self.events)
            ifindex = links.link("e0").ifindex
            self.resolver = Resolver((ifindex, target) for target in targets)
        self.macs: dict = {}
        self.next_step = time.monotonic()

    def turn(self) -> dict:
        now = time.monotonic()
        with inside(LB):
            if now >= self.next_step:
                self.next_step = now + 0.25
                self.macs = by_address(self.resolver.step(now))
                return self.macs
            with contextlib.suppress(queue.Empty):
                if self.events.get(timeout=self.next_step - now)[0] == "neighbour":
                    self.macs = by_address(self.resolver.known(time.monotonic()))
        return self.macs

    def until(self, targets, mac, within_s: float) -> float:
        """Turn until each target has that MAC; return the seconds it took."""
        start = time.monotonic()
        while [self.turn().get(one, b"") for one in targets] != [mac] * len(targets):
            assert time.monotonic() < start + within_s, f"{self.macs}, not {mac}"
        return time.monotonic() - start

    def until_reachable(self, targets, within_s: float) -> None:
        """Turn until the kernel has had an answer of each target lately."""
        end = time.monotonic() + within_s
        while {state_of(one) for one in targets} != {neighbours.NUD_REACHABLE}:
            assert time.monotonic() < end, [f"{one} is in state {state_of(one):#x}" for one in targets]
            self.turn()

    def turn_for(self, duration_s: float) -> None:
        """Turn until that time has passed."""
        end = time.monotonic() + duration_s
        while time.monotonic() < end:
            self.turn()

    def close(self) -> None:
        self.watch.stop()
        self.resolver.close()


@contextlib.contextmanager
def control(*targets) -> Iterator[Control]:
    running = Control(*targets)
    try:
        yield running
    finally:
        running.close()


def state_of(address) -> int:
    with inside(LB):
        key = (links.link("e0").ifindex, wire_address(address))
        return neighbours.neighbours(key[0])[key].state


@pytest.mark.parametrize("down", [True, False], ids=["after link down", "while up"])
def test_a_new_mac_of_a_server_that_announces_nothing_is_followed_within_a_second(lab, down):
    with control(*SERVERS) as running:
        running.until(SERVERS, SERVER_MAC, 30)

        def took_s(number: int) -> float:
            running.turn_for(1.2)  # past ARP's locktime: the kernel lets no MAC change within it
            running.until_reachable(SERVERS, 30)
            new = bytes.fromhex("0200c6122899")[:5] + bytes([0x90 + number])
            if down:
                ip("-n", SERVER, "link", "set", "e0", "down")
            ip("-n", SERVER, "link", "set", "e0", "address", person_mac(new))
            ip("-n", SERVER, "link", "set", "e0", "up")
            return running.until(SERVERS, new, 30)

        soon(took_s, promised_s=1.0)


def test_a_silent_server_becomes_unresolved_and_is_back_soon_after_it_answers_again(lab):
    with control(*SERVERS) as running:
        running.until(SERVERS, SERVER_MAC, 30)

        def took_s(_: int) -> float:
            ip("-n", SWITCH, "link", "set", "p-21", "nomaster")
            print(f"unresolved after {running.until(SERVERS, None, 30):.3f} s")
            end = time.monotonic() + 3
            while time.monotonic() < end:
                assert set(running.turn().values()) == {None}
            ip("-n", SWITCH, "link", "set", "p-21", "master", "br0")
            return running.until(SERVERS, SERVER_MAC, 30)

        soon(took_s, promised_s=2.0)


def test_a_server_that_never_answered_is_unresolved(lab):
    nobody = ip_address("198.18.40.250")
    with control(nobody, SERVER_V4) as running:
        running.until([SERVER_V4], SERVER_MAC, 30)
        assert running.macs[nobody] is None


def test_a_balancer_without_an_address_of_the_subnet_still_resolves(lab):
    ip("-n", LB, "addr", "flush", "dev", "e0")
    ip("-n", LB, "addr", "add", "fe80::1/64", "dev", "e0", "nodad")
    with control(SERVER_V4) as running:
        running.until([SERVER_V4], SERVER_MAC, 30)
        running.turn_for(1.0)
        running.until_reachable([SERVER_V4], 30)


def test_resolving_survives_the_balancers_interface_going_down_and_up(lab):
    with control(SERVER_V4) as running:
        running.until([SERVER_V4], SERVER_MAC, 30)
        ip("-n", LB, "link", "set", "e0", "down")
        running.until([SERVER_V4], None, 30)
        ip("-n", LB, "link", "set", "e0", "up")
        running.until([SERVER_V4], SERVER_MAC, 30)
