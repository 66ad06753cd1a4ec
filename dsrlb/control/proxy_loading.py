"""A reload of HAProxy: waited for, not for long, and looked at until it has ended."""

from __future__ import annotations

import logging

from dsrlb.engines.haproxy.process import Process
from dsrlb.errors import HostError

log = logging.getLogger("dsrlb")


class Loading:
    """The reload that is under way, and how the last one has ended."""

    def __init__(self) -> None:
        self._is_under_way = False
        self.is_taken = True  # what was loaded last

    def begin(self, process: Process) -> None:
        """Reload.  HostError: HAProxy goes on as before."""
        process.reload()
        self._is_under_way, self.is_taken = process.is_loading(), True
        if self._is_under_way:
            log.warning("HAProxy is still loading its configuration, and serves by the one before meanwhile")

    def has_ended(self, process: Process) -> bool:
        """Return whether one that took long is done just now; tell how it has ended."""
        if not self._is_under_way:
            return False
        try:
            self._is_under_way = process.is_loading()
        except HostError as error:
            self._is_under_way = self.is_taken = False
            log.error("%s What was loaded last is not served: correct it, and reload again.", error)
            return False
        if not self._is_under_way:
            log.info("HAProxy has loaded its configuration")
        return not self._is_under_way
