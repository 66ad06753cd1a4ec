"""What a process that is gone left at work for mode proxy: HAProxy, and the addresses of this host."""

from __future__ import annotations

from pathlib import Path

from dsrlb.control.proxied import Proxied
from dsrlb.engines.haproxy.places import Places
from dsrlb.engines.haproxy.process import is_here, processes, running
from dsrlb.errors import ConfigError
from dsrlb.host.addresses import added_before
from dsrlb.model import Address
from dsrlb.standing import ALL_UP


def lent_before(folder: Path) -> frozenset[Address]:
    """Return the addresses that this host has only since a process before this one added them."""
    places = Places(folder)
    return added_before(places.addresses) if places.is_ours else frozenset()


def end_left(folder: Path) -> bool:
    """End the HAProxy that was left here, and take back its addresses; return whether there was one.

    ConfigError: a process is at work there, or it is of another network namespace, or not this user's.
    """
    if not folder.exists():
        return False
    left = Proxied(folder, keeps=True)
    left.places.make()
    left.lock.take()
    try:
        pid = running(left.places)
        if pid is not None and not is_here(pid):
            raise ConfigError(
                f"HAProxy (process {pid}) is at work in another network namespace; end it from there: "
                f"nsenter --net=/proc/{pid}/ns/net dsrlb detach, with the same options."
            )
        is_there = any(processes(left.places))
        left.change_to((), "", ALL_UP)
        return is_there
    finally:
        left.close()
