"""Looks at the balancer itself, its links, and who answers there."""

from __future__ import annotations

from collections.abc import Iterator

from dsrlb import modes
from dsrlb.config import located
from dsrlb.doctor.about import About
from dsrlb.doctor.facts_kernel import kernel_facts
from dsrlb.doctor.facts_links import link_facts, stack_facts
from dsrlb.doctor.facts_proxy import proxy_facts
from dsrlb.doctor.facts_wire import wire_facts
from dsrlb.doctor.finding import BALANCER, Finding
from dsrlb.doctor.judge_health import judge_clock, judge_down, judge_remarks
from dsrlb.doctor.judge_kernel import judge_kernel
from dsrlb.doctor.judge_links import judge_mtu, judge_offloads, judge_xdp
from dsrlb.doctor.judge_proxy import judge_proxy
from dsrlb.doctor.judge_stack import (
    judge_bridge_nf,
    judge_conntrack,
    judge_forwarding,
    judge_rp_filter,
    judge_vips_here,
)
from dsrlb.doctor.judge_wire import judge_neighbours, judge_owners
from dsrlb.doctor.scene import Scene
from dsrlb.errors import HostError
from dsrlb.host import firewall
from dsrlb.host.answers_in import why_dropped
from dsrlb.host.links import own_addresses
from dsrlb.model import Address
from dsrlb.table import stand_in


def kernel(scene: Scene) -> Iterator[Finding]:
    """Yield what this host's kernel can and may."""
    yield from judge_kernel(kernel_facts(scene), _versions(scene))


def serving(scene: Scene) -> Iterator[Finding]:
    """Yield what keeps dsrlb from serving here; own VIPs and certificates are for other looks."""
    options = [one.proxy for one in scene.config.proxied if one.proxy is not None]
    elsewhere = (
        *(own.address for own in own_addresses(one.vip for one in scene.config.forwarded)),
        *(path for one in options for path in one.certificates),
    )
    found = [one for one in scene.not_ready if one.subject not in elsewhere]
    labels = {
        one.address: scene.label_at(one.address)
        for service in scene.config.services
        for one in service.backends
    }
    for one in found:
        where = BALANCER if isinstance(one.subject, str) else labels.get(one.subject, BALANCER)
        for line in located(scene.config, [one]):
            yield About("serving", where).wrong(line.rstrip("."), "", "")
    if not found:
        says = "interfaces are up, and there is a way to each server"
        yield About("serving", BALANCER).ok(says)


def links(scene: Scene) -> Iterator[Finding]:
    """Yield how frames come in and leave."""
    facts = link_facts(scene)
    for one in facts:
        if one.is_front and scene.config.forwarded:
            yield judge_xdp(one, is_at_work=_runs_xdp(scene), wanted=scene.config.engine.xdp_mode)
            yield judge_offloads(one)
    fronts = [one.mtu_bytes for one in scene.fronts]
    ways = {address: (scene.label_at(address), way) for address, way in scene.ground.ways.items()}
    if fronts:
        yield from judge_mtu(scene.config.forwarded, ways, max(fronts))


def stack(scene: Scene) -> Iterator[Finding]:
    """Yield what this host's own stack would do with frames of the VIPs."""
    if not scene.config.forwarded:
        return
    facts = link_facts(scene)
    settings = stack_facts(facts)
    vips = list(dict.fromkeys(one.vip for one in scene.config.forwarded))
    yield from judge_vips_here(vips, [str(own) for own in own_addresses(vips)])
    yield from judge_rp_filter(settings, _dropped(scene))
    yield judge_forwarding(settings, _gateways(scene))
    try:
        has_rules, killers = firewall.has_rules(), firewall.killers()
    except HostError as error:
        yield About("conntrack_invalid", BALANCER).unknown(str(error))
        return
    yield from judge_bridge_nf(settings, facts, _versions(scene), has_rules=has_rules)
    yield from judge_conntrack(killers)


def _dropped(scene: Scene) -> list[tuple[Address, str, str | None]]:
    """Return VIPs whose servers are asked there, by which interface answers come, why they are dropped."""
    asked = {
        (service.vip, way.link.name): way.link
        for service in scene.config.forwarded
        for backend in service.backends
        if (check := backend.check or service.check) is not None
        and not (check.direct or modes.BY_NAME[service.mode].sees_replies or service.vip.version == 6)
        and (way := scene.ground.ways.get(backend.address)) is not None
    }
    return [(vip, name, why_dropped(vip, link)) for (vip, name), link in asked.items()]


def _gateways(scene: Scene) -> list[str]:
    """Return the interfaces where servers are beside the way to clients, with this host as their gateway."""
    fronts = {one.ifindex for one in scene.fronts}
    return sorted(
        {
            way.link.name
            for service in scene.config.forwarded
            if service.vip.version == 4 and stand_in(service) is None
            for backend in service.backends
            if (way := scene.ground.ways.get(backend.address)) is not None
            and way.link.ifindex in fronts
            and way.next_hop == backend.address
        }
    )


def wire(scene: Scene) -> Iterator[Finding]:
    """Yield who answers on the links."""
    facts = wire_facts(scene)
    yield from judge_owners(facts, scene.config.services, runs=scene.running is not None)
    yield from judge_neighbours(facts)


def health(scene: Scene) -> Iterator[Finding]:
    """Yield whether servers are checked on time."""
    running = scene.running
    if running is not None and running.trouble:
        mend = "see its log, and what takes its time: top, journalctl -u dsrlb"
        yield About("health_clock", BALANCER).wrong("dsrlb runs, and does not answer", running.trouble, mend)
        return
    rows = running.health if running is not None else None
    yield from judge_clock(scene.config, rows)
    yield from judge_down(scene.config.proxied, rows or ())
    yield from judge_remarks(rows or ())


def proxy(scene: Scene) -> Iterator[Finding]:
    """Yield what services of mode proxy stand on."""
    if scene.config.proxied:
        yield from judge_proxy(proxy_facts(scene))


def _versions(scene: Scene) -> frozenset[int]:
    return frozenset(one.vip.version for one in scene.config.forwarded)


def _runs_xdp(scene: Scene) -> bool:
    return scene.running is not None and scene.running.engine.get("engine") == "xdp"


LOOKS = (kernel, serving, links, stack, wire, health, proxy)
