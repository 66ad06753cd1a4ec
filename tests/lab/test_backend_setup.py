"""Do `dsrlb backend` and `scripts/backend-setup` do the same, in every mode that both can do?"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from lab_server import SCRIPT, SERVER, called, run, server, snapshot, two_namespaces

from dsrlb.host import steps

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="root is missing: network namespaces need it"),
]

VIP, SECOND, VIP6 = "198.18.0.10", "198.18.0.11", "2001:db8::10"


class Case(NamedTuple):
    mode: str
    vips: tuple[str, ...]
    flags: tuple[str, ...] = ()


KERNEL = ("--decap", "kernel", "--outer", "4")
CASES = {
    "l2dsr": Case("l2dsr", (VIP,)),
    "l2dsr in IPv6": Case("l2dsr", (VIP6,)),
    "l2dsr, many": Case("l2dsr", (VIP6, SECOND, VIP, VIP)),
    "l3dsr": Case("l3dsr", (VIP6, SECOND, VIP), KERNEL),
    "l3dsr, for some clients": Case(
        "l3dsr", (VIP, VIP6), (*KERNEL, "--client-net", "198.18.7.0/24", "--client-net", "198.18.9.0/24")
    ),
    "l3dsr, by hand": Case("l3dsr", (VIP, VIP6), (*KERNEL, "--advmss=1300")),
    "l3dsr, as it is": Case("l3dsr", (VIP6,), (*KERNEL, "--advmss", "off")),
    "inline": Case("inline", (VIP,), ("--gateway", "198.18.0.7")),
    "inline in IPv6": Case("inline", (VIP6,), ("--gateway", "2001:DB8:0::7")),
    "inline, for some clients": Case(
        "inline",
        (VIP,),
        ("--gateway", "198.18.0.7", "--client-net", "198.18.7.0/24", "--client-net=198.18.8.8"),
    ),
}
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@pytest.fixture(autouse=True)
def link() -> Iterator[None]:
    with two_namespaces():
        # Not as setup will want it, and one VIP that is there already.
        server("sh", "-c", "echo 1 >/proc/sys/net/ipv4/conf/all/arp_announce; ip a add 198.18.0.11/32 dev lo")
        server("sh", "-c", "echo 3 >/proc/sys/net/ipv4/conf/s0/arp_ignore")
        server("sh", "-c", "echo 1 >/proc/sys/net/ipv4/conf/tunl0/rp_filter")
        server("ip", "route", "add", "198.18.7.0/24", "via", "198.18.0.1", "metric", "7", "advmss", "1460")
        yield


def tool(name: str, verb: str, case: Case, plan: bool = False, code: int | None = 0) -> str:
    flags = [word for vip in case.vips for word in ("--vip", vip)] + ["--plan"] * plan
    return called(name, verb, "--mode", case.mode, *flags, *(case.flags if verb != "undo" else ()), code=code)


@each_case
@pytest.mark.parametrize("shell", ["sh", "busybox"])
def test_both_plan_the_same_and_change_nothing(shell: str, case: Case) -> None:
    before = snapshot()
    planned = tool("python", "setup", case, plan=True)
    assert planned
    assert tool(shell, "setup", case, plan=True) == planned
    assert snapshot() == before


@each_case
@pytest.mark.parametrize(("first", "second"), [("python", "sh"), ("sh", "python"), ("busybox", "busybox")])
def test_either_undoes_what_the_other_set_up(first: str, second: str, case: Case) -> None:
    before = snapshot()
    assert "done  " in tool(first, "setup", case)
    after = snapshot()
    again = tool(second, "setup", case)
    assert "done  " not in again
    assert snapshot() == after != before
    planned = tool(first, "undo", case, plan=True)
    assert tool(second, "undo", case, plan=True) == planned
    done = tool(second, "undo", case)
    assert [line[9:] for line in done.splitlines() if line.startswith("done ")] == planned.splitlines()
    assert snapshot() == before
    assert "nothing  to undo" in tool(first, "undo", case)
    assert snapshot() == before


@each_case
@pytest.mark.parametrize("shell", ["sh", "busybox"])
def test_both_say_and_do_the_same_at_every_stage(shell: str, case: Case) -> None:
    told, held = [], []
    for name in ("python", shell):
        first = tool(name, "undo", case)
        unready = tool(name, "verify", case, code=1)
        done = tool(name, "setup", case)
        held.append((snapshot(), record()))
        again = tool(name, "setup", case)
        ready = tool(name, "verify", case)
        told.append([first, unready, done, again, ready, tool(name, "undo", case)])
    assert told[0] == told[1]
    assert held[0] == held[1]
    assert all(line.startswith("present  ") for line in told[0][4].splitlines())


def record() -> dict[str, str]:
    """Every file of the record."""
    folder = Path(steps.record.BASE, f"netns-{Path('/run/netns', SERVER).stat().st_ino}")
    return {str(path): path.read_text() for path in folder.rglob("*") if path.is_file()}


@each_case
@pytest.mark.parametrize("name", ["python", "sh"])
def test_the_lines_of_the_plan_pasted_into_a_shell_are_the_setup(name: str, case: Case) -> None:
    if shutil.which("sysctl") is None:
        pytest.skip("sysctl (procps) is missing")
    before = snapshot()
    already = [vip for vip in case.vips if vip == SECOND and case.mode == "l2dsr"]
    for vip in already:
        server("ip", "address", "del", f"{vip}/32", "dev", "lo")
    lines = tool(name, "setup", case, plan=True)
    server("sh", "-ec", "".join(f"{line}\n" for line in lines.splitlines() if "modprobe" not in line))
    tool("python", "verify", case)
    pasted = snapshot()
    again = [line for line in tool(name, "setup", case).splitlines() if not line.startswith("note ")]
    assert all(line.startswith("already ") for line in again)
    assert snapshot() == pasted != before


@pytest.mark.parametrize("name", ["python", "sh"])
def test_of_several_vips_the_last_one_takes_the_sysctls_back(name: str) -> None:
    before = snapshot()
    for vip in (VIP, "198.18.0.12", VIP6):
        tool(name, "setup", Case("l2dsr", (vip,)))
    assert "sysctl" not in tool(name, "undo", Case("l2dsr", (VIP,)))
    assert "sysctl" not in tool(name, "undo", Case("l2dsr", (VIP6,)))
    tool(name, "verify", Case("l2dsr", ("198.18.0.12",)))
    assert "arp_ignore=0" in tool(name, "undo", Case("l2dsr", ("198.18.0.12",)))
    assert snapshot() == before


@pytest.mark.parametrize("name", ["python", "sh"])
def test_vips_of_several_modes_keep_each_what_it_needs(name: str) -> None:
    before = snapshot()
    wrapped, plain = Case("l3dsr", (VIP,), KERNEL), Case("l2dsr", ("198.18.0.12",))
    tool(name, "setup", wrapped)
    tool(name, "setup", plain)
    assert "it was set up for mode l3dsr" in tool(name, "undo", Case("l2dsr", (VIP,)))
    tool(name, "verify", wrapped)
    assert "all.arp_ignore" not in tool(name, "undo", wrapped)
    tool(name, "verify", plain)
    tool(name, "undo", plain)
    assert snapshot() == before


@pytest.mark.parametrize("name", ["python", "sh"])
def test_another_gateway_takes_the_place_of_the_first_and_undo_brings_back_what_was_before_both(
    name: str,
) -> None:
    before = snapshot()
    for last in (7, 8):
        tool(name, "setup", Case("inline", (VIP,), ("--gateway", f"198.18.0.{last}")))
    assert "default via 198.18.0.8 dev s0" in server("ip", "route")
    tool(name, "undo", Case("inline", (VIP,)))
    assert snapshot() == before


WRONG = [
    ["undo"],
    ["setup", "--mode", "l4dsr"],
    ["verify", "--mode", "l2dsr", "--plan"],
    ["setup", "--mode", "inline"],
    ["setup", "--mode", "inline", "--gateway", "2001:db8::7"],
    ["setup", "--mode", "inline", "--gateway", "0.0.0.7"],
    ["setup", "--mode", "inline", "--gateway", "198.18.0.7", "--client-net", "198.18.0.0/33"],
    ["setup", "--mode", "l2dsr", "--advmss", "1400"],
    ["setup", "--mode", "l3dsr", "--advmss", "535"],
    ["setup", "--mode", "l3dsr", "--decap", "nobody"],
    ["setup", "--mode", "l3dsr", "--decap", "kernel", "--device", "s0"],
    ["undo", "--mode", "inline", "--gateway", "198.18.0.7"],
]


@pytest.mark.parametrize("flags", WRONG, ids=" ".join)
def test_a_wrong_command_line_ends_with_exit_code_2(flags: list[str]) -> None:
    for name in ("python", "sh"):
        called(name, *flags, "--vip", VIP, code=2)


def test_a_link_of_the_servers_own_gets_no_other_way() -> None:
    case = Case("inline", (VIP,), ("--gateway", "198.18.0.7", "--client-net", "198.18.0.0/24"))
    for name in ("python", "sh"):
        assert "198.18.0.0/24 is this server's own link" in tool(name, "setup", case, code=3)


def test_without_root_the_script_verifies_and_plans_but_refuses_to_change() -> None:
    def nobody(*words: str, code: int) -> str:
        enter = f"ip netns exec {SERVER} setpriv --reuid=65534 --clear-groups sh -s --".split()
        return run(*enter, *words, "--mode", "l2dsr", "--vip", VIP, code=code, text=Path(SCRIPT).read_text())

    assert "missing  198.18.0.10/32 on lo" in nobody("verify", code=1)
    assert "needs root" in nobody("setup", code=4)
    assert "needs root" in nobody("undo", code=4)
    assert "dev lo" in nobody("setup", "--plan", code=0)
    tool("python", "setup", Case("l2dsr", (VIP,)))
    assert "ip address del 198.18.0.10/32 dev lo" in nobody("undo", "--plan", code=0)


def test_a_kernel_that_refuses_is_one_sentence_and_exit_code_4_and_undo_still_works() -> None:
    server("sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/lo/disable_ipv6")
    before = snapshot()
    case = Case("l2dsr", (VIP6,))
    said = [tool(name, "setup", case, code=4).strip() for name in ("python", "sh")]
    assert said[0].removeprefix("dsrlb: ") == said[1].removeprefix("backend-setup: ")
    assert "ip address add 2001:db8::10/128 dev lo preferred_lft 0 failed: " in said[0]
    assert "IPv6" in said[0] and said[0].endswith(".")
    assert tool("sh", "undo", case).startswith("gone ")
    assert snapshot() == before


# --- what is wrong although every step is in effect ------------------------------------------------

ALSO = f"{VIP}/24 is on s0 as well, which answers ARP for it: ip address del {VIP}/24 dev s0"
ALSO6 = (
    f"{VIP6}/64 is on s0 as well, which answers neighbour discovery for it: ip address del {VIP6}/64 dev s0"
)
WIDE = f"{VIP}/24 on lo has the wrong prefix length; the VIP stands alone: ip address del {VIP}/24 dev lo"
STRICT = "packets of clients that come in by s0 are dropped: sysctl -w net.ipv4.conf.s0.rp_filter=2"
EARLY = f"{VIP} stands here while ARP is not quiet about it"


@pytest.mark.parametrize(
    ("vip", "spoil", "flags", "words"),
    [
        (VIP, f"ip address add {VIP}/24 dev s0", (), ALSO),
        (VIP6, f"ip address add {VIP6}/64 dev s0 nodad", (), ALSO6),
        (VIP, f"ip address add {VIP}/24 dev lo", (), WIDE),
        (
            VIP,
            "echo 1 >/proc/sys/net/ipv4/conf/s0/rp_filter; ip link set tunl0 up; "
            "ip address add 198.18.3.1/24 dev tunl0; ip route replace default via 198.18.3.2",
            ("--device", "s0"),
            STRICT,
        ),
        (VIP, "echo 0 >/proc/sys/net/ipv4/conf/all/arp_ignore", (), EARLY),
    ],
)
def test_a_server_that_cannot_work_is_told_so(
    vip: str, spoil: str, flags: tuple[str, ...], words: str
) -> None:
    case = Case("l2dsr", (vip,), flags)
    tool("python", "setup", case)
    tool("python", "verify", case)
    server("sh", "-ec", spoil)
    told = [tool(name, "verify", case, code=1) for name in ("python", "sh")]
    assert told[0] == told[1]
    assert sum(line.startswith("problem  ") and words in line for line in told[0].splitlines()) == 1
    warned = [tool(name, "setup", case) for name in ("python", "sh")]
    assert any(line.startswith("warning  ") and words in line for line in warned[0].splitlines())
