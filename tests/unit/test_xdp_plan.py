"""Does a packet find what the old table says, or the new one, between any two writes to the maps?"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from xdp_watch import BACKENDS, MAC, VIPS, Installed, compiled

from dsrlb import schedulers
from dsrlb.engines.xdp.adopt import adopt
from dsrlb.model import Backend, ModeOptions, Persist, Service
from dsrlb.table import EMPTY, ForwardingTable
from dsrlb.transition import carry


@st.composite
def a_service(draw: st.DrawFn) -> Service:
    mode = draw(st.sampled_from(["l2dsr", "l3dsr", "inline"]))
    backends = draw(st.sets(st.sampled_from(range(len(BACKENDS))), max_size=4))
    return Service(
        vip=draw(st.sampled_from(VIPS)),
        port=draw(st.sampled_from([0, 80])),
        protocol=draw(st.sampled_from(["tcp", "udp"])),
        mode=mode,
        scheduler=draw(st.sampled_from(sorted(schedulers.BY_NAME))),
        backends=tuple(
            Backend(BACKENDS[place], weight=draw(st.integers(0, 3))) for place in sorted(backends)
        ),
        options=ModeOptions(snat=draw(st.booleans()), clamp_mss=draw(st.booleans())),
        persist=draw(st.none() | st.just(Persist(60, 24, 64))),
    )


tables_of_services = st.builds(
    compiled,
    st.lists(a_service(), max_size=5, unique_by=lambda one: (one.vip, one.port, one.protocol)),
    st.dictionaries(st.sampled_from(range(len(BACKENDS))), st.integers(0, 2)),
    st.sampled_from([{1: MAC}, {1: MAC, 2: MAC}, {7: MAC[::-1]}]),
)


@settings(max_examples=50, deadline=None)
@given(st.lists(tables_of_services, min_size=1, max_size=4), st.data())
def test_a_packet_finds_the_old_service_or_the_new_one_between_any_two_writes(
    tables: list[ForwardingTable], data: st.DataObject
) -> None:
    installed, now_s = Installed(), 0
    for table in tables:
        now_s += data.draw(st.sampled_from([1, 1000]))
        installed.install_watched(carry(installed.table, table, now_s))
        installed.install_watched(installed.table)  # no record is left over
        assert installed.writes(installed.table) == []


@settings(max_examples=30, deadline=None)
@given(tables_of_services, tables_of_services, tables_of_services, st.integers(0, 120))
def test_a_process_that_takes_over_from_one_killed_between_two_writes_goes_on(
    first: ForwardingTable, second: ForwardingTable, third: ForwardingTable, killed_after: int
) -> None:
    installed = Installed()
    installed.install_watched(carry(EMPTY, first, 1))
    installed.install_watched(second := carry(installed.table, second, 2), most=killed_after)
    other = installed.taken_over()
    assert adopt(installed.maps.as_found())[1] == [], "what was put right is right"
    other.install_watched(carry(other.table, third, 3), installed.table, second)
    other.install_watched(other.table)
    assert other.writes(other.table) == []


@settings(max_examples=30, deadline=None)
@given(tables_of_services, tables_of_services, tables_of_services)
def test_what_stands_in_the_maps_is_as_good_as_having_written_it(
    first: ForwardingTable, second: ForwardingTable, third: ForwardingTable
) -> None:
    installed = Installed()
    for now_s, table in enumerate((first, second)):
        installed.install_watched(carry(installed.table, table, now_s))
    installed.install_watched(installed.table)
    other = installed.taken_over()
    assert other.writes(installed.table) == []
    assert carry(other.table, third, 10).services == carry(installed.table, third, 10).services
