"""From a file that changed to a configuration that can take over at once.

All that takes time or can fail happens here, on a thread of its own, while the running configuration
goes on: reading, looking at the host, claiming new VIPs, asking the network who has them, finding new
backends, having HAProxy try what it is to run by.  It only looks and asks; a claim is all it holds.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from dsrlb.config import ENGINE_KEYS, Config, Problem, located, read_config, told
from dsrlb.control.backends import refuse_if_none_answers, targets
from dsrlb.errors import ConfigError, DsrlbError
from dsrlb.host import guard
from dsrlb.host.links import Link
from dsrlb.host.resolver import NextHop, Resolver
from dsrlb.host.watch import Event
from dsrlb.model import Address, Service
from dsrlb.preflight import Finding, Ground, guarded_by, hosted_by, look, other_owners
from dsrlb.preflight_proxy import proxy_warnings
from dsrlb.table import stand_in

RESOLVE_WITHIN_S = 3.0

log = logging.getLogger("dsrlb")


@dataclass(frozen=True)
class Running:
    """What is there before a reload."""

    config: Config
    links: tuple[Link, ...]
    unresolved: frozenset[Address]  # backends
    force: bool
    lent: tuple[Address, ...] = ()  # addresses that this host has for mode proxy only
    trial: Callable[[Sequence[Service]], str] = lambda _: ""  # of services of mode proxy; raises DsrlbError


@dataclass(frozen=True)
class Prepared:
    """A configuration that can take over at once."""

    config: Config
    ground: Ground
    lost: Mapping[Address, str]  # backends that are out of reach just now, as they were before
    claim: guard.Claim  # of the VIPs that are new
    checked: str = ""  # what HAProxy takes for it
    found: Mapping[Address, bytes | None] = field(default_factory=dict)  # MACs of backends that are new


class Reload:
    """A preparation on its thread; puts the event ("prepared",) when ``outcome`` is there."""

    def __init__(self, running: Running, events: queue.SimpleQueue[Event]) -> None:
        """Begin."""
        self.outcome: Prepared | DsrlbError | None = None
        self._running, self._events = running, events
        threading.Thread(target=self._run, name="reload", daemon=True).start()

    def _run(self) -> None:
        try:
            self.outcome = prepare(self._running)
        except DsrlbError as error:
            self.outcome = error
        except Exception as error:
            log.debug("traceback", exc_info=True)
            self.outcome = DsrlbError(f"{type(error).__name__}: {error}")
        self._events.put(("prepared",))


def _warn(sentence: str) -> None:
    log.warning("%s", sentence)


def prepare(running: Running) -> Prepared:
    """Read the file of the running configuration again, and make what it says ready to take over.

    Raises DsrlbError with every reason not to, and holds nothing then.
    """
    if running.config.origin is None:
        raise ConfigError("there is no file to read again: dsrlb was started by options (see --config)")
    return prepare_for(read_config(running.config.origin.file), running, _warn)


def prepare_for(config: Config, running: Running, warn: Callable[[str], None]) -> Prepared:
    """Make a configuration ready to take over, and tell what of it may surprise.

    Raises DsrlbError with every reason not to, and holds nothing then.
    """
    _refuse_what_lasts(config, running.config)
    ground, found = look(config, force=running.force, ours=running.lent)
    excused = [finding for finding in found if _is_excused(finding, config, running, ground)]
    if len(excused) < len(found):
        raise ConfigError(*located(config, [one for one in found if one not in excused]))
    for sentence in [one.sentence for one in excused if not one.is_old] + list(proxy_warnings(config)):
        warn(sentence)
    new = set(ground.claimed) - set(guarded_by(running.config)) - set(hosted_by(running.config))
    claim = guard.claim(new)
    try:
        _refuse_other_owners(config, running, ground, new, warn)
        lost = {one.subject: one.sentence for one in excused if not isinstance(one.subject, str)}
        found_macs = _resolve_new(ground, lost, running)
        checked = running.trial(config.proxied)
    except BaseException:
        claim.release()
        raise
    return Prepared(config, ground, lost, claim, checked, found_macs)


def _refuse_what_lasts(config: Config, running: Config) -> None:
    """Raise ConfigError for settings that hold for as long as the process runs."""
    changed = [key for key in ENGINE_KEYS if getattr(config.engine, key) != getattr(running.engine, key)]
    changed += ["metrics"] if config.metrics != running.metrics else []
    problems = (
        Problem((key,), f"{key} cannot change while dsrlb runs; restart it for that") for key in changed
    )
    if sentences := told(problems, config.origin):
        raise ConfigError(*sentences)


def _is_excused(finding: Finding, config: Config, running: Running, ground: Ground) -> bool:
    """Return whether a finding is about something that runs already, and that the new file did not change.

    A server that is out of reach for a moment must not keep a new configuration from being loaded.
    """
    subject = finding.subject
    if finding.is_old:
        options = [one.proxy for one in running.config.proxied if one.proxy is not None]
        return subject in {path for one in options for path in one.certificates}
    if isinstance(subject, str):
        return subject in {one.name for one in running.links} & {one.name for one in ground.links}
    return _roles(subject, config) <= _roles(subject, running.config)


def _roles(address: Address, config: Config) -> set[object]:
    """Return what an address is in a configuration: a VIP, a backend of some mode, its options and MAC."""
    roles: set[object] = set()
    for service in config.forwarded:
        if address in (service.vip, stand_in(service)):
            roles.add("VIP")
        roles.update(
            (service.mode, service.options, one.mac) for one in service.backends if one.address == address
        )
    return roles


def _refuse_other_owners(
    config: Config, running: Running, ground: Ground, new: set[guard.Guarded], warn: Callable[[str], None]
) -> None:
    """Ask for new VIPs everywhere, and for the others on new interfaces."""
    before = {one.ifindex for one in running.links}
    pairs = [
        (vip, one)
        for vip in (*ground.vips, *ground.lent)
        for one in ground.links
        if one.up and (vip in new or one.ifindex not in before)
    ]
    taken = other_owners(pairs, (*running.links, *ground.links))
    if taken and not running.force:
        raise ConfigError(*located(config, taken))
    for finding in taken:
        warn(finding.sentence)


def _resolve_new(
    ground: Ground, lost: Mapping[Address, str], running: Running
) -> dict[Address, bytes | None]:
    """Have the kernel find backends that are new, so that they get traffic from the first moment.

    Returns their MACs.
    """
    known = {backend.address for service in running.config.forwarded for backend in service.backends}
    new = {address: way for address, way in ground.ways.items() if address not in known}
    if not new:
        return {}
    resolver, fixed = Resolver(targets(new, ground.fixed_macs, lost)), ground.fixed_macs
    try:
        found = wait_for_macs(resolver, lambda: False)
    finally:
        resolver.close()
    macs = {address: fixed.get(address) or found.get(way.asked) for address, way in new.items()}
    is_one_old_there = any(address in known and address not in running.unresolved for address in ground.ways)
    if not running.force and not is_one_old_there:
        refuse_if_none_answers(macs, RESOLVE_WITHIN_S)
    return macs


def wait_for_macs(resolver: Resolver, is_over: Callable[[], bool]) -> dict[NextHop, bytes | None]:
    """Return the MACs of a resolver's targets once all have answered, or after a while."""
    until = time.monotonic() + RESOLVE_WITHIN_S
    macs = resolver.step(time.monotonic())
    while not all(macs.values()) and time.monotonic() < until and not is_over():
        time.sleep(0.05)
        macs = resolver.step(time.monotonic())
    return macs


def changes(old: Config, new: Config) -> Iterator[str]:
    """Yield in words what a reload changes, for the log."""
    before, after = ({service.name: service for service in one.services} for one in (old, new))
    yield from (f"added {name}" for name in after if name not in before)
    yield from (f"removed {name}" for name in before if name not in after)
    yield from (f"changed {name}" for name in after if name in before and after[name] != before[name])
    if old.interfaces != new.interfaces:
        yield f"interfaces {', '.join(new.interfaces) or 'of the default route'}"
