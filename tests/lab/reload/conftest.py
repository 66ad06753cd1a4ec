"""A balancer that takes its configuration from a file, which a test may write again.

``write``  ``write(service(…), …)`` writes the file
``start``  starts a balancer with it
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from lab_reload import Start, Write
from lab_running import Serve


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """``write(service(…), …)`` writes the configuration file."""

    def to_file(*services: str, interfaces: Sequence[str] = ("e0",)) -> None:
        names = ", ".join(f'"{name}"' for name in interfaces)
        (tmp_path / "dsrlb.toml").write_text(f"interfaces = [{names}]\n" + "".join(services))

    return to_file


@pytest.fixture
def start(serve: Serve, tmp_path: Path) -> Start:
    return lambda *more: serve(*more, flags=["--config", str(tmp_path / "dsrlb.toml")])
