"""Does the forwarding table say what services, hops and interfaces say, and a difference what changed?"""

from __future__ import annotations

from ipaddress import ip_address

import balancer
import packets
import pytest

from dsrlb import schedulers
from dsrlb.model import wire_address
from dsrlb.schedulers.base import Cursor
from dsrlb.standing import Effective
from dsrlb.table import EMPTY, CompiledService, ForwardingTable, apply, compile_table, diff

NAMES = [scheduler.name for scheduler in schedulers.SCHEDULERS]
BALANCER = packets.mac_bytes(packets.BALANCER_MAC)


def only(table: ForwardingTable) -> CompiledService:
    (service,) = table.services.values()
    return service


def single(*backends: str, scheduler: str = "maglev", vip: str = "198.18.1.100:80") -> ForwardingTable:
    return balancer.table([vip], backends or balancer.ALL_BACKENDS, scheduler)


def picked(service: CompiledService) -> set[str]:
    """Return the addresses of the backends that have a slot."""
    return {str(ip_address(service.targets[slot].key[12:])) for slot in service.slots}


def test_a_service_is_found_by_vip_port_and_protocol() -> None:
    table = balancer.table()
    keys = {service.name: key.hex() for key, service in table.services.items()}
    assert keys == {
        "198.18.1.100:80/tcp": "00000000000000000000ffffc6120164" + "0050" + "0600",
        "198.18.1.100:53/udp": "00000000000000000000ffffc6120164" + "0035" + "1100",
        "[2001:db8:1::100]:80/tcp": "20010db8000100000000000000000100" + "0050" + "0600",
        "[2001:db8:1::100]:53/udp": "20010db8000100000000000000000100" + "0035" + "1100",
    }
    assert table.vips == {wire_address(ip_address(vip)) for vip in (packets.VIP, packets.VIP6)}


@pytest.mark.parametrize("scheduler", NAMES)
def test_every_backend_with_a_hop_and_a_weight_has_a_slot(scheduler: str) -> None:
    service = only(single(scheduler=scheduler))
    assert picked(service) == set(packets.BACKENDS)
    assert service.cursor is schedulers.BY_NAME[scheduler].cursor


@pytest.mark.parametrize("scheduler", NAMES)
def test_a_backend_without_a_hop_or_without_weight_has_no_slot_but_keeps_its_flows(scheduler: str) -> None:
    _, two, three = balancer.ALL_BACKENDS
    service = only(single("198.18.1.11", two.replace(",", ",weight=0,"), three, scheduler=scheduler))
    assert picked(service) == {"198.18.1.13"}
    assert {target.hop is None for target in service.by_key.values()} == {True, False}
    assert len(service.by_key) == 3


@pytest.mark.parametrize("scheduler", NAMES)
def test_no_backend_at_all_gives_no_slot_and_no_error(scheduler: str) -> None:
    assert len(only(single("198.18.1.11", "198.18.1.12", scheduler=scheduler)).slots) == 0
    one, two, _ = balancer.ALL_BACKENDS
    service = only(single(one + ",weight=0", two + ",weight=0", scheduler=scheduler))
    assert len(service.slots) == 0


@pytest.mark.parametrize("scheduler", NAMES)
def test_the_order_of_services_and_backends_does_not_matter(scheduler: str) -> None:
    weighted = [f"{text},weight={place}" for place, text in enumerate(balancer.ALL_BACKENDS, 1)]
    assert balancer.table(backends=weighted, scheduler=scheduler) == balancer.table(
        reversed(balancer.ALL_VIPS), reversed(weighted), scheduler
    )


def test_the_table_is_not_changed_by_what_becomes_of_its_arguments() -> None:
    services = balancer.services()
    hops = balancer.hops(services[0].backends)
    interfaces: dict[int, bytes | None] = {packets.IFINDEX: BALANCER}
    table = compile_table(services, hops, interfaces)
    hops.clear()
    interfaces.clear()
    assert table == balancer.table()


def test_nothing_has_changed_between_equal_tables() -> None:
    assert not diff(balancer.table(), balancer.table())
    assert not diff(EMPTY, EMPTY)


def inline(*own: str) -> ForwardingTable:
    """Return the table of an inline service on a host that has these addresses."""
    return balancer.table(["198.18.1.100:80"], ["198.18.2.11"], mode="inline", own=own)


