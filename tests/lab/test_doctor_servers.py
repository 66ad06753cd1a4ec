"""Does the doctor say of real servers, by their own words and by a handshake through each, what is wrong?"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from lab_clients import PORT, Clients, clients_of
from lab_far import ADDRESSES, BALANCER, SERVERS, SSHD, farm
from lab_faults import decapsulation_gone, own_address_only, vip_gone
from lab_fork import run_forked
from lab_matrix import arp_announce_0, arp_ignore_0, no_listener, whole_segments, wrong_gateway
from lab_reload import Start, service
from lab_wire import inside

from dsrlb.host.probe_rules import MARK
from dsrlb.lab.topology import Lab, run

Row = dict[str, str]
Fault = Callable[[Clients], AbstractContextManager[None]]
AT_RS1 = "198.18.1.11"


def doctor(lab: Lab, file: Path, *more: str, code: int = 0) -> list[Row]:
    """What it finds at the lab's balancer."""
    return found_at(lab.namespace("lb"), file, *more, code=code)


def found_at(namespace: str, file: Path, *more: str, code: int) -> list[Row]:
    done = run_forked(namespace, "doctor", "--config", str(file), "--json", *more)
    assert done.returncode == code, (done.stdout, done.stderr)
    assert done.stderr == ""
    rows: list[Row] = json.loads(done.stdout)
    return rows


def ways(lab: Lab) -> list[str]:
    """The way to each server's own words."""
    each = zip(lab.server_addresses(), lab.server_names, strict=True)
    return [word for address, role in each for word in ("--via", f"{address}=netns:{lab.namespace(role)}")]


def wrong(rows: Sequence[Row]) -> dict[str, Row]:
    """What is wrong, by name; all of it with rs1."""
    found = {row["name"]: row for row in rows if row["verdict"] == "wrong"}
    assert all(row["mend"] and row["evidence"] for row in found.values()), found
    return found


@pytest.fixture
def clients(lab: Lab) -> Iterator[Clients]:
    with clients_of(lab) as it:
        yield it


@pytest.fixture
def file(lab: Lab, tmp_path: Path) -> Path:
    about = service(*map(str, lab.server_addresses()), vip=lab.vips[0], port=PORT, mode=lab.mode)
    (tmp_path / "dsrlb.toml").write_text(f'interfaces = ["e0"]\n{about}')
    return tmp_path / "dsrlb.toml"


def named(clients: Clients, file: Path, fault: Fault) -> dict[str, Row]:
    """Break rs1, and return what is wrong by the servers' own words and by handshakes."""
    with fault(clients):
        found = wrong(doctor(clients.lab, file, *ways(clients.lab), code=1))
    assert {row["where"] for row in found.values()} == {str(clients.lab.server_addresses()[0])}
    return found


