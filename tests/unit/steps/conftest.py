"""The pretended machine on which the steps of a real server are done."""

from __future__ import annotations

from pathlib import Path

import pytest
from pretended_machine import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.routes["-4"] += [
        "default via 198.18.0.3 dev e0 proto dhcp metric 100",
        "198.18.7.0/24 via 198.18.0.4 dev e0",
    ]
    return made
