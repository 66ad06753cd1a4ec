"""For each test of a refusal: ``refused`` runs a command to its end, and nothing is left behind by it.

``configure``  does an ``ip … add …`` in a namespace, and its ``del`` after the test
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from lab_fork import run_forked
from lab_refusals import Refused, Run, traces

from dsrlb.lab.topology import Lab, run


@pytest.fixture
def refused(lab: Lab, engine_flags: list[str]) -> Run:
    def command(word: str, *arguments: str, role: str = "lb", uid: int = 0) -> Refused:
        chosen = (
            ["--admin", "off", "--state-dir", str(lab.run_directory / "state"), *engine_flags]
            if word == "serve"
            else []
        )
        done = run_forked(lab.namespace(role), word, *chosen, *arguments, uid=uid)
        return Refused(done.returncode, done.stdout, done.stderr)

    return command


@pytest.fixture(scope="module")
def untouched(lab: Lab) -> dict[str, str]:
    return traces(lab)


@pytest.fixture(autouse=True)
def nothing_left_behind(lab: Lab, untouched: dict[str, str]) -> Iterator[None]:
    """After each test the balancer's host is as it was before the first one."""
    yield
    now = traces(lab)
    assert now["host"].splitlines() == untouched["host"].splitlines()
    assert now["processes"] == untouched["processes"]


@pytest.fixture
def configure(lab: Lab) -> Iterator[Callable[..., None]]:
    """Do an ``ip … add …`` in a namespace, and its ``del`` after the test."""
    done: list[list[str]] = []

    def add(namespace: str, *words: str) -> None:
        run(["ip", "-n", namespace, *words])
        done.append(["ip", "-n", namespace, *("del" if word == "add" else word for word in words)])

    yield add
    for command in reversed(done):
        run([word for word in command if word != "nodad"])
