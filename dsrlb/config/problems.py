"""What cannot work on any host, in services that are well formed: every problem at once, a sentence each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from dsrlb import modes
from dsrlb.config.checks import check_problems
from dsrlb.config.draft import Draft, service_name
from dsrlb.config.places import Path, Problem
from dsrlb.config.proxy_problems import proxy_problems
from dsrlb.config.redirects import redirects_all
from dsrlb.config.words import Vip
from dsrlb.model import ANY_PORT, SAME_PORT, Address, Backend, person_mac

MAX_BACKENDS = 4096


def problems(drafts: Sequence[Draft]) -> Iterator[Problem]:
    """Yield every problem of the services, each at the key that has to change."""
    yield from _vips_given_twice(drafts)
    yield from _names_given_twice([draft.label for draft in drafts], ("service",), "")
    yield from _macs_that_differ(drafts)
    vips = {draft.vip[0] for draft in drafts if draft.vip is not None}
    for number, draft in enumerate(drafts):
        at = ("service", number)
        yield from _backend_problems(draft, at, vips)
        yield from _port_problems(draft, at)
        yield from _option_problems(draft, at, vips)
        yield from _family_problems(draft, at)
        yield from _persist_problems(draft, at)
        yield from _passive_problems(draft, at)
        yield from _check_problems(draft, at)
        yield from proxy_problems(draft, at, drafts)


def _vips_given_twice(drafts: Sequence[Draft]) -> Iterator[Problem]:
    counts = Counter(draft.vip for draft in drafts if draft.vip is not None)
    seen: set[Vip] = set()
    for number, draft in enumerate(drafts):
        if draft.vip in seen:
            sentence = f"VIP {service_name(draft.vip)} is given {counts[draft.vip]} times; give it once"
            yield Problem(("service", number, "vip"), sentence)
        if draft.vip is not None:
            seen.add(draft.vip)


def _names_given_twice(names: Sequence[str], at: Path, where: str) -> Iterator[Problem]:
    counts = Counter(names)
    for number, name in enumerate(names):
        if name and name in names[:number]:
            yield Problem(
                (*at, number, "name"),
                f"{where}name {name!r} is given {counts[name]} times; give each a name of its own",
            )


def _macs_that_differ(drafts: Sequence[Draft]) -> Iterator[Problem]:
    macs: dict[Address, bytes] = {}
    for number, draft in enumerate(drafts):
        for place, one in enumerate(draft.backends):
            if one is not None and one.mac is not None and macs.setdefault(one.address, one.mac) != one.mac:
                yield Problem(
                    ("service", number, "backend", place, "mac"),
                    f"backend {one.address} is given MAC {person_mac(one.mac)} here and "
                    f"{person_mac(macs[one.address])} elsewhere; a machine has one",
                )


def _backend_problems(draft: Draft, at: Path, vips: set[Address]) -> Iterator[Problem]:
    labels = [one.label if one is not None else "" for one in draft.backends]
    yield from _names_given_twice(labels, (*at, "backend"), f"{draft.name}: backend ")
    known = [one for one in draft.backends if one is not None]
    counts = Counter(_whereabouts(one, draft) for one in known)
    seen: set[tuple[Address, int]] = set()
    for place, one in enumerate(draft.backends):
        if one is None:
            continue
        here, where = (*at, "backend", place, "address"), _whereabouts(one, draft)
        if where in seen:
            yield Problem(
                here,
                f"{draft.name}: backend {_person(one)} is listed {counts[where]} times; "
                "list it once, with a weight",
            )
        seen.add(where)
        if one.address in vips:
            yield Problem(
                here, f"{draft.name}: backend {one.address} is a VIP itself; give the server's own address"
            )
    yield from _counted_problems(draft, at, len(seen))


def _counted_problems(draft: Draft, at: Path, listed: int) -> Iterator[Problem]:
    if listed > MAX_BACKENDS:
        yield Problem(
            at, f"{draft.name}: {listed} backends are more than the {MAX_BACKENDS} that a service can have"
        )
    weights = [one is None or one.weight for one in draft.backends]  # one that is unreadable may have any
    if not weights and not redirects_all({"proxy": draft.proxy, "route": draft.routes}):
        yield Problem(at, f"{draft.name}: it has no backend; add one")
    elif weights and not any(weights):
        yield Problem(
            at,
            f"{draft.name}: all weights are 0, so no backend would get traffic; "
            "give one a weight of 1 or more",
        )


def _whereabouts(backend: Backend, draft: Draft) -> tuple[Address, int]:
    own = draft.vip[1] if draft.vip is not None else SAME_PORT
    return backend.address, SAME_PORT if backend.port == own else backend.port


def _person(backend: Backend) -> str:
    host = f"[{backend.address}]" if backend.address.version == 6 and backend.port else str(backend.address)
    return f"{host}:{backend.port}" if backend.port != SAME_PORT else host


def _port_problems(draft: Draft, at: Path) -> Iterator[Problem]:
    if draft.vip is None or draft.mode is None:
        return
    for place, one in enumerate(draft.backends):
        if one is None or one.port in (SAME_PORT, draft.vip[1]):
            continue
        here = (*at, "backend", place, "port")
        if not modes.BY_NAME[draft.mode].translates_ports:
            yield Problem(
                here,
                f"backend {_person(one)}: mode {draft.mode} translates no ports, so the server must listen "
                "on the service's own; leave the port out",
            )
        elif draft.vip[1] == ANY_PORT:
            yield Problem(
                here,
                f"backend {_person(one)}: {draft.name} is for every port, which one port cannot stand for; "
                "leave the port out",
            )


def _option_problems(draft: Draft, at: Path, vips: set[Address]) -> Iterator[Problem]:
    given = draft.options
    if "encap_port" in given and given.get("encap", "ipip") == "ipip":
        yield Problem((*at, "encap_port"), "encap_port is of use with encap gue or gue1 only; leave it out")
    if draft.mode is None:
        return
    mode = modes.BY_NAME[draft.mode]
    for name in given:
        if name not in mode.options:
            yield Problem((*at, name), _unknown_option(name, mode.name))
    if "source" in given and "source" in mode.options:
        if "snat" in mode.options and not given.get("snat"):
            yield Problem((*at, "source"), "source is of use with snat only; add snat, or leave it out")
        yield from _source_problems(given["source"], draft.backends, (*at, "source"), vips)


def _unknown_option(name: str, mode: str) -> str:
    knowing = [one.name for one in modes.MODES if name in one.options]
    if not knowing:
        return f"mode {mode} does not know {name}; leave it out"
    return f"mode {mode} does not know {name}, which is for mode {' and '.join(knowing)}; leave it out"


def _source_problems(
    source: Address, backends: Sequence[Backend | None], at: Path, vips: set[Address]
) -> Iterator[Problem]:
    if source in vips:
        yield Problem(at, f"source {source} is a VIP; give another address, or leave it out")
    for one in backends:
        if one is not None and one.address == source:
            yield Problem(at, f"source {source} is a backend; give another address, or leave it out")
        elif one is not None and one.address.version != source.version:
            yield Problem(
                at, f"source {source} and backend {one.address} differ in IP version; leave the source out"
            )
            return


def _family_problems(draft: Draft, at: Path) -> Iterator[Problem]:
    if draft.vip is None or draft.mode is None or modes.BY_NAME[draft.mode].crosses_families:
        return
    vip = draft.vip[0]
    for place, one in enumerate(draft.backends):
        if one is not None and one.address.version != vip.version:
            yield Problem(
                (*at, "backend", place, "address"),
                f"backend {one.address} and VIP {vip} differ in IP version, which mode {draft.mode} does not "
                f"translate; give an IPv{vip.version} address of the server",
            )


def _persist_problems(draft: Draft, at: Path) -> Iterator[Problem]:
    if draft.vip is None or draft.persist is None or draft.persist[1] is None:
        return
    bits, prefix = draft.vip[0].max_prefixlen, draft.persist[1]
    if prefix > bits:
        yield Problem(
            (*at, "persist"),
            f"persist prefix /{prefix} is longer than an IPv{draft.vip[0].version} client's address; "
            f"write 1 to {bits}",
        )


def _passive_problems(draft: Draft, at: Path) -> Iterator[Problem]:
    if draft.passive and draft.vip is not None and draft.vip[2] == "udp":
        yield Problem(
            (*at, "passive"), "passive looks at handshakes, which there are by TCP only; leave it out"
        )


def _check_problems(draft: Draft, at: Path) -> Iterator[Problem]:
    port = draft.vip[1] if draft.vip is not None else None
    if draft.check is not None:
        yield from check_problems(draft.check, (*at, "check"), draft.name, port)
    for place, words in enumerate(draft.backend_checks):
        one = draft.backends[place] if place < len(draft.backends) else None
        if words is not None:
            where = f"backend {_person(one)}" if one is not None else draft.name
            yield from check_problems(words, (*at, "backend", place, "check"), where, port)
