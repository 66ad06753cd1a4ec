"""Are tables and counters in the kernel what was installed and sent, and do they outlive the process?"""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import packets as p
import pytest

from dsrlb.engines.xdp import reading
from dsrlb.engines.xdp.handshakes import handshakes
from dsrlb.engines.xdp.install import Tables
from dsrlb.engines.xdp.layout import ServiceFlag
from dsrlb.engines.xdp.program import Loaded, loaded, set_clock
from dsrlb.engines.xdp.sizes import Sizes, sizes_for
from dsrlb.errors import HostError
from dsrlb.flows import FlowState
from dsrlb.host import bpf, bpf_maps, libbpf
from dsrlb.model import Action, Backend, Hop, Reason, Service, person_backend, wire_address
from dsrlb.table import ForwardingTable, compile_table
from dsrlb.transition import carry
from dsrlb.wire.l4 import flow_key

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="root is missing: BPF programs need it"),
]

NOW_S = 1000
LOOPBACK = 1  # test runs come in by it
HOPS = {
    ip_address(address): Hop(LOOPBACK, p.mac_bytes(p.BALANCER_MAC), p.mac_bytes(mac))
    for address, mac in zip(p.BACKENDS, p.BACKEND_MACS, strict=True)
}


def web(*places: int, scheduler: str = "lc", port: int = 80) -> Service:
    backends = tuple(Backend(ip_address(p.BACKENDS[place])) for place in places)
    return Service(ip_address(p.VIP), port, "tcp", "l2dsr", scheduler, backends)


def table_of(*services: Service) -> ForwardingTable:
    return compile_table(services, HOPS, {LOOPBACK: p.mac_bytes(p.BALANCER_MAC)})


SIZES = sizes_for(table_of(web(0, 1)), max_flows=1000)


@pytest.fixture
def maps_at(tmp_path: Path) -> Iterator[Path]:
    where = tmp_path / "bpf"
    where.mkdir()
    subprocess.run(["mount", "-t", "bpf", "bpf", str(where)], check=True)
    yield where
    subprocess.run(["umount", "-l", str(where)], check=True)


def send(program: Loaded, sport: int, flags: str = "A", dport: int = 80) -> str:
    """Run the program on a client's packet; return the MAC that it is sent to, empty if it is not sent."""
    frame = bytes(p.tcp(sport=sport, dport=dport, flags=flags))
    done = bpf.run(program.entry, frame)
    return done.packet[:6].hex(":") if done.retval == Action.TX else ""


def key_of(sport: int, dport: int = 80) -> bytes:
    ports = struct.pack(">HH", sport, dport)
    return flow_key(*(wire_address(ip_address(one)) for one in (p.CLIENT, p.VIP)), ports, 6)


@contextmanager
def at_work(maps_at: Path | None, sizes: Sizes = SIZES) -> Iterator[tuple[Loaded, Tables]]:
    with loaded(sizes, test_clock=True, maps_at=maps_at) as program:
        set_clock(program, NOW_S)
        yield program, Tables(program)


def test_records_and_counters_are_those_of_the_process_before(maps_at: Path) -> None:
    table = table_of(web(0, 1, 2))
    with at_work(maps_at) as (program, tables):
        tables.install(table)
        went = {sport: send(program, sport, "S") for sport in range(2000, 2009)}
        assert sorted(went.values()) == sorted(p.BACKEND_MACS * 3)
        counted, recorded = reading.counts(tables), dict(reading.flows(tables))
    with at_work(maps_at, replace(SIZES, targets=4 * SIZES.targets)) as (program, tables):
        assert program.sizes == SIZES, "maps have the size that they had"
        found = tables.adopt()
        assert [one.slots for one in found.services.values()] == [
            one.slots for one in table.services.values()
        ]
        tables.install(carry(found, table, 1000))
        assert reading.counts(tables) == counted
        assert dict(reading.flows(tables)) == recorded
        assert {sport: send(program, sport) for sport in went} == went
        assert reading.reasons(program)[Reason.FORWARDED] == 18
        assert sum(one.active for one in reading.counts(tables).values()) == 9


