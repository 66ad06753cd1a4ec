"""Can a user without a privilege keep dsrlb off its names?"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from lab_host import LB, VIP_V4
from lab_wire import inside

from dsrlb.errors import ConfigError, HostError
from dsrlb.host import guard
from dsrlb.host.names import hold, owners
from dsrlb.host.probe_rules import NUMBERS, claim_number

NOBODY = 65534
HOLDING = """
import os, socket, sys
os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))
held = [socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in sys.argv[2:]]
for one, name in zip(held, sys.argv[2:]):
    one.bind("\\0" + name)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def nobody_holds(*names: str) -> Iterator[None]:
    """Let a user without a privilege hold names in the namespace that this thread is in."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(NOBODY), *names], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdin is not None and holder.stdout is not None
        try:
            assert holder.stdout.readline() == b"held\n"
            yield
        finally:
            holder.stdin.close()
            holder.wait(10)


def probes(*numbers: int) -> list[str]:
    return [f"dsrlb/probes/{number}" for number in numbers]


def test_a_foreign_user_who_holds_all_numbers_keeps_no_dsrlb_from_its_checks(lab: None) -> None:
    with inside(LB), ExitStack() as held:
        with nobody_holds(*probes(*range(NUMBERS))):
            for expected in (0, 1):  # two dsrlb, each with a number of its own
                number, lock = claim_number()
                held.enter_context(lock)
                assert number == expected
        third, lock = claim_number()  # they hold theirs also now that nobody is beside them
        held.enter_context(lock)
        assert third == 2


def test_what_a_foreign_user_holds_is_left_to_him_while_there_is_another_number(lab: None) -> None:
    with inside(LB), nobody_holds(*probes(0, 2)):
        numbers, locks = zip(*(claim_number() for _ in range(2)), strict=True)
        assert numbers == (1, 3)
        for lock in locks:
            lock.close()


def test_what_other_dsrlb_hold_is_not_taken_from_them(lab: None) -> None:
    with inside(LB), ExitStack() as held:
        for name in probes(*range(NUMBERS)):
            lock = hold(name)
            assert lock is not None
            held.enter_context(lock)
        with pytest.raises(HostError, match="64 processes of dsrlb"):
            claim_number()


def test_a_foreign_user_who_holds_a_vip_s_name_is_named(lab: None) -> None:
    name = f"dsrlb/vip/{VIP_V4}"
    with inside(LB), nobody_holds(name):
        assert owners()[name] == NOBODY
        with pytest.raises(
            ConfigError, match=rf"^User {NOBODY}, who is not root, .*VIP {VIP_V4} \(@{name}\)"
        ):
            guard.claim([VIP_V4])


def test_where_the_kernel_tells_nothing_of_users_a_taken_name_is_a_dsrlb_s(
    lab: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with inside(LB), nobody_holds(f"dsrlb/vip/{VIP_V4}"):
        monkeypatch.setattr("dsrlb.host.names.NETLINK_SOCK_DIAG", 31)  # there is no such protocol
        assert owners() == {}
        with pytest.raises(ConfigError, match="Another dsrlb on this host already serves"):
            guard.claim([VIP_V4])
