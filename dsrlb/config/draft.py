"""Services as they are written down, before it is known whether they can work.

Flags and file both end in drafts.  What could not be read is missing from one, and no check trips over that:
so everything else that is wrong is still found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from dsrlb.config.checks import CheckWords, check_of
from dsrlb.config.words import DEFAULT_SCHEDULER, PersistWord, Vip
from dsrlb.model import SAME_PORT, Backend, Check, ModeOptions, Persist, Service, Timeouts
from dsrlb.proxying import Limits, ProxyOptions, Route

# Of the tables of mode proxy: what a key of the file is called here.
_PROXY_FIELDS = {one.name.removesuffix("_s"): one.name for one in fields(ProxyOptions)}
_LIMIT_FIELDS = {one.name.removesuffix("_s").removesuffix("_bytes"): one.name for one in fields(Limits)}
_ROUTE_FIELDS = {"host": "hosts", "path": "paths", "method": "methods"}
OPTION_NAMES = tuple(one.name for one in fields(ModeOptions))


@dataclass(frozen=True)
class Draft:
    """A service as far as it could be read; None: missing or malformed, and told already."""

    vip: Vip | None
    mode: str | None
    backends: Sequence[Backend | None]
    scheduler: str | None = DEFAULT_SCHEDULER
    options: Mapping[str, Any] = field(default_factory=dict)  # those given, by the names of ModeOptions
    persist: PersistWord | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)
    label: str = ""
    on_all_down: Literal["keep", "reject", "drop"] = "keep"
    slow_start_s: int = 0
    passive: bool | None = None
    proxy: Mapping[str, Any] | None = None  # by the names of the keys
    routes: Sequence[Mapping[str, Any] | None] = ()  # by the names of the keys
    limits: Mapping[str, Any] | None = None  # by the names of the keys
    check: CheckWords | None = None
    backend_checks: Sequence[CheckWords | None] = ()  # of the backends, in order; those after it have none

    @property
    def name(self) -> str:
        """The service as a sentence calls it."""
        return f"service {self.label or (service_name(self.vip) if self.vip else 'without a VIP')}"


def service_name(vip: Vip) -> str:
    """Return a VIP, port and protocol as a person writes them."""
    return Service(*vip, "", "", ()).name


def service_of(draft: Draft) -> Service:
    """Return the service that a draft without problems describes."""
    if draft.vip is None or draft.mode is None or draft.scheduler is None:
        raise ValueError("a draft that has problems is no service")
    asked = (*draft.backend_checks, *[None] * len(draft.backends))
    backends = tuple(
        replace(_on_service_port(one, draft.vip[1]), check=_check(words))
        for one, words in zip(draft.backends, asked, strict=False)
        if one is not None
    )
    return Service(
        *draft.vip,
        draft.mode,
        draft.scheduler,
        backends,
        ModeOptions(**draft.options),
        _persist(draft.persist, draft.vip[0].version),
        draft.timeouts,
        draft.label,
        check=_check(draft.check),
        on_all_down=draft.on_all_down,
        slow_start_s=draft.slow_start_s,
        passive=draft.passive,
        proxy=_proxy(draft),
    )


def _proxy(draft: Draft) -> ProxyOptions | None:
    if draft.mode != "proxy":
        return None
    given = {_PROXY_FIELDS[name]: value for name, value in (draft.proxy or {}).items()}
    limits = Limits(**{_LIMIT_FIELDS[name]: value for name, value in (draft.limits or {}).items()})
    routes = tuple(route_of(one) for one in draft.routes if one is not None)
    return ProxyOptions(**given, routes=routes, limits=limits)


def route_of(words: Mapping[str, Any]) -> Route:
    """Return a route as far as it could be read: what could not is as if it were not there."""
    given = {_ROUTE_FIELDS.get(name, name): value for name, value in words.items() if value is not None}
    return Route(**given)


def _check(words: CheckWords | None) -> Check | None:
    return None if words is None else check_of(words)


def _on_service_port(backend: Backend, port: int) -> Backend:
    """Return the backend by its one name: the service's own port is not spelled out."""
    return replace(backend, port=SAME_PORT) if backend.port == port else backend


def _persist(word: PersistWord | None, version: int) -> Persist | None:
    if word is None:
        return None
    timeout_s, prefix = word
    if prefix is None:
        return Persist(timeout_s)
    return Persist(timeout_s, ipv4_prefix=prefix) if version == 4 else Persist(timeout_s, ipv6_prefix=prefix)