def test_a_flow_on_record_is_found_by_its_key() -> None:
    with at_work(None) as (program, tables):
        tables.install(table_of(web(1)))
        assert reading.flow(tables, key_of(2000)) is None
        send(program, 2000, "S")
        record = reading.flow(tables, key_of(2000))
        assert record == dict(reading.flows(tables))[key_of(2000)]
        assert record is not None
        assert person_backend(record.backend) == p.BACKENDS[1]
        assert (record.state, record.until_s) == (FlowState.SYN_RECEIVED, 1060)


def test_a_backend_that_is_removed_and_comes_back_goes_on_counting() -> None:
    with at_work(None) as (program, tables):
        tables.install(table_of(web(0, scheduler="maglev")))
        send(program, 2000)
        before = reading.counts(tables)
        tables.install(table_of(web(1, scheduler="maglev")))
        send(program, 2000)
        counts = reading.counts(tables)
        assert {names: counts[names] for names in before} == before
        tables.install(table_of(web(0, scheduler="maglev")))
        send(program, 2000)
        assert [count.packets for count in reading.counts(tables).values()] == [2, 1]


def test_counters_stay_when_the_place_of_a_removed_backend_is_needed_for_another() -> None:
    with at_work(None, replace(SIZES, targets=3)) as (program, tables):
        for place in (0, 1, 2, 0):
            tables.install(table_of(web(place, scheduler="maglev")))
            assert send(program, 2000) == p.BACKEND_MACS[place]
        by_backend = {person_backend(names[1]): one.packets for names, one in reading.counts(tables).items()}
        assert by_backend == dict(zip(p.BACKENDS, (2, 1, 1), strict=True))


def shaken(tables: Tables) -> dict[str, tuple[int, int]]:
    """Return how many handshakes were opened and answered, by backend."""
    told = handshakes(tables, {}, NOW_S * 1_000_000)
    return {person_backend(names[1]): (one.opened, one.answered) for names, one in told.items()}


def test_handshakes_are_not_taken_for_those_of_another_backend_that_got_the_place() -> None:
    with at_work(None, replace(SIZES, targets=3)) as (program, tables):

        def serve(place: int) -> None:
            tables.install(table_of(replace(web(place, scheduler="maglev"), passive=True)))

        serve(0)
        for sport, flags in ((2000, "S"), (2000, "A"), (2001, "S")):
            assert send(program, sport, flags) == p.BACKEND_MACS[0]
        assert shaken(tables) == {p.BACKENDS[0]: (2, 1)}
        serve(1)
        serve(2)
        assert send(program, 2001) == p.BACKEND_MACS[2]
        assert shaken(tables) == {}
        send(program, 2001, "S")
        assert shaken(tables) == {p.BACKENDS[2]: (1, 0)}


def test_handshakes_are_those_of_the_process_before(maps_at: Path) -> None:
    with at_work(maps_at) as (program, tables):
        tables.install(table_of(replace(web(0, 1), passive=True)))
        for sport in (2000, 2001):
            assert send(program, sport, "S") and send(program, sport)
        assert shaken(tables) == dict.fromkeys(p.BACKENDS[:2], (1, 1))
    with at_work(maps_at) as (_, tables):
        tables.adopt()
        assert shaken(tables) == dict.fromkeys(p.BACKENDS[:2], (1, 1))


def test_flows_of_a_backend_that_is_drained_away_stay_until_they_end_and_then_nothing_is_looked_up() -> None:
    with at_work(None) as (program, tables):
        tables.install(table_of(web(0)))
        assert send(program, 2000, "S") == p.BACKEND_MACS[0]
        tables.install(table_of(web(0, 1, scheduler="maglev")))
        (held,) = tables.allocation.services.values()
        assert send(program, 2000) == p.BACKEND_MACS[0]
        tables.tidy()
        assert ServiceFlag.LOOKS_UP in held.flags
        set_clock(program, 1000 + 901)
        for _ in range(program.sizes.flows):
            bpf.run(program.programs["sweep"], bytes(64))
        tables.tidy()
        assert ServiceFlag.LOOKS_UP not in held.flags


def test_a_flow_table_that_is_too_small_is_refused_with_the_way_out(maps_at: Path) -> None:
    with at_work(maps_at):
        pass
    with (
        pytest.raises(HostError, match=r"has room for 1024 flows, not 4096: run dsrlb detach"),
        at_work(maps_at, replace(SIZES, flows=4 * SIZES.flows)),
    ):
        pass


