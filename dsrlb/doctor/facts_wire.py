"""Who answers for which address on the links of this host, asked by ARP and neighbour discovery."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

from dsrlb.doctor.scene import Scene
from dsrlb.host.links import Link
from dsrlb.host.neighbours import Neighbour, neighbours
from dsrlb.host.ownership import claimants
from dsrlb.model import Address, wire_address

ASKED_AT_ONCE = 128  # each waits 0.9 s for answers, and costs a thread


@dataclass(frozen=True)
class Neighbouring:
    """A machine that frames are sent to: a server, or the router before servers."""

    address: Address
    link: Link
    labels: tuple[str, ...]  # its own, of a router: those of the servers behind it
    is_server: bool
    answers: frozenset[bytes]  # MACs
    given: bytes | None = None  # in the configuration, or to the kernel by hand
    given_by: str = ""  # "the configuration", "the kernel's table"
    known: bytes | None = None  # where frames were sent to before it was asked


@dataclass(frozen=True)
class WireFacts:
    """What was heard."""

    vips: Mapping[tuple[Address, str], frozenset[bytes]]  # by VIP and interface: MACs that answer for it
    neighbours: tuple[Neighbouring, ...]
    own: Mapping[bytes, str] = field(default_factory=dict)  # this host's interfaces, by MAC


def wire_facts(scene: Scene) -> WireFacts:
    """Ask for each VIP where clients are, and for each machine that frames are sent to."""
    known = _known(scene)
    hops: dict[tuple[Address, int], tuple[Link, list[Address]]] = {}
    for address, way in scene.ground.ways.items():
        hops.setdefault((way.next_hop, way.link.ifindex), (way.link, []))[1].append(address)
    every = dict.fromkeys(service.vip for service in scene.config.services)
    vips = [(vip, link) for vip in every for link in scene.ground.links]
    asked = [*vips, *((hop, link) for (hop, _), (link, _) in hops.items())]
    usable = [(address, link) for address, link in asked if link.up]
    with ThreadPoolExecutor(max_workers=min(len(usable), ASKED_AT_ONCE) or 1) as pool:
        answers = list(pool.map(lambda pair: claimants(*pair, of_nobody=pair[0] in every), usable))
    heard = {(address, link.ifindex): macs for (address, link), macs in zip(usable, answers, strict=True)}
    links = [*scene.ground.links, *(link for link, _ in hops.values())]
    return WireFacts(
        vips={(vip, link.name): heard.get((vip, link.ifindex), frozenset()) for vip, link in vips},
        neighbours=tuple(
            _neighbouring(scene, hop, link, behind, heard.get((hop, link.ifindex), frozenset()), known)
            for (hop, _), (link, behind) in hops.items()
        ),
        own={one.mac: one.name for one in links},
    )


def _known(scene: Scene) -> dict[tuple[int, bytes], Neighbour]:
    """Return the kernel's neighbours before anybody is asked."""
    found: dict[tuple[int, bytes], Neighbour] = {}
    for ifindex in {way.link.ifindex for way in scene.ground.ways.values()}:
        with suppress(OSError):
            found |= neighbours(ifindex)
    return found


def _neighbouring(
    scene: Scene,
    hop: Address,
    link: Link,
    behind: list[Address],
    answers: frozenset[bytes],
    known: Mapping[tuple[int, bytes], Neighbour],
) -> Neighbouring:
    entry = known.get((link.ifindex, wire_address(hop)))
    by_hand = entry.given if entry is not None else None
    fixed = scene.ground.fixed_macs.get(hop)
    return Neighbouring(
        address=hop,
        link=link,
        labels=tuple(dict.fromkeys(scene.label_at(one) for one in ([hop] if hop in behind else behind))),
        is_server=hop in behind,
        answers=answers,
        given=fixed or by_hand,
        given_by="the configuration" if fixed else "the kernel's table" if by_hand else "",
        known=_sent_to(scene, behind) or (entry.mac if entry is not None and entry.usable else None),
    )


def _sent_to(scene: Scene, servers: list[Address]) -> bytes | None:
    """Return the MAC that the running dsrlb sends frames for these servers to."""
    for row in scene.running.table if scene.running is not None else ():
        for target in row["targets"]:
            if target["mac"] and any(_is_of(target["backend"], one) for one in servers):
                return bytes.fromhex(target["mac"].replace(":", ""))
    return None


def _is_of(backend: str, address: Address) -> bool:
    """Return whether a backend, as ``dsrlb show`` writes it, has this address."""
    if address.version == 6:
        return backend == str(address) or backend.startswith(f"[{address}]:")
    return backend.partition(":")[0] == str(address)
