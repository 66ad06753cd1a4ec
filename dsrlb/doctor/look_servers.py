"""Looks at the real servers: what they say of themselves, and what becomes of a handshake by each.

::

    --via client=…   ─► facts_client ─► where clients are ─┐        connections to the VIPs
    --via NAME=…     ─► facts_server ──────────────────────┴─► judge_server ─┐
    this host        ─► facts_shake ──────────────────────────► judge_shake ─┴─► merged
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence

from dsrlb.doctor.about import About
from dsrlb.doctor.facts_client import ClientFacts, client_facts, places_of
from dsrlb.doctor.facts_server import ServerFacts, facts_at
from dsrlb.doctor.facts_shake import Shake, hops_of, shake_all
from dsrlb.doctor.finding import CLIENT, Finding
from dsrlb.doctor.judge_client import ABOUT, judge_client
from dsrlb.doctor.judge_server import judge_server
from dsrlb.doctor.judge_shake import (
    judge_counters,
    judge_faults,
    judge_looks,
    judge_shakes,
    merged,
    passes,
    sharpened,
)
from dsrlb.doctor.scene import Scene
from dsrlb.doctor.wanted import Wanted, wanted_servers
from dsrlb.errors import HostError
from dsrlb.health.base import PASSED, Outcome
from dsrlb.host.via import Via
from dsrlb.model import Address, Backend, Service, backend_key, person_backend

VIAS_AT_ONCE = 16
Facts = ServerFacts | HostError


def servers(scene: Scene) -> Iterator[Finding]:
    """Yield what is found about every server, and from the client's side."""
    if not scene.config.forwarded:
        return
    client = asyncio.run(_client(scene))
    yield from _of_client(scene, client)
    sources = client.sources if isinstance(client, ClientFacts) else {}
    wanted = wanted_servers(scene.config, scene.ground, sources)
    said = asyncio.run(_facts(scene, wanted))
    shakes = shake_all(scene.config, scene.ground, hops_of(scene.config, scene.ground))
    by_server = {one.address: _shakes_of(scene, one, shakes) for one in wanted}
    lost = [one for one in wanted if not passes(by_server[one.address])]
    # A server that could not be asked is not waited for once more.
    again = [one for one in lost if isinstance(said.get(one.address), ServerFacts)]
    later = asyncio.run(_facts(scene, again))
    for one in wanted:
        facts = said.get(one.address)
        dropped = _dropped(facts, later.get(one.address))
        yield from _of_server(one, facts, by_server[one.address], dropped)


def _of_client(scene: Scene, client: ClientFacts | HostError | None) -> Iterator[Finding]:
    if isinstance(client, HostError):
        yield ABOUT.unknown(str(client))
    elif client is not None:
        yield from judge_client(client, runs=scene.running is not None)


def _of_server(
    server: Wanted, facts: Facts | None, shakes: Sequence[Shake], dropped: str
) -> Iterator[Finding]:
    told, faults = [], list(judge_faults(server, shakes))
    if isinstance(facts, ServerFacts):
        told = list(judge_server(server, facts))
    else:
        yield _unasked(server, facts)
    yield from merged(told, faults, list(judge_looks(server, shakes)), passes(shakes))
    yield from judge_shakes(server, shakes, dropped)
    yield from _unshaken(server, shakes)


def _unasked(server: Wanted, why: HostError | None) -> Finding:
    """Return that a server's own facts are not to be had."""
    if why is not None:
        return About("server", server.label).unknown(str(why))
    host = f"[{server.address}]" if server.address.version == 6 else str(server.address)
    says = "arp_ignore, arp_announce, rp_filter, routes and listeners there only the server knows"
    return About("server", server.label).unknown(
        says, "", f"dsrlb doctor --via {server.label}=ssh:root@{host}"
    )


def _unshaken(server: Wanted, shakes: Sequence[Shake]) -> Iterator[Finding]:
    """Yield for services that nothing speaks of: UDP or all ports, unchecked; or nothing gets there."""
    about, asked = About("end_to_end", server.label), {one.service.name for one in shakes}
    for service in server.services:
        if service.name in asked:
            continue
        if server.way is None:
            says = f"nothing gets to it for {service.name}"
            yield about.wrong(says, "this host has no way there", f"ip route get {server.address}")
        else:
            says = f"{service.name} has no handshake to look for; a check asks as its clients do"
            kind = 'kind = "udp"' if service.protocol == "udp" else 'kind = "tcp" and a port'
            yield about.unknown(says, "", f"[service.check] with {kind}")


def _shakes_of(scene: Scene, server: Wanted, shakes: Mapping[tuple[Address, str], Shake]) -> list[Shake]:
    """Return the handshakes with a server; where there is none, what the check of the running dsrlb says."""
    found = []
    for service, backend in server.serves:
        checked = _checked(scene, service, backend)
        shake = shakes.get((server.address, service.name))
        found.append(checked if shake is None else sharpened(shake, checked))
    return [one for one in found if one is not None]


def _checked(scene: Scene, service: Service, backend: Backend) -> Shake | None:
    """Return what the last check of the running dsrlb found; None if there was none."""
    name = person_backend(backend_key(backend))
    for row in scene.running.health if scene.running is not None else ():
        if (row["service"], row["backend"]) == (service.name, name) and row["state"] in ("up", "down"):
            word, _, detail = str(row["why"]).partition(": ")
            outcome = PASSED if row["state"] == "up" else Outcome(word, detail)
            return Shake(service, outcome, by_check=True)
    return None


def _dropped(before: Facts | None, after: Facts | None) -> str:
    if isinstance(before, ServerFacts) and isinstance(after, ServerFacts):
        return judge_counters(before.counters, after.counters)
    return ""


async def _client(scene: Scene) -> ClientFacts | HostError | None:
    """Return what the client's side says, or why it does not; None: nobody is to be asked."""
    via = scene.vias.get(CLIENT)
    if via is None:
        return None
    services = scene.config.forwarded
    # Without a dsrlb that serves them, connections would prove nothing: only the way to VIPs is asked for.
    most = max(len(one.backends) for one in services) if scene.running is not None else 0
    try:
        return await client_facts(via, places_of(services), most)
    except HostError as error:
        return error


async def _facts(scene: Scene, wanted: Sequence[Wanted]) -> dict[Address, Facts]:
    """Return what the servers say of themselves for which there is a way, several at once."""
    turns = asyncio.Semaphore(VIAS_AT_ONCE)

    async def ask(server: Wanted, via: Via) -> Facts:
        async with turns:
            try:
                return await facts_at(via, list(server.clients.values()), server.balancer)
            except HostError as error:
                return error

    asked = [(one, via) for one in wanted if (via := scene.vias.get(one.label)) is not None]
    said = await asyncio.gather(*(ask(*pair) for pair in asked))
    return {one.address: facts for (one, _), facts in zip(asked, said, strict=True)}
