"""Whether files of certificates have changed since they were loaded: a renewal needs no other word.

A certificate that was renewed in its file takes the place of the one before while HAProxy goes on.  Anything
else (a file more or less, an authority, an OCSP answer) takes a reload.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from dsrlb.engines.haproxy.renewing import renew
from dsrlb.errors import HostError
from dsrlb.host import certificates
from dsrlb.host.certificates import bundles, digests, ends, key_beside, pair
from dsrlb.model import Service
from dsrlb.proxying import ProxyOptions

LOOK_EVERY_S = 60.0

log = logging.getLogger("dsrlb")


class Renewal:
    """What the files of services were when HAProxy loaded them."""

    def __init__(self) -> None:
        self._loaded: dict[str, bytes] | None = None
        self.ends: dict[tuple[str, str], datetime] = {}  # by service and file: when a certificate expires
        self._due_s = 0.0

    def note(self, services: Sequence[Service], now_s: float) -> None:
        """Take the files for loaded as they are now; begin to look for changes."""
        self._take(services, digests(_options(services)))
        self._due_s = now_s + LOOK_EVERY_S

    def _take(self, services: Sequence[Service], loaded: dict[str, bytes]) -> None:
        self._loaded = loaded
        self.ends = {
            (one.name, file): at for one in services if one.proxy is not None for file, at in ends(one.proxy)
        }

    def is_due(self, now_s: float) -> bool:
        """Return whether it is time to look again; each time is told once."""
        if now_s < self._due_s:
            return False
        self._due_s = now_s + LOOK_EVERY_S
        return True

    def has_changed(self, services: Sequence[Service]) -> bool:
        """Return whether a file is not what was loaded."""
        return digests(_options(services)) != self._loaded

    def take_over(self, services: Sequence[Service], runtime: Path) -> bool:
        """Load what has changed into the HAProxy that listens there; False: that takes a reload."""
        found, loaded = digests(_options(services)), self._loaded
        if loaded is None or found.keys() != loaded.keys():
            return False
        files = {file for options in _options(services) for file in bundles(options)}
        owners = {str(one): file for file in files for one in (file, key_beside(file))}
        changed = [name for name in found if found[name] != loaded[name]]
        if not all(name in owners for name in changed):
            return False
        try:
            for file in dict.fromkeys(owners[name] for name in changed):
                renew(runtime, file, pair(file))
                log.info("certificate %s has changed: HAProxy goes on with it", file)
        except (HostError, OSError, ValueError) as error:
            log.debug("%s", error)
            return False
        self._take(services, found)
        return True


def faults(services: Sequence[Service]) -> list[str]:
    """Return what keeps the files of services from being loaded, one sentence each."""
    now = certificates.now()
    found = [one for options in _options(services) for one in certificates.faults(options, now)]
    return [one.sentence for one in found if not one.is_old]


def _options(services: Sequence[Service]) -> list[ProxyOptions]:
    return [one.proxy for one in services if one.proxy is not None]
