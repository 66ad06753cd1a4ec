"""Does the program at XDP live as it promises: beside its process, without it, after it, and no longer?"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lab_reload import DEADLINE_S, Start, Write, all_answer, answers_for, holding, reload, service
from lab_running import RS1, RS2, RS3, Serve, connects, flows_of, ours, reasons, to
from lab_wire import TO_BALANCER, Inject, eventually
from lab_xdp import detach, is_bare, there, xdp
from scapy.layers.inet import IP, UDP, fragment
from scapy.packet import Raw

from dsrlb.engines.xdp import layout
from dsrlb.engines.xdp.program import loaded
from dsrlb.engines.xdp.sizes import sizes_for
from dsrlb.host import bpf_maps
from dsrlb.lab.balancer import Balancer
from dsrlb.lab.topology import CLIENT, VIP, Lab, link_bytes
from dsrlb.table import EMPTY

CONNECTIONS, TIMES = 500, 10
MODES = pytest.mark.parametrize("mode", ["native", "generic"])
SERVERS = (RS1, RS2, RS3)


@contextlib.contextmanager
def downloading(lab: Lab, client: Any) -> Iterator[Callable[[], None]]:
    """Keep a download running, of which every byte must be the right one; what is yielded begins another
    one when that is over."""
    begun: list[Any] = []

    def go_on() -> None:
        if begun and begun[-1].poll() is None:
            return
        before = link_bytes(lab, "client", "c0").received
        begun.append(client.begin("download", VIP, size_bytes=2_000_000, rate=200_000))
        assert eventually(lambda: link_bytes(lab, "client", "c0").received > before + 100_000, DEADLINE_S)

    go_on()
    yield go_on
    results = [client.result(one) for one in begun]
    assert [(one["error"], one["intact"]) for one in results] == [("", True)] * len(begun)


def counted(running: Balancer) -> dict[str, int]:
    """Ask for the counters, and return those by reason."""
    asked = running.stdout.count("reason  ")
    running.process.send_signal(signal.SIGUSR1)
    assert eventually(lambda: running.stdout.count("reason  ") > asked, DEADLINE_S)
    assert eventually(lambda: running.stdout.endswith("\n") and "\n\n" in running.stdout, DEADLINE_S)
    return reasons(running.stdout)


def with_download(*, scheduler: str) -> tuple[str, str]:
    """Return two services: one whose connections are held, one for a download beside them."""
    return service(*SERVERS, scheduler=scheduler), service(*SERVERS, port=8080, scheduler=scheduler)


@pytest.mark.parametrize(
    ("scheduler", "mode", "times"),
    [("rr", "native", TIMES), ("maglev", "generic", 3)],
    ids=["native", "generic"],
)
def test_killed_again_and_again_under_load_it_loses_no_connection_no_record_and_no_count(
    scheduler: str, mode: str, times: int, lab: Lab, start: Start, write: Write, client: Any
) -> None:
    write(*with_download(scheduler=scheduler))
    running = start("--xdp-mode", mode)
    with holding(lab, CONNECTIONS) as held, downloading(lab, client) as go_on:
        before: dict[str, int] = {}
        for _ in range(times):
            go_on()
            running.stop(signal.SIGKILL)
            all_answer(held)  # while nobody is there
            running = start("--xdp-mode", mode)
            now = counted(running)
            assert now["forwarded"] >= before.get("forwarded", 0) + 2 * CONNECTIONS
            assert sum(flows_of(running)) > CONNECTIONS
            before = now
        all_answer(held)
    assert running.stop() == 0


@MODES
def test_ten_reloads_break_nothing(mode: str, lab: Lab, start: Start, write: Write, client: Any) -> None:
    write(*with_download(scheduler="maglev"))
    running = start("--xdp-mode", mode)
    with holding(lab, CONNECTIONS) as held, downloading(lab, client) as go_on:
        for number in range(TIMES):
            go_on()
            weights = [f"{RS1},{1 + number % 3}", f"{RS2},{number % 2}", RS3]
            write(service(*weights, scheduler="maglev"), service(*SERVERS, port=8080, scheduler="maglev"))
            reload(running)
            all_answer(held)
    assert running.stop() == 0
    assert "Traceback" not in running.stderr


def test_another_version_takes_the_place_of_the_program_in_its_link(
    lab: Lab, start: Start, write: Write, client: Any
) -> None:
    write(*with_download(scheduler="rr"))
    running = start()
    with holding(lab, CONNECTIONS) as held, downloading(lab, client):
        old = there(lab)
        running.stop(signal.SIGKILL)
        start()
        new = there(lab)
        assert old and new
        assert new.link_id == old.link_id and new.program_id != old.program_id
        all_answer(held)
    steps = list((lab.bpf_fs / "dsrlb" / "default" / "steps").iterdir())
    assert len(steps) == 1, "the steps of the old program are let go"


def test_left_at_work_it_serves_new_clients_and_answers_for_the_vip(
    lab: Lab, serve: Serve, client: Any
) -> None:
    line = to(*SERVERS, more=xdp(lab, "--on-exit", "keep", "--scheduler", "rr"))
    first = serve(flags=line)
    assert client.requests(30)["errors"] == []
    assert first.stop() == 0
    assert there(lab) and str(VIP) in ours(lab)
    assert client.requests(30)["errors"] == []
    assert answers_for(lab, VIP)
    second = serve(flags=line)
    assert client.requests(30)["errors"] == []
    assert second.stop() == 0
    # More than these, if connections of before are still being closed.
    assert all(now >= then + 20 for then, now in zip(flows_of(first), flows_of(second), strict=True))
    assert detach(lab).stdout.startswith("instance default: program taken off 1 interface\n")
    assert is_bare(lab) and not ours(lab)
    assert not connects(lab)


def test_a_configuration_file_under_a_service_manager_keeps_it_at_work(
    lab: Lab, start: Start, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    write(service(*SERVERS))
    assert start().stop() == 0
    assert there(lab)


def test_what_the_process_beside_the_program_counted_is_not_lost_with_it(
    lab: Lab, start: Start, write: Write, inject: Inject
) -> None:
    write(service(*SERVERS, port="9/udp"))
    running = start()
    datagram = IP(src=str(CLIENT), dst=str(VIP), id=7) / UDP(sport=5, dport=9) / Raw(bytes(4000))
    orphans = [bytes(TO_BALANCER / piece) for piece in fragment(datagram, 1400)][1:]
    inject(*orphans)
    assert eventually(lambda: counted(running).get("fragment_held") == len(orphans), DEADLINE_S)
    running.stop(signal.SIGKILL)
    after = counted(start())
    assert after["handed_over"] == after["fragment_expired"] == len(orphans)
    assert "fragment_held" not in after


def test_a_change_while_nobody_was_there_is_caught_up_with(
    lab: Lab, start: Start, write: Write, client: Any
) -> None:
    write(service(*SERVERS, scheduler="maglev"))
    start().stop(signal.SIGKILL)
    with holding(lab, 60) as held:
        write(service(f"{RS1},0", RS2, scheduler="maglev"))  # one drained, one gone
        running = start()
        stay = [one for one in held if one.server != "rs3"]
        all_answer(stay)
        assert set(client.requests(30)["servers"]) == {"rs2"}
    assert running.stop() == 0


def test_a_start_that_is_refused_leaves_what_is_at_work_alone(
    lab: Lab, start: Start, write: Write, client: Any, serve: Serve
) -> None:
    write(service(*SERVERS))
    start().stop(signal.SIGKILL)
    before = there(lab)
    write(service("198.19.5.5"))
    refused = serve(flags=["--config", str(lab.run_directory / "no.toml"), *xdp(lab)], ready=False)
    assert refused.process.wait(DEADLINE_S) == 2
    assert there(lab) == before and client.requests(9)["errors"] == []


def test_maps_of_a_first_start_that_was_killed_are_made_anew(lab: Lab, serve: Serve, client: Any) -> None:
    maps = lab.bpf_fs / "dsrlb" / "default" / "maps"
    maps.mkdir(parents=True)
    with loaded(sizes_for(EMPTY, max_flows=16), maps_at=maps) as program:
        bpf_maps.update(program.maps["setup"], bytes(4), bytes(layout.SETUP.itemsize))
    (maps / "slots").unlink()
    running = serve(flags=to(*SERVERS, more=xdp(lab)))
    found = bpf_maps.entries_of(maps / "flows")
    assert found is not None and found[0] == sizes_for(EMPTY).flows
    assert client.requests(9)["errors"] == []
    assert running.stop() == 0
