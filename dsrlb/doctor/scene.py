"""What the doctor looks at: the configuration, this host's interfaces and ways, and the dsrlb that runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from dsrlb import preflight
from dsrlb.admin.asking import NotRunning, ask
from dsrlb.config import Config
from dsrlb.control.proxy_left import lent_before
from dsrlb.doctor.finding import CLIENT, Finding
from dsrlb.errors import DsrlbError
from dsrlb.host.links import Link
from dsrlb.host.via import Via
from dsrlb.host.via_choice import vias_for
from dsrlb.model import Address
from dsrlb.preflight import Ground
from dsrlb.remote.jobs import names_of

Row = dict[str, Any]
ANSWER_WITHIN_S = 10.0


@dataclass(frozen=True)
class Running:
    """A dsrlb that runs on this host, as it answers ``dsrlb show``; nothing where it does not."""

    engine: Row = field(default_factory=dict)
    health: tuple[Row, ...] = ()
    table: tuple[Row, ...] = ()
    trouble: str = ""  # why it gave no answer


@dataclass(frozen=True)
class Scene:
    """All that looks begin with."""

    config: Config
    ground: Ground  # this host's interfaces, and the way to each backend that has one
    not_ready: tuple[preflight.Finding, ...] = ()  # what would keep dsrlb from serving here
    running: Running | None = None
    haproxy_at: Path = Path()  # where the files of the HAProxy of mode proxy are
    vias: Mapping[str, Via] = field(default_factory=dict)  # by a server's name, or "client"

    @property
    def fronts(self) -> tuple[Link, ...]:
        """The interfaces where clients' frames come in, without those where servers' answers do."""
        links, names = self.ground.links, self.config.interfaces
        return tuple(one for one in links if one.name in names) if names else links[:1]

    @cached_property
    def _names(self) -> dict[Address, str]:
        return names_in(self.config)

    def label_at(self, address: Address) -> str:
        """Return what findings call the server of an address, which ``--via`` does as well."""
        return self._names.get(address, str(address))

    @property
    def wants_xdp(self) -> bool:
        """Whether the engine in the kernel is at work, or is to be."""
        if self.running is not None and not self.running.trouble:
            return bool(self.running.engine["engine"] == "xdp")
        return self.config.engine.engine == "xdp"


Look = Callable[[Scene], Iterable[Finding]]


def scene_of(
    config: Config, running: Running | None, haproxy_at: Path = Path(), vias: Sequence[str] = ()
) -> Scene:
    """Return the scene of a configuration on this host; UsageError for a way that is none."""
    addresses: dict[str, str] = {}
    for address, name in names_in(config).items():
        addresses.setdefault(name, str(address))  # of an IPv4 and an IPv6 one the first, as setup does
    ways = vias_for(vias, {**addresses, CLIENT: ""}, by_name_only=(CLIENT,))
    ground, found = preflight.look(config, force=False, ours=lent_before(haproxy_at))
    return Scene(config, ground, found, running, haproxy_at, ways)


def running_at(admin: Path) -> Running | None:
    """Return the dsrlb whose admin socket is at a path; None if there is none."""
    try:
        (engine,), health, table = (
            ask(admin, {"do": "show", "what": what}, ANSWER_WITHIN_S)
            for what in ("engines", "health", "table")
        )
    except NotRunning:
        return None
    except DsrlbError as error:
        return Running(trouble=str(error))
    return Running(engine, tuple(health), tuple(table))


def names_in(config: Config) -> dict[Address, str]:
    """Return what the server at each address is called."""
    return names_of(backend for service in config.services for backend in service.backends)
