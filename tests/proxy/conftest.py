"""What tests of HAProxy share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from dsrlb.control.proxied import Proxied


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder with a short name, in place of pytest's: a socket's place has no more than 107 bytes."""
    with TemporaryDirectory(prefix="dsrlb-") as folder:
        yield Path(folder)


@pytest.fixture
def proxied(tmp_path: Path) -> Iterator[Proxied]:
    made = Proxied(tmp_path / "haproxy", keeps=False)
    yield made
    made.close()
    assert not (tmp_path / "haproxy").exists()
