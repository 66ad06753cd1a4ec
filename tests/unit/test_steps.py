"""Do the steps of a real server get planned, done, verified and undone, whatever was there before?"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from ipaddress import ip_address, ip_interface
from pathlib import Path

import pytest
from click.testing import CliRunner

from dsrlb.cli.backend import backend, parse_vip
from dsrlb.errors import HostError
from dsrlb.host import steps, steps_state
from dsrlb.model import HostStep
from dsrlb.modes.l2dsr import host_steps

VIP = ip_address("198.18.0.10")
SECOND = ip_address("198.18.0.11")
VIP6 = ip_address("2001:db8::10")
SCRIPT = Path(__file__).parents[2] / "scripts/backend-setup"
BAD_VIPS = [
    *("198.18.0.10:80", "198.18.0.10:80/tcp", "[2001:db8::10]:80", "198.18.0.10/32", "2001:db8::/64"),
    *("224.0.0.1", "ff02::1", "0.0.0.0", "::", "127.0.0.1", "::1", "255.255.255.255", "fe80::1"),
    *("::ffff:198.18.0.1", "::ffff:c612:1", "::c612:1", "2001:db8::1%s0", "server.example", "*", " "),
    *("198.18.0", "198.18.0.256", "198.18.00.1", "198.18.0.1.1", "198.18.0.-1", ""),
    *("1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8::", "1:2:3:4:5:6:7:8:9"),
    *("1::2::3", "12345::1", ":::", "2001:db8::1:"),
]


class World:
    """A machine made of files and a set: what it holds can be compared before and after."""

    def __init__(self, root: Path) -> None:
        self.on_lo = {ip_interface("127.0.0.1/8")}
        self.sysctls = root / "sys"
        self.machine = steps.Machine(
            self.sysctls,
            root / "state",
            lambda device: frozenset(self.on_lo),
            lambda step: self.on_lo.add(ip_interface(step.value.split()[0])),
            lambda step: self.on_lo.remove(ip_interface(step.value.split()[0])),
        )
        for device in ("all", "default", "lo", "e0", "e0.100"):
            for name in ("arp_ignore", "arp_announce"):
                self.set(device, name, 0)

    def set(self, device: str, name: str, value: int) -> None:
        path = self.sysctls / "net/ipv4/conf" / device / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")

    def holds(self) -> tuple[frozenset[object], dict[str, str]]:
        files = self.sysctls.rglob("arp_*")
        return frozenset(self.on_lo), {str(path): path.read_text().strip() for path in files}

    def setup(self, *vips: steps.Address) -> list[str]:
        return list(steps.apply(self.machine, self.wanted(*vips)))

    def undo(self, *vips: steps.Address) -> list[str]:
        return list(steps.undo(self.machine, steps.reversals(self.machine, vips, host_steps)))

    def wanted(self, *vips: steps.Address) -> tuple[HostStep, ...]:
        return steps.for_machine(self.machine, steps.for_vips(vips, host_steps))

    def missing(self, *vips: steps.Address) -> list[str]:
        return [line for present, line in steps.verify(self.machine, self.wanted(*vips)) if not present]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_the_plan_is_lines_to_paste_with_each_sysctl_once(world: World) -> None:
    assert [steps.command(step) for step in world.wanted(VIP, SECOND, VIP6)] == [
        "sysctl -w net.ipv4.conf.all.arp_ignore=1",
        "sysctl -w net.ipv4.conf.all.arp_announce=2",
        "ip address add 198.18.0.10/32 dev lo",
        "ip address add 198.18.0.11/32 dev lo",
        "ip address add 2001:db8::10/128 dev lo preferred_lft 0",
    ]


def test_after_setup_nothing_is_missing_and_undo_restores_what_was_there(world: World) -> None:
    world.set("all", "arp_announce", 1)
    before = world.holds()
    assert len(world.missing(VIP, VIP6)) == 4
    world.setup(VIP, VIP6)
    assert world.missing(VIP, VIP6) == []
    assert world.holds() != before
    world.undo(VIP, VIP6)
    assert world.holds() == before
    assert not world.machine.state.exists()


def test_a_missing_step_is_named_with_its_present_value_and_the_line_that_mends_it(world: World) -> None:
    assert world.missing(VIP) == [
        "missing  net.ipv4.conf.all.arp_ignore=1 (now 0): sysctl -w net.ipv4.conf.all.arp_ignore=1",
        "missing  net.ipv4.conf.all.arp_announce=2 (now 0): sysctl -w net.ipv4.conf.all.arp_announce=2",
        "missing  198.18.0.10/32 on lo: ip address add 198.18.0.10/32 dev lo",
    ]


def test_setup_twice_keeps_the_first_former_values(world: World) -> None:
    before = world.holds()
    world.setup(VIP)
    again = world.setup(VIP)
    assert all(line.startswith("already ") for line in again)
    world.undo(VIP)
    assert world.holds() == before


def test_an_address_that_was_there_before_stays(world: World) -> None:
    world.on_lo.add(ip_interface("198.18.0.10/32"))
    before = world.holds()
    world.setup(VIP)
    assert world.undo(VIP)[0] == "kept     198.18.0.10/32 on lo: it was there before setup"
    assert world.holds() == before


def test_the_sysctls_stay_until_the_last_vip_that_needs_them_is_undone(world: World) -> None:
    before = world.holds()
    world.setup(VIP)
    world.setup(SECOND, VIP6)
    assert world.undo(VIP) == ["done     ip address del 198.18.0.10/32 dev lo"]
    assert world.missing(SECOND, VIP6) == []
    assert "done     sysctl -w net.ipv4.conf.all.arp_ignore=0" in world.undo(SECOND)
    assert world.missing(VIP6) == []
    world.undo(VIP6)
    assert world.holds() == before


def test_undo_without_setup_says_so_and_changes_nothing(world: World) -> None:
    before = world.holds()
    assert world.undo(VIP) == []
    (sentence,) = steps.unrecorded(world.machine, [VIP])
    assert sentence.startswith("nothing  to undo for 198.18.0.10")
    assert world.holds() == before


def test_undoing_a_stranger_leaves_a_vip_that_is_set_up_alone(world: World) -> None:
    world.setup(VIP)
    assert world.undo(SECOND) == []
    assert world.missing(VIP) == []


@pytest.mark.parametrize("done", range(4))
def test_a_setup_interrupted_after_any_step_can_be_undone(world: World, done: int) -> None:
    before = world.holds()
    lines = steps.apply(world.machine, world.wanted(VIP))
    for _ in range(done):
        next(lines)
    world.undo(VIP)
    assert world.holds() == before
    assert not world.machine.state.exists()


@pytest.mark.parametrize("interrupted_at", range(3))
def test_a_setup_interrupted_while_it_writes_the_record_can_be_undone(
    world: World, interrupted_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, written = world.holds(), []

    def write(path: Path, text: str) -> None:
        if len(written) == interrupted_at:
            raise OSError(28, "No space left on device")
        written.append(path)
        real_write(path, text)

    real_write = steps_state.write
    monkeypatch.setattr(steps_state, "write", write)
    with pytest.raises(HostError, match="No space left"):
        world.setup(VIP)
    assert world.holds() == before
    world.undo(VIP)
    assert world.holds() == before
    assert steps_state.vips(world.machine.state) == []


def test_an_undo_interrupted_after_any_step_can_be_repeated(world: World) -> None:
    before = world.holds()
    world.setup(VIP)
    taken_back = steps.reversals(world.machine, [VIP], host_steps)
    next(steps.undo(world.machine, taken_back))
    assert world.undo(VIP)[0] == "gone     198.18.0.10/32 on lo: it was not there any more"
    assert world.holds() == before


def test_a_stale_record_gives_way_when_the_step_is_found_missing_again(world: World) -> None:
    world.on_lo.add(ip_interface("198.18.0.10/32"))
    world.setup(VIP)  # records: the address was there, arp_ignore was 0
    world.on_lo.discard(ip_interface("198.18.0.10/32"))
    world.set("all", "arp_ignore", 2)
    before = world.holds()[0]
    world.setup(VIP)
    world.undo(VIP)
    assert world.holds()[0] == before
    assert (world.sysctls / "net/ipv4/conf/all/arp_ignore").read_text() == "2\n"


@pytest.mark.parametrize(("device", "key"), [("e0", "e0"), ("e0.100", "e0/100"), ("default", "default")])
def test_a_device_that_overrules_conf_all_is_found_mended_and_restored(
    world: World, device: str, key: str
) -> None:
    world.set(device, "arp_ignore", 3)
    before = world.holds()
    name = f"net.ipv4.conf.{key}.arp_ignore"
    assert f"missing  {name}=1 (now 3): sysctl -w {name}=1" in world.missing(VIP)
    world.setup(VIP)
    assert world.missing(VIP) == []
    assert (world.sysctls / "net/ipv4/conf" / device / "arp_ignore").read_text() == "1\n"
    world.undo(VIP)
    assert world.holds() == before


def test_a_device_that_is_gone_does_not_stop_undo(world: World) -> None:
    world.set("e0", "arp_ignore", 3)
    world.setup(VIP)
    (world.sysctls / "net/ipv4/conf/e0/arp_ignore").unlink()
    lines = world.undo(VIP)
    assert "gone     net.ipv4.conf.e0.arp_ignore: there is no such sysctl any more" in lines
    assert not world.machine.state.exists()


def test_the_plan_of_undo_is_what_undo_does(world: World) -> None:
    world.setup(VIP, VIP6)
    taken_back = steps.reversals(world.machine, [VIP, VIP6], host_steps)
    planned = [steps.undo_command(reversal) for reversal in taken_back]
    assert [f"done     {line}" for line in planned] == world.undo(VIP, VIP6)


def test_a_kernel_that_refuses_is_named_in_one_sentence(world: World) -> None:
    read_only = replace(world.machine, sysctl_root=Path("/proc/self/no-such-place"))
    with pytest.raises(HostError, match=r"no sysctl net\.ipv4\.conf\.all\.arp_ignore"):
        list(steps.apply(read_only, steps.for_vips([VIP], host_steps)))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("198.18.0.10:80", "give the address alone, 198.18.0.10;"),
        ("198.18.0.10:80/tcp", "give the address alone, 198.18.0.10;"),
        ("198.18.0.10:*", "give the address alone, 198.18.0.10;"),
        ("[2001:db8::10]:80", "give the address alone, 2001:db8::10;"),
        ("[2001:db8::10]", "give the address alone, 2001:db8::10;"),
        ("198.18.0.10/32", "without a prefix length"),
        ("224.0.0.1", "a multicast address"),
        ("ff02::1", "a multicast address"),
        ("0.0.0.0", "an unspecified address"),
        ("::", "an unspecified address"),
        ("127.0.0.1", "a loopback address"),
        ("::1", "a loopback address"),
        ("255.255.255.255", "the broadcast address"),
        ("fe80::1", "a link-local address"),
        ("::ffff:198.18.0.10", "not an IPv4 or IPv6 address"),
        ("::ffff:c612:a", "carries an IPv4 one"),
        ("198.18.0", "not an IPv4 or IPv6 address"),
        ("server.example", "not an IPv4 or IPv6 address"),
        ("", "not an IPv4 or IPv6 address"),
    ],
)
def test_a_bad_vip_is_a_usage_error_that_says_what_is_wrong(text: str, word: str) -> None:
    with pytest.raises(ValueError, match=re.escape(word)):
        parse_vip(text)
    answer = CliRunner().invoke(backend, ["verify", "--mode", "l2dsr", "--vip", text])
    assert answer.exit_code == 2
    assert word in answer.output


def script(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", SCRIPT, *words], capture_output=True, text=True, timeout=20, check=False)


@pytest.mark.parametrize("text", BAD_VIPS)
def test_the_script_refuses_a_bad_vip_with_the_same_sentence(text: str) -> None:
    flags = ["verify", "--mode", "l2dsr", "--vip", text]
    python, sh = CliRunner().invoke(backend, flags), script(*flags)
    assert (python.exit_code, sh.returncode) == (2, 2)
    sentence = sh.stderr.splitlines()[-1].removeprefix("backend-setup: ")
    assert python.output.splitlines()[-1] == f"Error: {sentence}"


@pytest.mark.skipif(shutil.which("ip") is None, reason="ip is missing: install iproute2")
@pytest.mark.parametrize(
    "text", ["2001:DB8:0:0:1:0:0:1", "2001:db8::0010", "2001:db8:0:1:0:1:0:1", "1:2:3:4:5:6:7::", "::a:b:c"]
)
def test_the_script_spells_an_address_like_python(text: str) -> None:
    sh = script("setup", "--mode", "l2dsr", "--vip", text, "--plan")
    assert sh.stdout == f"ip address add {ip_address(text)}/128 dev lo preferred_lft 0\n"


def test_the_commands_plan_needs_no_root_and_shows_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    answer = CliRunner().invoke(backend, ["setup", "--mode", "l2dsr", "--vip", "2001:DB8:0::10", "--plan"])
    assert answer.exit_code == 0
    assert answer.output == "ip address add 2001:db8::10/128 dev lo preferred_lft 0\n"


@pytest.mark.parametrize("verb", ["setup", "undo"])
def test_without_root_a_change_is_refused_before_anything_happens(
    verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    answer = CliRunner().invoke(backend, [verb, "--mode", "l2dsr", "--vip", "198.18.0.10"])
    assert isinstance(answer.exception, HostError)
    assert "needs root" in str(answer.exception)
