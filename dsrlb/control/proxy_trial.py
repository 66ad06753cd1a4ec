"""Services of mode proxy on trial: does HAProxy take what dsrlb would write for it?"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from dsrlb.control.proxy_ports import refuse_taken
from dsrlb.control.proxy_table import compiled, transparent
from dsrlb.control.proxy_written import Written
from dsrlb.engines.haproxy import render
from dsrlb.engines.haproxy.places import Places
from dsrlb.engines.haproxy.program import check, program
from dsrlb.host.transparent import refuse_own
from dsrlb.model import Service
from dsrlb.standing import ALL_UP, Effective


def written(services: Sequence[Service], places: Places, effective: Effective) -> str:
    """Return what is to be written for services that stand so."""
    return Written(places).text(services, render.states(services, compiled(services, effective)))


def tried(services: Sequence[Service], places: Places, effective: Effective, ours: Iterable[str]) -> str:
    """Return what is to be written, as HAProxy takes it.  On any thread; nothing is touched.

    ``ours``: where HAProxy listens by now.  ConfigError, HostError: why these cannot be served.
    """
    if not services:
        return ""
    path = program()
    refuse_taken(services, ours)
    refuse_own(transparent(services))
    text = written(services, places, effective)
    _check(path, text)
    return text


def try_proxy(services: Sequence[Service]) -> None:
    """Raise ConfigError with what HAProxy finds wrong; what runs is not touched."""
    if services:
        _check(program(), written(services, Places(Path(tempfile.gettempdir())), ALL_UP))


def _check(path: str, text: str) -> None:
    with tempfile.TemporaryDirectory(prefix="dsrlb-") as folder:
        file = Places(Path(folder)).configuration
        file.write_text(text)
        check(path, file)