ONE, TWO, THREE = balancer.ALL_BACKENDS
TABLES = {
    "empty": EMPTY,
    "all": balancer.table(),
    "tcp only": single(),
    "two backends": single(ONE, TWO),
    "unresolved": single(ONE, TWO, "198.18.1.13"),
    "re-weighted": single(ONE, TWO + ",weight=3", THREE),
    "in turn": single(scheduler="rr"),
    "another MAC": single(ONE, TWO, "198.18.1.13,mac=02:00:c6:12:01:77"),
    "another port": single(vip="198.18.1.100:81"),
    "any port": single(vip="198.18.1.100:*"),
    "another VIP": single(vip="198.18.1.101:80"),
    "another interface": balancer.table(interfaces={9: BALANCER}),
    "no interface": balancer.table(interfaces={}),
    "own addresses": inline("198.18.1.10"),
    "other own addresses": inline("198.18.1.10", "198.18.2.1"),
    "replay": balancer.table(interfaces={packets.IFINDEX: None}),
}


@pytest.mark.parametrize("old", TABLES)
@pytest.mark.parametrize("new", TABLES)
def test_a_difference_turns_one_table_into_the_other(old: str, new: str) -> None:
    change = diff(TABLES[old], TABLES[new])
    assert apply(change, TABLES[old]) == TABLES[new]
    assert bool(change) == (old != new)


def test_a_difference_names_only_what_changed() -> None:
    vips = ("198.18.1.100:80", "198.18.1.100:81")
    old = balancer.table(vips)
    new = compile_table(
        (*balancer.services(vips[:1]), *balancer.services(vips[1:], scheduler="rr")),
        balancer.hops(balancer.services()[0].backends),
        old.interfaces,
    )
    change = diff(old, new)
    assert [service.name for service in change.put.values()] == ["198.18.1.100:81/tcp"]
    assert not change.removed
    assert change.interfaces is None
    assert len(diff(old, balancer.table(vips[:1])).removed) == 1


def test_a_new_mac_changes_the_hop_and_no_slot() -> None:
    old, new = only(TABLES["tcp only"]), only(TABLES["another MAC"])
    assert old.slots == new.slots
    assert old != new
    key = wire_address(ip_address("198.18.1.13"))
    hop = new.by_key[key].hop
    assert hop is not None
    assert hop.dst_mac == bytes.fromhex("0200c6120177")


@pytest.mark.parametrize("scheduler", ["hash", "maglev"])
def test_a_backend_that_goes_moves_few_slots_of_the_others(scheduler: str) -> None:
    before, after = (
        only(single(scheduler=scheduler)),
        only(single(ONE, TWO, "198.18.1.13", scheduler=scheduler)),
    )
    gone = wire_address(ip_address("198.18.1.13"))
    stayed = [
        before.targets[old].key == after.targets[new].key
        for old, new in zip(before.slots, after.slots, strict=True)
        if before.targets[old].key != gone
    ]
    assert sum(stayed) / len(stayed) > 0.75  # plain "hash modulo n" keeps a half


def test_the_cursors_are_those_that_the_data_path_reads() -> None:
    cursors = {scheduler.name: scheduler.cursor for scheduler in schedulers.SCHEDULERS}
    assert cursors == {
        "rr": Cursor.COUNTER,
        "wrr": Cursor.COUNTER,
        "lc": Cursor.LEAST,
        "wlc": Cursor.LEAST,
        "response": Cursor.COUNTER,
        "hash": Cursor.CLIENT_HASH,
        "maglev": Cursor.FLOW_HASH,
    }


def test_services_that_are_as_they_were_are_not_compiled_again() -> None:
    web, dns = balancer.services(["198.18.1.100:80", "198.18.1.100:53/udp"])
    ways, known = balancer.hops(web.backends), dict[bytes, tuple[object, CompiledService]]()
    first = compile_table([web, dns], ways, {}, known=known).services
    again = compile_table([dns, web], dict(ways), {}, known=known).services
    assert all(again[key] is one for key, one in first.items())
    (down,) = [one.key for one in first.values() if one.name.endswith("udp")]
    one_down = Effective(down=frozenset({(down, first[down].targets[0].key)}))
    changed = compile_table([web, dns], ways, {}, effective=one_down, known=known).services
    assert {key for key in changed if changed[key] is not first[key]} == {down}
    nowhere = compile_table([web, dns], {**ways, web.backends[0].address: None}, {}, known=known).services
    assert not any(one is first[key] for key, one in nowhere.items())
    assert nowhere == compile_table([web, dns], {**ways, web.backends[0].address: None}, {}).services
    compile_table([web], ways, {}, known=known)
    assert down not in known
