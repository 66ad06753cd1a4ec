"""What cannot work of mode proxy on any host: every problem at once, a sentence each, at its key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dsrlb.config.draft import Draft, route_of
from dsrlb.config.limits_problems import limits_problems
from dsrlb.config.places import Path, Problem
from dsrlb.config.routes import contradiction, covers
from dsrlb.engines.haproxy.names import server_name
from dsrlb.model import ANY_PORT
from dsrlb.proxying import DEFAULT_GROUP, Route

LAYER_7 = ("tunnel_timeout", "server_protocol", "forwarded", "trust_forwarded", "sticky", "redirect")
# Keys that are of use with another one only.
BESIDE = {
    "client_ca": "certificates",
    "client_certificate": "client_ca",
    "server_ca": "server_tls",
    "server_name": "server_tls",
}


def proxy_problems(draft: Draft, at: Path, drafts: Sequence[Draft]) -> Iterator[Problem]:
    """Yield what is wrong with a service of mode proxy, or with words of it in a service of another mode."""
    if draft.mode is None:
        return
    if draft.mode != "proxy":
        yield from _out_of_place(draft, at)
        return
    yield from _vip_problems(draft, at, drafts)
    if draft.persist is not None:
        yield Problem((*at, "persist"), f"{draft.name}: mode proxy knows no persist; take scheduler hash")
    yield from _handshake_problems(draft, at)
    yield from _names_taken(draft, at)
    yield from _key_problems(draft, at)
    yield from _transparent_problems(draft, at, drafts)
    yield from _route_problems(draft, at)
    yield from _group_problems(draft, at)
    yield from limits_problems(draft, at)


def _handshake_problems(draft: Draft, at: Path) -> Iterator[Problem]:
    """Yield what would go by clients' handshakes with servers, which end at the balancer in this mode."""
    if draft.passive:
        yield Problem(
            (*at, "passive"),
            f"{draft.name}: passive looks at clients' handshakes with servers, which mode proxy has none of; "
            "leave it out, a server that takes no connection is passed over anyway",
        )
    is_asked = draft.check is not None or any(draft.backend_checks)
    if draft.scheduler == "response" and not is_asked and (draft.proxy or {}).get("layer", 4) == 4:
        yield Problem(
            (*at, "scheduler"),
            f"{draft.name}: by connection, response goes by the times of checks in mode proxy; "
            "add [service.check]",
        )


def _out_of_place(draft: Draft, at: Path) -> Iterator[Problem]:
    if draft.proxy is not None:
        yield Problem((*at, "proxy"), f"{draft.name}: proxy is of use with mode proxy only; leave it out")
    if draft.routes:
        yield Problem((*at, "route"), f"{draft.name}: route is of use with mode proxy only; leave it out")
    if draft.limits is not None:
        yield Problem(
            (*at, "limits"), f"{draft.name}: limits are of use with mode proxy only; leave them out"
        )
    for place, one in enumerate(draft.backends):
        said = (
            {"group": one.groups != (DEFAULT_GROUP,), "max_connections": one.max_connections} if one else {}
        )
        for name in (name for name, is_said in said.items() if is_said):
            yield Problem(
                (*at, "backend", place, name),
                f"{draft.name}: {name} is of use with mode proxy only; leave it out",
            )


def _vip_problems(draft: Draft, at: Path, drafts: Sequence[Draft]) -> Iterator[Problem]:
    if draft.vip is None:
        return
    vip, port, protocol = draft.vip
    if protocol != "tcp" or port == ANY_PORT:
        yield Problem((*at, "vip"), f"{draft.name}: mode proxy serves one TCP port; give it one")
    if any(one.vip is not None and one.vip[0] == vip and one.mode not in (None, "proxy") for one in drafts):
        yield Problem(
            (*at, "vip"),
            f"{draft.name}: VIP {vip} is this host's own address in mode proxy, which it cannot be in the "
            "mode of another service; give each mode an address",
        )


def _names_taken(draft: Draft, at: Path) -> Iterator[Problem]:
    """Yield a problem for each server that is called by the address of another, which has no name."""
    nameless = {server_name(one) for one in draft.backends if one is not None and not one.label}
    for place, one in enumerate(draft.backends):
        if one is not None and one.label in nameless:
            yield Problem(
                (*at, "backend", place, "name"),
                f"{draft.name}: backend name {one.label!r} is the address of another one; give it another",
            )


def _key_problems(draft: Draft, at: Path) -> Iterator[Problem]:
    given = draft.proxy or {}
    at = (*at, "proxy")
    if given.get("layer", 4) == 4:
        for name in LAYER_7:
            if name in given:
                yield Problem(
                    (*at, name), f"{draft.name}: {name} is about HTTP; add layer = 7, or leave it out"
                )
    for name, other in BESIDE.items():
        if name in given and given.get(other, False) is False:  # None: it is there, and malformed
            yield Problem((*at, name), f"{draft.name}: {name} is of use with {other} only; add it")
    if given.get("redirect") == "https" and "certificates" in given:
        yield Problem(
            (*at, "redirect"),
            f"{draft.name}: it has certificates, so what it is asked comes by https already; redirect in "
            "the service of port 80",
        )
    if "redirect" in given and draft.backends:
        yield Problem(
            (*at, "redirect"),
            f"{draft.name}: redirect answers every request, so its servers would get none; leave either out",
        )


