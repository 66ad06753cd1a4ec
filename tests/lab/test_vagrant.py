"""Do the scripts that provision the virtual machines make a network that balances?

The machines are pretended ones, plugged together and addressed as the Vagrantfile says, each with a network,
a file system and processes of its own.  On them run the very scripts of ``vagrant/provision``, with the
wheel of this checkout, and the lines of ``vagrant/README.md``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_interface

import pytest
from lab_machines import MISSING, ROOT, Machine, fill_box, storage
from lab_wire import TEST_PREFIX, eventually

from dsrlb.lab import build
from dsrlb.lab.client import Result, ask
from dsrlb.lab.lifecycle import standing
from dsrlb.lab.topologies import BY_MODE
from dsrlb.lab.topologies.base import Cable, End, Network
from dsrlb.lab.topology import Lab, link_bytes

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
README = (ROOT / "vagrant/README.md").read_text()
VIPS = {
    "198.18.1.100": "l2dsr",
    "2001:db8:1::100": "l2dsr",
    "198.18.10.1": "l3dsr",
    "2001:db8:10::1": "l3dsr",
}
CLIENTS = {4: "198.18.0.2", 6: "2001:db8::2"}
DEADLINE_S = 60


@dataclass(frozen=True)
class Row:
    role: str
    mode: str
    addresses: dict[str, str]  # by network, in the order of the interfaces


def table() -> dict[str, Row]:
    """What the Vagrantfile's table says."""
    text = (ROOT / "vagrant/Vagrantfile").read_text().partition("MACHINES = {")[2].partition("\n}\n")[0]
    rows = re.split(r'^  "(\w+)" +=> ', text, flags=re.MULTILINE)[1:]
    return {
        name: Row(
            role=re.findall(r'role: "(\w+)"', row)[0],
            mode=next(iter(re.findall(r'mode: "(\w+)"', row)), ""),
            addresses=dict(re.findall(r'"(\w+)" +=> "([\d.]+)"', row)),
        )
        for name, row in zip(rows[::2], rows[1::2], strict=True)
    }


ROWS = table()
NETWORKS = {network for row in ROWS.values() for network in row.addresses}
SWITCHES = {network: f"switch{number}" for number, network in enumerate(sorted(NETWORKS), 1)}
SERVERS = {mode: {name for name, row in ROWS.items() if row.mode == mode} for mode in ("l2dsr", "l3dsr")}


class Plugged(Lab):
    """A lab with the Vagrantfile's machines: interfaces are eth1 and on, with IPv4 addresses only."""

    @property
    def network(self) -> Network:
        cables = [
            Cable(
                End(name, f"eth{number}", addresses=(ip_interface(f"{address}/24"),)),
                End(SWITCHES[network], f"p-{name}"),
                1500,
            )
            for name, row in ROWS.items()
            for number, (network, address) in enumerate(row.addresses.items(), 1)
        ]
        return Network(tuple(cables), routes=(), switches=tuple(SWITCHES.values()), routers=())

    @property
    def topology(self):
        return BY_MODE["inline"]  # the one whose servers are not set up by the lab

    @property
    def balancer_names(self) -> tuple[str, ...]:
        return ("lb1", "lb2")

    @property
    def server_names(self) -> tuple[str, ...]:
        return ()  # the lab is to start nothing there

    @property
    def roles(self) -> tuple[str, ...]:
        return (*ROWS, *SWITCHES.values())


@dataclass(frozen=True)
class Machines:
    lab: Lab
    all: dict[str, Machine]

    def __getitem__(self, name: str) -> Machine:
        return self.all[name]

    def together(self, line: dict[str, str]) -> None:
        """Run a line on each of these machines, all at the same time."""
        with ThreadPoolExecutor(3) as pool:
            for done in [pool.submit(self[name].must, one) for name, one in line.items()]:
                done.result()

    def provision(self, pair: str, names: Iterable[str] = ROWS) -> None:
        """Do what Vagrant does at ``vagrant provision --provision-with network``."""
        words = {"lb": pair, "router": pair, "client": ""}
        self.together(
            {
                name: f"/vagrant/provision/{ROWS[name].role}.sh {words.get(ROWS[name].role, ROWS[name].mode)}"
                for name in names
            }
        )

    def reboot(self) -> None:
        """Cut the power of all, and bring it back."""
        for one in self.all.values():
            one.switch_off()
        build.remove(self.lab.prefix)
        build.build(self.lab)
        for one in self.all.values():
            one.switch_on()
        self.together(dict.fromkeys(self.all, "systemctl boot"))

    def answers(self, vip: str, count: int = 100) -> Result:
        return ask(self.lab, "requests", host=vip, count=count, parallel=4, timeout_s=2, lost_max=1)

    def requests_by_every_vip(self) -> None:
        """100 requests by each VIP are answered, by all of its servers, who see the client itself.

        After a change of turns it takes a moment until they are.
        """
        for vip in VIPS:
            assert eventually(lambda vip=vip: self._served(vip, self.answers(vip)), DEADLINE_S), self.logs()

    def _served(self, vip: str, answers: Result) -> bool:
        seen = {body.split()[1] for body in answers["bodies"] if body}
        by_all = set(answers["servers"]) == SERVERS[VIPS[vip]]
        return by_all and not answers["errors"] and seen == {CLIENTS[6 if ":" in vip else 4]}

    def logs(self) -> str:
        return "".join(self[name].run("tail -n 30 /var/log/dsrlb.log").stdout for name in ("lb1", "lb2"))


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    with standing(Plugged(prefix=f"{TEST_PREFIX}v-", ipv6=True)) as lab, storage(lab) as folder:
        box = fill_box(folder)
        below = [str(box.upper)]
        it = Machines(lab, {name: Machine(name, folder, lab.namespace(name), below) for name in ROWS})
        try:
            for one in it.all.values():
                one.switch_on()
            yield it
        finally:
            for one in it.all.values():
                one.switch_off()