def test_maps_of_another_layout_are_refused_with_the_way_out(maps_at: Path) -> None:
    with at_work(maps_at) as (program, _):
        setup = bpf_maps.lookup(program.maps["setup"], bytes(4))
        assert setup is not None
        bpf_maps.update(program.maps["setup"], bytes(4), struct.pack("=I", 99) + setup[4:])
    with pytest.raises(HostError, match=r"of another version of dsrlb.*run dsrlb detach"), at_work(maps_at):
        pass


def test_a_table_that_does_not_fit_is_refused_with_nothing_changed() -> None:
    with at_work(None, replace(SIZES, services=4)) as (program, tables):
        tables.install(table_of(web(0)))
        with pytest.raises(HostError, match="room for 1 services, not 2: run dsrlb detach"):
            tables.install(table_of(web(1), web(1, port=81)))
        assert send(program, 2000, "S") == p.BACKEND_MACS[0]


def test_a_write_that_fails_leaves_tables_that_know_what_stands_in_the_maps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with at_work(None) as (program, tables):
        tables.install(table_of(web(0)))
        with monkeypatch.context() as patch:
            patch.setattr(tables, "_settled", lambda: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                tables.install(table_of(web(1)))
        tables.install(table_of(web(2)))
        assert send(program, 2000, "S") == p.BACKEND_MACS[2]


def test_after_a_write_that_failed_the_table_before_is_put_back_as_heavy_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def weighed(light: int, heavy: int) -> ForwardingTable:
        one = web(0, 1, scheduler="wlc")
        backends = zip(one.backends, (light, heavy), strict=True)
        return table_of(replace(one, backends=tuple(replace(it, weight=weight) for it, weight in backends)))

    def shares(tables: Tables) -> set[int]:
        return set(tables.loads["share"].tolist()) - {0}

    with at_work(None) as (_, tables):
        tables.install(before := weighed(1, 7))
        assert shares(tables) == {1, 7}
        with monkeypatch.context() as patch:
            patch.setattr(tables, "_settled", lambda: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                tables.install(weighed(2, 5))
        assert tables.table is before
        tables.tidy()
        assert shares(tables) == {1, 7}


def test_a_table_whose_slots_would_not_fit_is_refused_before_its_backends_are_known() -> None:
    with at_work(None) as (program, tables):
        tables.install(table_of(web(0, scheduler="rr")))
        few, many = (
            compile_table(
                [web(0, 1, scheduler="maglev", port=port) for port in range(81, 81 + count)], {}, {}
            )
            for count in (33, 34)  # of 2049 lines; there are 69,636
        )
        tables.check(few)
        with pytest.raises(HostError, match=r"lines of slots, not \d+: run dsrlb detach"):
            tables.check(many)
        assert send(program, 2000, "S") == p.BACKEND_MACS[0]


def test_slots_of_services_that_change_or_go_count_until_they_are_over() -> None:
    with at_work(None) as (_, tables):
        table = table_of(*(web(0, 1, scheduler="maglev", port=port) for port in range(81, 96)))
        tables.install(table)
        tables.check(table)
        tables.check(table_of(*(web(0, 2, scheduler="maglev", port=port) for port in range(81, 96))))
        with pytest.raises(HostError, match="lines of slots"):
            tables.check(table_of(*(web(0, 1, scheduler="maglev", port=port) for port in range(100, 120))))


@pytest.mark.parametrize("has_batches", [True, False])
def test_counters_of_many_are_read_at_once_where_the_kernel_can_and_one_by_one_elsewhere(
    monkeypatch: pytest.MonkeyPatch, has_batches: bool
) -> None:
    with loaded(SIZES, test_clock=True) as program:
        counts = program.maps["counts"]
        wanted = [bytes([place % 251]) * counts.value_bytes for place in range(SIZES.targets)]
        for place, value in enumerate(wanted):
            bpf_maps.update(counts, struct.pack("=I", place), value)
        if not has_batches:
            of_all = libbpf.call

            def call(what: str, name: str, *arguments: object, allowed: tuple[int, ...] = ()) -> int:
                is_batch = name == "bpf_map_lookup_batch"
                return -524 if is_batch else of_all(what, name, *arguments, allowed=allowed)

            monkeypatch.setattr(libbpf, "call", call)
        monkeypatch.setattr(bpf_maps, "_A_READ", 100)  # so that it takes several
        for count in (1, 100, 150, SIZES.targets):
            assert bpf_maps.first_values(counts, count) == b"".join(wanted[:count])
