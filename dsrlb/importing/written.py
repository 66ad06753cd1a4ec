"""What was found, written as a ``dsrlb.toml``."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from dsrlb.config import MAX_WEIGHT, config_in
from dsrlb.errors import ConfigError
from dsrlb.importing.found import NAT, ROUTE, TUNNEL, Check, Found, Server, Virtual

NAME = "dsrlb.toml"
_NAMES = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
TIMEOUTS = {"tcp": ("established", "fin"), "udp": ("udp",)}
_MODES = {ROUTE: "direct routing", TUNNEL: "tunnelling", NAT: "masquerading"}


def written(found: Found, head: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Return the file, and what ``dsrlb check`` finds wrong with it; notes what it leaves out."""
    lines = [f"# {line}" for line in head]
    lines += ["", f"interfaces = {_value(found.interfaces)}"] if found.interfaces else _unknown_interfaces()
    names = Counter(one.name for one in found.virtuals)
    numbers: Counter[str] = Counter()
    for virtual in found.virtuals:
        if names[virtual.name] > 1:
            numbers[virtual.name] += 1
            virtual.name = virtual.name and f"{virtual.name}-{numbers[virtual.name]}"
        lines += _service(virtual, found)
    text = "\n".join(lines) + "\n"
    try:
        config_in(text.encode(), NAME)
    except ConfigError as error:
        return text, error.problems
    return text, ()


def _unknown_interfaces() -> list[str]:
    return ["", '# interfaces = ["eth0"]            # without it, the one of the default route']


def _service(virtual: Virtual, found: Found) -> Iterator[str]:
    servers = _alike(virtual, found)
    if not servers:
        found.note(virtual.where, "the service has no server that could be taken over; it is left out")
        return
    first, host = servers[0], f"[{virtual.vip}]" if virtual.vip.version == 6 else str(virtual.vip)
    yield from ("", "[[service]]")
    if _NAMES.fullmatch(virtual.name):
        yield f"name = {_value(virtual.name)}"
    yield f"vip = {_value(f'{host}:{virtual.port or chr(42)}/{virtual.protocol}')}"
    yield from (f"mode = {_value(first.mode)}", f"scheduler = {_value(virtual.scheduler)}")
    if virtual.persist:
        yield f"persist = {_value(virtual.persist)}"
    yield from (f"{name} = {_value(value)}" for name, value in first.tunnel.items())
    checks = [one.check for one in servers]
    if virtual.is_refused and any(checks):
        yield 'on_all_down = "reject"'
    common = max(checks, key=checks.count) if all(checks) else None  # a server without one would have it too
    if common:
        yield from _table("[service.check]", common)
    timeouts = {name: value for name, value in found.timeouts.items() if name in TIMEOUTS[virtual.protocol]}
    if timeouts:
        yield from _table("[service.timeouts]", timeouts)
    for server in servers:
        yield from _backend(server, virtual, None if server.check == common else server.check, found)


def _alike(virtual: Virtual, found: Found) -> list[Server]:
    """Return the servers that go into one service: those of the mode that most of them have."""
    if not virtual.servers:
        return []
    of_most = Counter(map(_kind, virtual.servers)).most_common(1)[0][0]
    for one in virtual.servers:
        if _kind(one) != of_most:
            found.note(
                one.where,
                f"server {one.address} is reached by {_way(one)}, others of its service otherwise; "
                "a service has one mode, so this server is left out",
            )
    return [one for one in virtual.servers if _kind(one) == of_most]


def _kind(server: Server) -> tuple[str, str]:
    return server.mode, json.dumps(server.tunnel)


def _way(server: Server) -> str:
    if server.mode != TUNNEL:
        return _MODES[server.mode]
    port = f" to port {server.tunnel['encap_port']}" if "encap_port" in server.tunnel else ""
    return f"{_MODES[TUNNEL]} ({server.tunnel.get('encap', 'ipip')}{port})"


def _backend(server: Server, virtual: Virtual, check: Check | None, found: Found) -> Iterator[str]:
    yield from ("", "[[service.backend]]", f"address = {_value(str(server.address))}")
    if server.port not in (0, virtual.port):
        if server.mode == NAT and virtual.port:
            yield f"port = {server.port}"
        else:
            found.note(
                server.where,
                f"port {server.port} of server {server.address} is not the service's; "
                f"{_MODES[server.mode]} leaves ports as they are, so it never was in use",
            )
    if server.weight > MAX_WEIGHT:
        found.note(server.where, f"weight {server.weight} is more than {MAX_WEIGHT}, which is written")
    if server.weight != 1:
        yield f"weight = {min(server.weight, MAX_WEIGHT)}"
    if check:
        yield from _table("[service.backend.check]", check)


def _table(heading: str, keys: Check) -> Iterator[str]:
    yield from ("", heading)
    yield from (f"{name} = {_value(value)}" for name, value in keys.items())


def _value(value: Any) -> str:
    """Return a value as TOML has it; of texts and lists of them, JSON has the same."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
