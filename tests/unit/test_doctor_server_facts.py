"""Is what a server says of itself read as it is meant, whatever tools it has?"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from ipaddress import ip_address, ip_interface
from pathlib import Path

import pytest
from doctored import facts
from hypothesis import given
from hypothesis import strategies as st

from dsrlb.doctor.facts_client import client_in
from dsrlb.doctor.facts_server import DEFAULT4, SCRIPT, Held, Listener, facts_at, facts_in, road_in
from dsrlb.errors import HostError
from dsrlb.host.via import via_in

COREUTILS = ("cat", "od", "sed", "tr")


def test_what_ip_and_proc_say_is_read() -> None:
    said = facts()
    assert said.devices["e0"].mac == "02:00:c6:12:01:11"
    assert (said.devices["e0"].kind, said.devices["e0"].mtu_bytes) == ("ether", 1500)
    assert "UP" in said.devices["lo"].flags
    assert Held("lo", ip_interface("198.18.1.100/32")) in said.addresses
    assert said.device_of(ip_address("198.18.1.11")) == "e0"
    assert said.roads[DEFAULT4].gateway == ip_address("198.18.1.1")
    assert said.setting("arp_ignore", "e0") == 1, "the greater of the device's own and that of all"
    assert Listener("tcp", ip_address("::"), 80) in said.listeners
    assert said.programs == {}
    assert said.counters["TcpExt.IPReversePathFilter"] == 9


def test_without_ip_proc_and_sys_say_the_same() -> None:
    said = facts_in(
        "device e0 0x1003 1500 1 02:00:c6:12:01:11\n"
        "fib_trie |-- 198.18.1.11\nfib_trie /32 host LOCAL\n"
        "fib_trie |-- 198.18.1.255\nfib_trie /32 link BROADCAST\n"
        "if_inet6 20010db8000100000000000000000011 02 40 00 80 e0\n"
        "rt e0\t00000000\t010112C6\t0003\t0\t0\t100\t00000000\t1480\t0\t0\n"
    )
    assert said.devices["e0"].kind == "ether"
    assert Held("", ip_interface("198.18.1.11/32")) in said.addresses
    assert Held("e0", ip_interface("2001:db8:1::11/64")) in said.addresses
    assert len(said.addresses) == 2, "a broadcast address is none of its own"
    road = said.roads[DEFAULT4]
    assert road.words == "default via 198.18.1.1 dev e0 metric 100 advmss 1440"
    assert (road.gateway, road.advmss) == (ip_address("198.18.1.1"), 1440)
    assert said.programs is None, "there is no tc to see programs by"


def test_addresses_of_sockets_are_read_in_the_order_of_their_bytes() -> None:
    v6 = "B80D0120000000000000000011000000:0050"
    for order, digits in (("0001", f"0B0112C6:0050\nlisten tcp6 {v6}"), ("0100", "C612010B:0050")):
        said = facts_in(f"order {order}\nlisten tcp {digits}\n")
        assert said.listeners[0] == Listener("tcp", ip_address("198.18.1.11"), 80)
        assert [one.address for one in said.listeners[1:]] in ([], [ip_address("2001:db8::11")])


def test_of_several_default_routes_the_one_of_least_metric_counts() -> None:
    said = facts_in(
        "route default4 default via 198.18.1.2 dev e1 metric 200\n"
        "route default4 default via 198.18.1.1 dev e0 metric 100\n"
    )
    assert said.roads[DEFAULT4].device == "e0"


def test_a_route_tells_its_segment_and_mtu() -> None:
    road = road_in("default via inet6 fe80::1 dev e0 mtu 1400 advmss 1340 linkdown")
    assert (road.gateway, road.device, road.mtu_bytes, road.advmss) == (
        ip_address("fe80::1"),
        "e0",
        1400,
        1340,
    )
    assert road_in("default dev ppp0").gateway is None


@pytest.mark.parametrize(
    "line", ("link nonsense", "address 9:", "listen tcp xx", "listen", "rt e0", "sysctl x", "count a")
)
def test_a_line_that_says_nothing_is_left_out(line: str) -> None:
    assert facts_in(f"{line}\nend\n").devices == {}


WORDS = (
    "link address route default4 by rt fib_trie if_inet6 device sysctl listen tcp6 filter count order host "
    "LOCAL metric try tool way src"
)
ODD = st.sampled_from(
    [*WORDS.split(), "1:", "e0:", "<UP>", "mtu", "²", "9" * 5000, "-1", "0.0.0.0/0", "::/129", "FF:", "\\"]
)


@given(st.lists(st.lists(ODD | st.text(max_size=6), max_size=12).map(" ".join), max_size=20).map("\n".join))
def test_whatever_a_server_says_is_read_or_left_out(text: str) -> None:
    facts_in(text)
    client_in(text)


@pytest.mark.parametrize("shell", ("dash", "bash", "busybox"))
@pytest.mark.parametrize("with_ip", (True, False))
def test_the_script_runs_by_any_shell_and_without_ip(shell: str, with_ip: bool, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is missing")
    for tool in (*COREUTILS, *(["ip"] if with_ip else [])):
        # One whose busybox has no ip after all does without it, as the script should.
        (tmp_path / tool).symlink_to(str(shutil.which("busybox" if shell == "busybox" else tool)))
    script = SCRIPT.read_text().replace("PATH=$PATH:/usr/sbin:/sbin:/usr/local/sbin", f"PATH={tmp_path}")
    command = [
        str(shutil.which(shell)),
        *(["sh"] if shell == "busybox" else []),
        "-s",
        "--",
        "from=198.18.0.2",
    ]
    done = subprocess.run(command, input=script, capture_output=True, text=True, timeout=60, check=True)
    said = facts_in(done.stdout)
    assert done.stderr == ""
    assert done.stdout.endswith("end\n")
    assert said.device_of(ip_address("127.0.0.1")) == "lo"
    assert said.devices["lo"].kind == "loopback"
    assert "ipv4/conf/all/rp_filter" in said.sysctls
    assert any(name.startswith("TcpExt.") for name in said.counters)


@pytest.mark.parametrize(
    ("script", "why"),
    (
        ("echo link; exit 3", "did not say what the server is like; it ended with: link"),
        ("echo end", "did not say which addresses the server has: that takes sed"),
        ("echo sed: not found >&2; echo end", "did not say which addresses the server has: sed: not found"),
    ),
)
def test_a_server_that_says_half_of_it_says_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, why: str
) -> None:
    half = tmp_path / "half.sh"
    half.write_text(script)
    monkeypatch.setattr("dsrlb.doctor.facts_server.SCRIPT", half)
    with pytest.raises(HostError, match=f"local {why}"):
        asyncio.run(facts_at(via_in("local"), [], []))