def _transparent_problems(draft: Draft, at: Path, drafts: Sequence[Draft]) -> Iterator[Problem]:
    """Yield what servers cannot be asked from clients' addresses, or would not be heard."""
    if draft.vip is None or not (draft.proxy or {}).get("transparent"):
        return
    vip, own_port, _ = draft.vip
    forwarded = {
        (server.address, server.port or one.vip[1])
        for one in drafts
        for server in one.backends
        if one.mode == "inline" and one.vip is not None and server is not None
    }
    for place, server in enumerate(draft.backends):
        if server is None:
            continue
        address, port = server.address, server.port or own_port
        here, name = (*at, "backend", place, "address"), f"{draft.name}: backend {address}"
        if address.version != vip.version:
            yield Problem(
                here,
                f"{name} is IPv{address.version}, and clients are IPv{vip.version}, so it cannot be asked "
                f"from their addresses; give it an IPv{vip.version} address, or leave transparent out",
            )
        elif {(address, port), (address, ANY_PORT)} & forwarded:
            yield Problem(
                here,
                f"{name} port {port} is of mode inline too, which takes its answers; give it another port, "
                "or leave transparent out",
            )


def _route_problems(draft: Draft, at: Path) -> Iterator[Problem]:
    given = draft.proxy or {}
    if not draft.routes:
        return
    if given.get("layer", 4) == 4:
        yield Problem((*at, "route"), f"{draft.name}: routes are by HTTP request; add layer = 7 in its proxy")
    if "redirect" in given:
        yield Problem(
            (*at, "route"), f"{draft.name}: redirect answers every request before any route; leave either out"
        )
    earlier: dict[int, Route] = {}
    for number, words in enumerate(draft.routes, 1):
        if words is None:
            continue
        here, name, route = (*at, "route", number - 1), f"{draft.name}: route {number}", route_of(words)
        yield from _target_problems(draft, words, here, name)
        if None in words.values():
            continue  # told already; what it takes is not known
        if why := contradiction(route):
            yield Problem(here, f"{name} can never match: {why}; change it, or leave it out")
            continue
        if over := next((before for before, one in earlier.items() if covers(one, route)), None):
            yield Problem(
                here,
                f"{name} can never match, since route {over} before it takes all of it; put it before that "
                "one, or leave it out",
            )
        earlier[number] = route


def _target_problems(draft: Draft, words: Mapping[str, Any], at: Path, name: str) -> Iterator[Problem]:
    ends = [one for one in ("group", "redirect") if one in words]
    if len(ends) != 1:
        wrong = "has both group and redirect; leave one out" if ends else "leads nowhere; give it a group"
        yield Problem(at, f"{name} {wrong}")
    there = {group for one in draft.backends if one is not None for group in one.groups}
    group = words.get("group")
    if group and group not in there and None not in draft.backends:
        others = ", ".join(sorted(there - {DEFAULT_GROUP}))
        what_to_do = f"there are {others}" if others else "give its servers that group"
        yield Problem(
            (*at, "group"), f"{name} leads to group {group!r}, which no backend is in; {what_to_do}"
        )
    if words.get("redirect") == "https" and "certificates" in (draft.proxy or {}):
        yield Problem(
            (*at, "redirect"), f"{name} redirects to https what came by https, over and over; leave it out"
        )


def _group_problems(draft: Draft, at: Path) -> Iterator[Problem]:
    routes = [route_of(one or {"group": None}) for one in draft.routes]
    if any(one is None or one.get("group", "") is None for one in draft.routes) or None in draft.backends:
        return  # told already; what is missing may be what leads there
    led_to = {one.group for one in routes if one.group}
    backends = [one for one in draft.backends if one is not None]
    there = {group for one in backends for group in one.groups}
    if led_to - there:
        return  # told already; one of these is meant
    for place, one in enumerate(backends):
        for group in [group for group in one.groups if group not in led_to | {DEFAULT_GROUP}]:
            yield Problem(
                (*at, "backend", place, "group"),
                f"{draft.name}: no route leads to group {group!r}, so its servers would get nothing by it; "
                "add a [[service.route]], or leave the group out",
            )
    if DEFAULT_GROUP in there or any(covers(one, Route()) for one in routes):
        return
    if there:
        yield Problem(
            at,
            f"{draft.name}: every backend is in a group, so none takes the requests that fit no route; leave "
            'the group out at some, add group "default", or a last route with path = "/"',
        )
    elif routes and all(one.redirect for one in routes) and "redirect" not in (draft.proxy or {}):
        yield Problem(
            at,
            f"{draft.name}: it has no backend, so none takes the requests that fit no route; add one, or a "
            'last route with path = "/"',
        )
