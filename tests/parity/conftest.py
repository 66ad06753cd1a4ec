"""One program, loaded for the tests of a file; each story begins with nothing in its maps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from parity.ground import SIZES, interfaces
from parity.twins import Twins

from dsrlb.engines.xdp.program import loaded

FRAMES = 40_000  # of each file of generated ones


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--parity-frames", type=int, default=FRAMES, help="generated frames in each file")


@pytest.fixture
def frames(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--parity-frames", default=FRAMES))


@pytest.fixture(scope="module")
def twins() -> Iterator[Twins]:
    with interfaces(), loaded(SIZES, test_clock=True) as program:
        yield Twins(program)
