"""Does the benchmark of churn see no connection break that should not, and one that should?"""

from __future__ import annotations

from lab_wire import TEST_PREFIX

from dsrlb.bench.churn.run import torment
from dsrlb.bench.churn.stand import Case
from dsrlb.lab.build import present

PREFIX = f"{TEST_PREFIX}ch-"


def test_held_connections_survive_all_but_the_death_of_their_server(shared_directories: None) -> None:
    row = torment(Case("packet", "l2dsr", "maglev"), 200, ["add", "drain", "restart", "kill"], PREFIX)
    assert [(one.event, one.held, one.broken, one.is_promised) for one in row.outcomes] == [
        (name, 200, 0, True) for name in ("add", "drain", "restart", "kill")
    ]
    killed = row.outcomes[-1]
    assert killed.broken_own == killed.own > 0
    assert row.is_kept
    assert present(PREFIX) == []
