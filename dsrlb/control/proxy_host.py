"""What this host has for services of mode proxy: their VIPs, and policy rules for the transparent ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dsrlb.control.proxy_table import transparent
from dsrlb.engines.haproxy.places import Places
from dsrlb.engines.haproxy.process import Process
from dsrlb.host.addresses import Added, Addresses
from dsrlb.host.transparent import Rule, TransparentRules
from dsrlb.model import Service

KEEP_EVERY_S = 1.0


class Had(NamedTuple):
    """What was ours at a moment."""

    addresses: frozenset[Added]
    rules: frozenset[Rule]


class HostSide:
    """Addresses and rules together; those of a process before this one are taken for ours."""

    def __init__(self, places: Places) -> None:
        """Take where is written what was set; nothing is read before it is needed."""
        self._places = places
        self._addresses: Addresses | None = None
        self._rules: TransparentRules | None = None
        self._due_s = 0.0

    @property
    def is_anything_left(self) -> bool:
        """Whether something is set by now."""
        return any(self.had())

    def _open(self) -> tuple[Addresses, TransparentRules]:
        self._addresses = self._addresses or Addresses(self._places.addresses)
        self._rules = self._rules or TransparentRules(self._places.transparent)
        return self._addresses, self._rules

    def had(self) -> Had:
        """Return what is ours now."""
        addresses, rules = self._open()
        return Had(addresses.ours, rules.ours)

    def add(self, services: Sequence[Service], interface: str) -> None:
        """Have what these need as well.  HostError: some of it cannot be had."""
        addresses, rules = self._open()
        addresses.add({one.vip for one in services}, interface)
        rules.add(transparent(services))

    def change_to(self, services: Sequence[Service], interface: str) -> None:
        """Have what these need, and nothing else.  HostError: as ``add``."""
        addresses, rules = self._open()
        addresses.change_to({one.vip for one in services}, interface)
        rules.change_to(transparent(services))

    def only(self, had: Had) -> None:
        """Take back what was not ours then."""
        addresses, rules = self._open()
        addresses.only(had.addresses)
        rules.only(had.rules)

    def close(self) -> None:
        """Take all of it back; harmless when repeated."""
        for one in self._open():
            one.close()
        self._addresses = self._rules = None

    def note_again(self) -> None:
        """Write down what is ours once more, where the files are gone."""
        if self._addresses is not None:
            self._addresses.note_again()
        if self._rules is not None:
            self._rules.note_again()

    def keep(self, process: Process, now_s: float) -> None:
        """Set again what somebody took away; once a second.

        Rules of before stay for as long as connections of before are left.
        """
        if now_s < self._due_s or self._addresses is None or self._rules is None:
            return
        self._due_s = now_s + KEEP_EVERY_S
        self._addresses.keep()
        self._rules.keep()
        said = process.workers() if self._rules.has_others else None
        if said is not None and not said.old:
            self._rules.drop_others()