class TestL2:
    def test_all_is_well_by_everybody_s_words_and_nothing_is_left(
        self, lab: Lab, clients: Clients, file: Path, start: Start
    ) -> None:
        running = start()
        client = f"client=netns:{lab.namespace('client')}"
        rows = doctor(lab, file, *ways(lab), "--via", client, "--admin", str(running.admin))
        assert not wrong(rows)
        (connected,) = [row for row in rows if row["where"] == "client"]
        assert (connected["verdict"], connected["evidence"]) == ("ok", "12 ok")
        probes = [row for row in rows if row["name"] == "end_to_end" and row["where"] != "client"]
        assert [row["verdict"] for row in probes] == 3 * ["ok"]
        assert running.stop() == 0
        with inside(lab.namespace("lb")):
            assert f"{MARK >> 16:x}" not in run(["ip", "rule"]), "the doctor's rule is taken back"
            assert "dsrlb-p" not in run(["ip", "link"])

    @pytest.mark.parametrize(
        ("fault", "name", "mend"),
        (
            (arp_ignore_0, "arp_ignore", "net.ipv4.conf.all.arp_ignore=1"),
            (arp_announce_0, "arp_announce", "sysctl -w net.ipv4.conf.all.arp_announce=2"),
            (own_address_only, "listener_elsewhere", "let the service listen on"),
            (no_listener, "no_listener", "start the service"),
        ),
    )
    def test_a_fault_of_a_server_is_named(
        self, clients: Clients, file: Path, fault: Fault, name: str, mend: str
    ) -> None:
        assert mend in named(clients, file, fault)[name]["mend"]

    def test_a_lost_handshake_tells_what_the_server_s_kernel_dropped(
        self, clients: Clients, file: Path
    ) -> None:
        found = named(clients, file, vip_gone)
        assert found["vip_missing"]["mend"] == "ip address add 198.18.1.100/32 dev lo"
        assert "for an address that it does not have (Ip.InAddrErrors)" in found["end_to_end"]["evidence"]
        assert "the VIP on it does not" in found["end_to_end"]["says"]

    def test_a_server_that_is_not_to_be_asked_is_no_fault(self, clients: Clients, file: Path) -> None:
        rows = doctor(clients.lab, file, "--via", f"{AT_RS1}=netns:{clients.lab.prefix}nobody")
        said = {row["where"]: row for row in rows if row["name"] == "server"}
        assert "there is no network namespace" in said[AT_RS1]["says"]
        assert "--via 198.18.1.12=ssh:root@198.18.1.12" in said["198.18.1.12"]["mend"]


class TestL3:
    @pytest.fixture
    def lab(self, l3_lab: Lab) -> Lab:
        return l3_lab

    @pytest.mark.parametrize(
        ("fault", "name", "mend"),
        (
            (decapsulation_gone, "no_decapsulation", "dsrlb backend setup --mode l3dsr"),
            (whole_segments, "mtu", "advmss 1440"),
        ),
    )
    def test_a_fault_of_a_server_is_named(
        self, clients: Clients, file: Path, fault: Fault, name: str, mend: str
    ) -> None:
        assert mend in named(clients, file, fault)[name]["mend"]

    def test_all_is_well_and_nobody_is_accused(self, clients: Clients, file: Path) -> None:
        assert not wrong(doctor(clients.lab, file, *ways(clients.lab)))


class TestInline:
    @pytest.fixture
    def lab(self, inline_lab: Lab) -> Lab:
        return inline_lab

    def test_a_wrong_way_back_is_named(self, clients: Clients, file: Path) -> None:
        assert not wrong(doctor(clients.lab, file, *ways(clients.lab)))
        row = named(clients, file, wrong_gateway)["default_route"]
        assert row["mend"].endswith("--gateway 198.18.2.1")
        assert "default via 198.18.2.12" in row["evidence"]


@pytest.mark.skipif(not Path(SSHD).exists(), reason="sshd is missing")
def test_servers_are_asked_by_ssh_and_one_that_says_nothing_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "dsrlb.toml").write_text(
        'interfaces = ["e0"]\n[[service]]\nvip = "198.18.1.100:22"\nmode = "l2dsr"\n'
        + "".join(f'[[service.backend]]\naddress = "{ADDRESSES[one]}"\nname = "{one}"\n' for one in SERVERS)
    )
    with farm(tmp_path) as servers:
        servers.put(SERVERS[2], "sed", "exit 3")
        rows = found_at(BALANCER, tmp_path / "dsrlb.toml", "--via", "ssh:root@{address}", code=1)
    told = {(row["where"], row["name"]): row for row in rows if row["verdict"] != "ok"}
    for name in SERVERS[:2]:
        assert told[name, "vip_missing"]["mend"] == "ip address add 198.18.1.100/32 dev lo"
        assert told[name, "arp_announce"]["evidence"] == "arp_announce is e0: 0"
    assert "did not say which addresses the server has" in told[SERVERS[2], "server"]["says"]