def lines_to_paste(name: str) -> list[str]:
    """The README's lines for a machine, without ``sudo`` and without the comment behind."""
    found = re.findall(rf"vagrant ssh {name} -c '(.*?)'", README)
    return [line.removeprefix("sudo ") for line in found]


def crossed(machines: Machines, device: str, work: Callable[[], object]) -> dict[str, int]:
    """Return the bytes that each balancer received by a device meanwhile."""
    before = {name: link_bytes(machines.lab, name, device).received for name in ("lb1", "lb2")}
    work()
    return {name: link_bytes(machines.lab, name, device).received - then for name, then in before.items()}


def whose_turn(machines: Machines) -> str:
    """Return which balancer is at work."""
    said = {name: machines[name].run(lines_to_paste(name)[-1]).stdout for name in ("lb1", "lb2")}
    assert sorted(said.values()) == ["active\n", "inactive\n"]
    return next(name for name, word in said.items() if word == "active\n")


def test_a_machine_without_its_network_is_told_so(machines: Machines) -> None:
    done = machines["client"].run("/vagrant/provision/lb.sh active-active")
    assert done.returncode != 0
    assert "no interface of this machine has an address in 198.18.1.0/24" in done.stderr


def test_provisioned_twice_in_a_row_all_vips_are_served(machines: Machines) -> None:
    for _ in range(2):
        machines.provision("active-standby")
        machines.requests_by_every_vip()


def test_it_is_the_turn_of_one_balancer(machines: Machines) -> None:
    bytes_of = crossed(machines, "eth1", lambda: machines.answers("198.18.10.1"))
    assert min(bytes_of.values()) < 5_000 < bytes_of[whose_turn(machines)]


def test_the_readmes_capture_shows_requests_twice_and_no_answer(machines: Machines) -> None:
    [line] = [line for line in lines_to_paste("lb1") if "tcpdump" in line]
    capture = machines[whose_turn(machines)].begin(line)
    assert eventually(lambda: machines.answers("198.18.1.100", 4) and capture.poll() is not None, DEADLINE_S)
    seen = capture.communicate()[0]
    assert (
        len(re.findall(r" 198\.18\.0\.2\.\d+ > 198\.18\.1\.100\.80: ", seen)) == len(seen.splitlines()) == 8
    )


def test_the_balancer_finds_nothing_to_say_of_the_servers(machines: Machines) -> None:
    balancer = machines[whose_turn(machines)]
    assert eventually(lambda: balancer.must("dsrlb show health").count(" ok ") == 10, DEADLINE_S)
    assert "mtu:" not in balancer.must("dsrlb show health")


def test_the_readmes_lines_for_clients_say_what_it_claims(machines: Machines) -> None:
    *asking, _ = lines_to_paste("client")
    said = [machines["client"].must(line).splitlines() for line in asking]
    assert [[line.split()[1] for line in lines] for lines in said] == [
        ["198.18.0.2"] * 3,
        ["2001:db8::2"] * 2,
    ]
    assert said[0][2].split()[0] in SERVERS["l3dsr"]


def test_the_readmes_lines_for_a_server_say_what_it_claims(machines: Machines) -> None:
    verify, undo, setup = lines_to_paste("rs1")
    codes = [machines["rs1"].run(line).returncode for line in (verify, undo, verify, setup, verify)]
    assert codes == [0, 0, 1, 0, 0]


def test_a_download_outlives_the_balancer_that_it_came_by(machines: Machines) -> None:
    came = link_bytes(machines.lab, "client", "eth1").received + (1 << 20)
    download = machines["client"].begin(lines_to_paste("client")[-1])
    assert eventually(lambda: link_bytes(machines.lab, "client", "eth1").received > came, DEADLINE_S)
    turn = whose_turn(machines)
    machines[turn].switch_off()
    assert download.poll() is None, "it is under way when the power goes"
    machines.requests_by_every_vip()
    assert download.communicate() == ("200 20000000 bytes\n", "")
    machines[turn].switch_on()
    machines[turn].must("systemctl boot")
    assert "stop" in machines[turn].must("cat /run/dsrlb-turn"), "who comes back is the standby"


def test_both_at_work_share_the_flows_and_the_router_can_lead_all_to_one(machines: Machines) -> None:
    machines.provision("active-active", ["router", "lb1", "lb2"])
    bytes_of = crossed(machines, "eth2", machines.requests_by_every_vip)
    assert min(bytes_of.values()) > 5_000
    [line] = [line for line in lines_to_paste("router") if "router.sh" in line]
    machines["lb1"].switch_off()
    machines["router"].must(line)
    machines.requests_by_every_vip()
    machines["router"].must(line.removesuffix(" lb2"))
    machines["lb1"].switch_on()
    machines["lb1"].must("systemctl boot")


def test_all_come_back_from_a_loss_of_power_by_themselves(machines: Machines) -> None:
    machines.reboot()
    machines.requests_by_every_vip()
