"""Do connections live through reloads, as long as their server is in the file?"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from lab_reload import DEADLINE_S, Start, Write, all_answer, holding, open_files, reload, service
from lab_running import RS1, RS2, RS3
from lab_wire import eventually

from dsrlb.lab.balancer import Balancer
from dsrlb.lab.topology import Lab

CONNECTIONS, RELOADS, WARM_UP = 200, 50, 15
GROWTH_MAX_KB = 4096


def resident_kb(running: Balancer) -> int:
    status = Path(f"/proc/{running.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def variants(schedulers: list[str], others: Sequence[dict[str, object]]) -> Iterator[list[str]]:
    """Yield the services of one file after the other; rs1 and rs2 are in all of them, at least drained.

    Two more services, at ``others``, come and go.
    """
    choose = random.Random(1)
    while True:
        weights = choose.choice([(1, 1), (2, 1), (1, 3), (0, 1), (1, 0)])
        servers = [f"{RS1},{weights[0]}", f"{RS2},{weights[1]}", *choose.choice([[], [RS3], [f"{RS3},2"]])]
        more = [service(RS1, **others[0]), service(RS2, **others[1])]
        choose.shuffle(servers)
        yield [
            service(*servers, scheduler=choose.choice(schedulers)),
            *choose.choice([[], more[:1], more[1:], more]),
        ]


ALL_SCHEDULERS = ["rr", "wrr", "response", "lc", "wlc", "hash", "maglev"]
# Half a second for each new VIP, to hear whether another machine has it.
NEW_VIPS = ({"vip": "198.18.1.101"}, {"vip": "198.18.1.102", "port": "*"})
NEW_PORTS = ({"port": 81}, {"port": 82})


@pytest.mark.parametrize(
    ("schedulers", "others"),
    [(ALL_SCHEDULERS, NEW_VIPS), (["maglev"], NEW_PORTS)],
    ids=["all schedulers", "maglev"],
)
def test_no_connection_breaks_in_fifty_reloads_that_keep_its_server_and_memory_stays(
    schedulers: list[str],
    others: Sequence[dict[str, object]],
    lab: Lab,
    start: Start,
    write: Write,
) -> None:
    write(service(RS1, RS2, scheduler=schedulers[0]))
    running = start()
    files = variants(schedulers, others)
    with holding(lab, CONNECTIONS) as held:
        assert {one.server for one in held} == {"rs1", "rs2"}
        before = (0, 0)
        for number in range(RELOADS):
            write(*next(files))
            reload(running)
            all_answer(held)
            if number == WARM_UP:
                before = resident_kb(running), open_files(running)
        write(service(RS1, RS2, scheduler=schedulers[0]))
        reload(running)
        all_answer(held)
        assert resident_kb(running) - before[0] < GROWTH_MAX_KB, (before, resident_kb(running))
        assert eventually(lambda: open_files(running) <= before[1], DEADLINE_S)
    assert running.stop() == 0
    assert "Traceback" not in running.stderr


def test_only_the_connections_of_a_removed_server_end(lab: Lab, start: Start, write: Write) -> None:
    write(service(RS1, RS2, RS3))
    start_all = start()
    with holding(lab, CONNECTIONS) as held:
        gone = [one for one in held if one.server == "rs3"]
        stay = [one for one in held if one.server != "rs3"]
        assert len(gone) >= CONNECTIONS // 4 and len(stay) >= CONNECTIONS // 2
        write(service(RS1, RS2, f"{RS3},0"))  # drained: nothing ends
        reload(start_all)
        all_answer(held)
        write(service(RS1, RS2))
        reload(start_all)
        all_answer(stay)
        for one in gone:
            with pytest.raises((OSError, AssertionError)):
                one.ask()  # its last acknowledgement may have met the reset already
                one.answer()
        all_answer(stay)
