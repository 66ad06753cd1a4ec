"""A lab whose balancer can have native XDP; whatever a test leaves at work there is taken away.

``lab``    the module's own
``start``  starts a balancer with the file of ``write``, on the XDP engine
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from lab_reload import Start
from lab_running import Serve, ours
from lab_wire import TEST_PREFIX
from lab_xdp import detach, instances, is_bare, xdp

from dsrlb.lab.lifecycle import standing
from dsrlb.lab.topology import Lab


@pytest.fixture(scope="module")
def lab(shared_directories: None) -> Iterator[Lab]:
    with standing(Lab(prefix=f"{TEST_PREFIX}x-", xdp=True)) as it:
        yield it


@pytest.fixture(autouse=True)
def bare(lab: Lab) -> Iterator[None]:
    """Take away what a test leaves at work, when its processes have ended."""
    yield
    for instance in instances(lab):
        detach(lab, instance)
    assert is_bare(lab) and not ours(lab)


@pytest.fixture
def start(lab: Lab, serve: Serve, tmp_path: Path) -> Start:
    return lambda *more: serve(*more, flags=["--config", str(tmp_path / "dsrlb.toml"), *xdp(lab)])
