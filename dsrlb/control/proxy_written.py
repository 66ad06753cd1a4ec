"""What HAProxy runs by: written beside what is in use, tried, and put in its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from dsrlb.control.proxy_counts import Key
from dsrlb.control.proxy_table import as_new
from dsrlb.engines.haproxy import render
from dsrlb.engines.haproxy.places import Places
from dsrlb.engines.haproxy.program import check
from dsrlb.engines.haproxy.run_as import own_user
from dsrlb.errors import DsrlbError
from dsrlb.model import Service


class Written:
    """The configuration of one HAProxy."""

    def __init__(self, places: Places) -> None:
        self._places = places

    def text(self, services: Sequence[Service], states: Mapping[Key, render.ServerState]) -> str:
        """Return what is to be written for services, and servers that stand so."""
        return render.configuration(services, states, self._places.runtime, own_user())

    def plan(self, services: Sequence[Service]) -> str:
        """Return the same but for how servers stand."""
        return self.text(services, as_new(services))

    def tried(self, path: str, text: str, *, is_checked: bool = False) -> Path:
        """Return a file with a configuration, with which HAProxy finds nothing wrong."""
        fresh = self._places.folder / "haproxy.cfg.new"
        fresh.write_text(text)
        try:
            if not is_checked:
                check(path, fresh)
        except DsrlbError:
            fresh.unlink()
            raise
        return fresh

    def put(self, text: str) -> None:
        """Put one in use with which nothing is wrong."""
        self.tried("", text, is_checked=True).replace(self._places.configuration)
