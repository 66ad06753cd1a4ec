"""What is written for a change, what when there is little room, and what of flows and races of before?"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xdp_watch import BACKENDS, MAC, SIZES, Installed, compiled, key_of, web, web_key

from dsrlb.engines.xdp import layout
from dsrlb.engines.xdp.layout import ServiceFlag
from dsrlb.engines.xdp.lines import TargetLine
from dsrlb.engines.xdp.plan import check_change
from dsrlb.engines.xdp.writes import Put, Settle, Write
from dsrlb.errors import HostError
from dsrlb.flows import BackendCount
from dsrlb.least import Race, pick_least, prepare
from dsrlb.model import wire_address


def test_the_same_table_again_costs_no_write() -> None:
    installed = Installed()
    table = compiled([web("maglev", 0, 1, 2), web("lc", 0, 1, port=81), web("rr", port=82)])
    assert installed.writes(table)
    assert installed.writes(table) == []
    assert installed.writes(replace(table, edition=object())) == []


# --- what a change costs --------------------------------------------------------------------------


def kinds(writes: list[Write]) -> list[tuple[str, str]]:
    """Return of each write what it is, and to which map."""
    return [(type(one).__name__, getattr(one, "map", "")) for one in writes]


def test_a_backend_that_joins_one_service_costs_nothing_of_the_others() -> None:
    installed = Installed()
    others = [web("maglev", 0, 1, port=port) for port in range(100, 110)]
    installed.writes(compiled([*others, web("rr", 0, 1)]))
    writes = installed.writes(compiled([*others, web("rr", 0, 1, 2)]))
    assert kinds(writes) == [
        ("Fill", ""),
        ("Put", "targets"),
        ("PutKey", "members"),
        ("Put", "services"),
        ("Put", "front"),
        ("Put", "current"),
        ("Settle", ""),
        ("Put", "services"),
    ]


def test_a_hop_that_changes_goes_into_the_copy_that_is_not_in_use_before_it_comes_into_use() -> None:
    installed = Installed()
    installed.writes(compiled([web("maglev", 0)]))
    writes = installed.writes(compiled([web("maglev", 0)], {0: 2}))
    assert kinds(writes) == [("Put", "targets"), ("Put", "targets")]
    before, after = (TargetLine.unpack(one.value) for one in writes if isinstance(one, Put))
    assert before.hops == after.hops
    assert (before.hop_in_use, after.hop_in_use) == (0, 1)


def test_a_way_that_takes_less_than_was_thought_is_written_for_its_targets_alone() -> None:
    installed = Installed()
    table = compiled([web("maglev", 0, 1, mode="l3dsr")])
    installed.writes(table)
    installed.paths[wire_address(BACKENDS[0])] = 1400
    (write,) = installed.writes(table)
    assert isinstance(write, Put)
    assert TargetLine.unpack(write.value).mtu_bytes == 1400
    installed.paths.clear()
    (write,) = installed.writes(table)
    assert isinstance(write, Put)
    assert TargetLine.unpack(write.value).mtu_bytes == 1500


# --- when there is little room --------------------------------------------------------------------


def test_services_move_to_make_room_for_one_more_and_are_found_all_the_while() -> None:
    installed, ports, settled = Installed(replace(SIZES, front=4)), list[int](), 0
    for port in range(1, 400):
        table = compiled([web("rr", 0, port=one) for one in (*ports, port)])
        try:
            settled += sum(isinstance(one, Settle) for one in installed.install_watched(table))
        except HostError:
            break
        ports.append(port)
    assert settled, "nobody had to move"
    assert len(ports) >= 6


def test_slots_of_all_services_change_hands_by_and_by_where_there_is_no_room_for_both() -> None:
    installed = Installed(replace(SIZES, slots=5 * 2))
    installed.install_watched(compiled([web("maglev", 0, 1, port=port) for port in range(1, 5)]))
    installed.install_watched(compiled([web("maglev", 0, 2, port=port) for port in range(1, 5)]))


def test_a_table_without_room_for_its_slots_is_refused_before_the_first_write() -> None:
    installed = Installed(replace(SIZES, slots=5))
    with pytest.raises(HostError, match="room for 5 lines of slots, not 6: run dsrlb detach"):
        installed.writes(compiled([web("maglev", 0, 1, port=port) for port in range(1, 4)]))
    assert not installed.maps.slots.any()


def test_interfaces_that_the_program_cannot_tell_apart_are_refused() -> None:
    with pytest.raises(HostError, match="interfaces 3 and 1027 cannot be served together"):
        Installed().writes(compiled([], None, {3: MAC, 3 + layout.INTERFACES: MAC}))


def test_a_service_that_is_gone_gives_its_id_up_when_another_one_needs_it() -> None:
    installed = Installed(replace(SIZES, services=8))
    for port in range(1, 20):
        installed.install_watched(compiled([web("lc", port % 3, port=port)]))
    assert len(installed.allocation.services) <= 7
    assert installed.maps.counted, "targets began anew"


def test_a_service_whose_flows_are_on_record_keeps_its_id() -> None:
    installed = Installed(replace(SIZES, services=8))
    installed.install_watched(compiled([web("lc", 0)]))
    held = installed.allocation.services[web_key()]
    installed.maps.loads["active"][installed.allocation.target_of[held.id, key_of(0)]] = 1
    for port in range(1, 20):
        installed.install_watched(compiled([web("lc", port % 3, port=port)]))
    assert installed.allocation.services[web_key()] is held
    installed.install_watched(compiled([web("rr", 0)]))
    assert ServiceFlag.LOOKS_UP in held.flags


# --- records of another time ----------------------------------------------------------------------


def test_flows_on_record_with_the_service_for_every_port_are_looked_up_by_one_for_their_port() -> None:
    installed = Installed()
    installed.writes(compiled([web("lc", 0, port=0)]))
    number = installed.allocation.services[web_key(0)].id
    index = installed.allocation.target_of[number, key_of(0)]
    installed.maps.loads["inactive"][index] = 1
    table = compiled([web("lc", 0, port=0), web("maglev", 0)])
    installed.writes(table)
    assert ServiceFlag.LOOKS_UP in installed.allocation.services[web_key()].flags


def test_records_that_are_begun_while_the_service_goes_over_are_looked_up() -> None:
    installed = Installed()
    installed.writes(compiled([web("lc", 0)]))
    table, held = compiled([web("maglev", 0)]), installed.allocation.services[web_key()]
    installed.writes(table)
    assert ServiceFlag.LOOKS_UP in held.flags, "one may have been begun since they were counted"
    installed.writes(table)
    assert ServiceFlag.LOOKS_UP not in held.flags


def test_nothing_is_looked_up_any_more_when_the_last_flow_on_record_is_over() -> None:
    installed = Installed()
    installed.writes(compiled([web("lc", 0)]))
    held = installed.allocation.services[web_key()]
    index = installed.allocation.target_of[held.id, key_of(0)]
    installed.maps.loads["active"][index] = 1
    table = compiled([web("maglev", 0)])
    for active, looks_up in ((1, True), (1, True), (0, False)):
        installed.maps.loads["active"][index] = active
        installed.writes(table)
        assert (ServiceFlag.LOOKS_UP in held.flags) == looks_up


# --- least ------------------------------------------------------------------------------------------


backends_of_races = st.lists(st.tuples(st.sets(st.integers(0, 4)), st.integers(0, 3)), min_size=1, max_size=6)


@settings(deadline=None)
@given(backends_of_races)
def test_who_joins_a_race_is_a_newcomer_until_as_least_prepare_has_it(
    tables: list[tuple[set[int], int]],
) -> None:
    installed, race = Installed(), Race()
    for places, picks in tables:
        table = compiled([web("lc", *sorted(places))])
        installed.writes(table)
        service, held = table.services[web_key()], installed.allocation.services[web_key()]
        if not picks or not len(service.slots):
            continue
        counts = tuple(BackendCount() for _ in service.targets)
        prepare(race, service, tuple(one.key for one in service.targets), service.shares, counts)
        indices = [installed.allocation.target_of[held.id, one.key] for one in service.targets]
        loads = installed.maps.loads
        newcomers = {place: int(loads["due"][i]) for place, i in enumerate(indices) if loads["newcomer"][i]}
        assert newcomers == race.due
        for turn in range(picks):
            best = pick_least(race, service.slots, turn)
            counts[best].active += 1
        installed.maps.arrays["races"]["now"][held.id] = race.now
        for place, index in enumerate(indices):
            loads["newcomer"][index] = place in race.due
            loads["due"][index] = race.due.get(place, 0)


def test_a_change_is_refused_whose_slots_would_not_fit_beside_those_there() -> None:
    installed = Installed()  # 64 lines, two for each service of maglev
    installed.writes(compiled([web("rr", 0, 1)]))
    nobody = dict.fromkeys(range(len(BACKENDS)), 0)
    fits, does_not = (
        compiled([web("maglev", 0, 1, port=port) for port in range(100, 100 + count)], nobody)
        for count in (14, 15)
    )
    lines = replace(installed.allocation.sizes, slots=14 * 2 + 1)
    installed.allocation.sizes = lines
    check_change(installed.allocation, fits)
    with pytest.raises(HostError, match="room for 29 lines of slots, not 31: run dsrlb detach"):
        check_change(installed.allocation, does_not)
    assert installed.writes(installed.table) == []


def test_a_target_whose_service_is_just_being_forgotten_has_no_names() -> None:
    installed = Installed()
    installed.writes(compiled([web("rr", 0)]))
    (index,) = installed.allocation.lines
    assert installed.allocation.names(index) == (web_key(), key_of(0))
    installed.allocation.key_of.clear()
    assert installed.allocation.names(index) is None
