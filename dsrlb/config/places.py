"""A configuration, what is wrong with one, and where that is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import itemgetter

from dsrlb.config.words import Listen
from dsrlb.engines.choice import EngineChoice
from dsrlb.model import Address, Service
from dsrlb.proxying import ProxyOptions

Path = tuple[str | int, ...]  # of a key, as in ("service", 0, "backend", 2, "weight")


@dataclass(frozen=True)
class Origin:
    """The file that a configuration was read from, what was in it, and the line of each key."""

    file: str
    lines: Mapping[Path, int]
    content: bytes = field(default=b"", repr=False)

    def line(self, at: Path) -> int:
        """Return the line of a key, or of the nearest table around it; 1 when there is none."""
        for end in range(len(at), 0, -1):
            if at[:end] in self.lines:
                return self.lines[at[:end]]
        return 1


@dataclass(frozen=True)
class Config:
    """Everything `dsrlb serve` is told."""

    services: tuple[Service, ...]
    interfaces: tuple[str, ...] = ()  # empty: the one of the default route
    origin: Origin | None = field(default=None, compare=False)  # None: the command line
    engine: EngineChoice = field(default_factory=EngineChoice)  # as the file says
    metrics: Listen | None = None  # as the file says; None: nowhere

    @property
    def forwarded(self) -> tuple[Service, ...]:
        """The services whose frames dsrlb itself forwards."""
        return tuple(one for one in self.services if one.proxy is None)

    @property
    def proxied(self) -> tuple[Service, ...]:
        """The services whose connections end here, at a proxy that dsrlb drives."""
        return tuple(one for one in self.services if one.proxy is not None)


@dataclass(frozen=True)
class Problem:
    """Something that cannot work, as a sentence, and the key that it is about."""

    at: Path
    sentence: str


def told(problems: Iterable[Problem], origin: Origin | None) -> tuple[str, ...]:
    """Return the problems as lines to print, each once, with their places if they are in a file."""
    if origin is None:
        return tuple(dict.fromkeys(problem.sentence for problem in problems))
    placed = {(origin.line(problem.at), problem.sentence): None for problem in problems}
    return tuple(f"{origin.file}:{line}: {sentence}" for line, sentence in sorted(placed, key=itemgetter(0)))


About = tuple[Address | str, str] | tuple[Address | str, str, bool]  # what it is about, a sentence


def located(config: Config, findings: Iterable[About]) -> tuple[str, ...]:
    """Return lines to print for what was found."""
    places = list(_places(config))
    return told(
        (
            Problem(at, one[1])
            for one in findings
            for at in [at for at, there in places if there == one[0]] or [()]
        ),
        config.origin,
    )


def _places(config: Config) -> Iterator[tuple[Path, Address | str]]:
    """Yield each interface, VIP, source, backend address and word of mode proxy with its place."""
    for name in config.interfaces:
        yield ("interfaces",), name
    for number, service in enumerate(config.services):
        yield ("service", number, "vip"), service.vip
        if service.options.source is not None:
            yield ("service", number, "source"), service.options.source
        for place, backend in enumerate(service.backends):
            yield ("service", number, "backend", place, "address"), backend.address
        if service.proxy is not None:
            yield from _proxy_places(("service", number), service.proxy)


def _proxy_places(at: Path, options: ProxyOptions) -> Iterator[tuple[Path, str]]:
    """Yield each file that is named, and each pattern, with its place."""
    for place, path in enumerate(options.certificates):
        yield (*at, "proxy", "certificates", place), path  # the key's own line, if it is no list
    for name, path in (("client_ca", options.client_ca), ("server_ca", options.server_ca)):
        if path:
            yield (*at, "proxy", name), path
    for number, route in enumerate(options.routes):
        if route.pattern:
            yield (*at, "route", number, "pattern"), route.pattern
