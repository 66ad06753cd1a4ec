"""Steps about routes: the way back to the clients, and the MSS that the server announces on it.

A route is told as ``ip route show`` tells it, and that is also how it is put back: the kernel's own
words, less those that only describe (``linkdown``).

A route of ours stands beside one of another metric, and is preferred to it; one of its own metric it
replaces, and the former one is on record.  IPv4's best metric is 0, which is not shown; IPv6's is 1.
"""

from __future__ import annotations

from collections.abc import Iterator

from dsrlb.errors import HostError
from dsrlb.host import machine as host
from dsrlb.host.machine import Machine
from dsrlb.host.step_states import ABSENT, Kind
from dsrlb.model import HostStep

NONE = "none"
LEAST_MSS = {"inet": 536, "inet6": 1220}  # RFC 9293, section 3.7.1


def _ip(family: str) -> str:
    return "ip -6 route" if family == "inet6" else "ip -4 route"


def _word_after(line: str, name: str) -> str | None:
    words = line.split()
    return words[words.index(name) + 1] if name in words[:-1] else None


# --- route: target "inet default", value "via GATEWAY [metric 1]" -----------------------------------


def _best(family: str, line: str) -> bool:
    return _word_after(line, "metric") == (None if family == "inet" else "1")


def _read_route(machine: Machine, step: HostStep) -> str:
    family, network = step.target.split()
    return next((line for line in host.routes(machine, family, network) if _best(family, line)), ABSENT)


def _is_ours(machine: Machine, step: HostStep, state: str) -> bool:
    return _word_after(state, "via") == step.value.split()[1] and "nexthop" not in state


def _restore_route(step: HostStep, former: str) -> str:
    family, network = step.target.split()
    if former == ABSENT:
        return f"{_ip(family)} del {network} {step.value}"
    return f"{_ip(family)} replace {former}"


def _replace_route(step: HostStep) -> str:
    family, network = step.target.split()
    return f"{_ip(family)} replace {network} {step.value}"


ROUTE = Kind(
    command=_replace_route,
    back=_restore_route,
    words=lambda step: f"{step.target.split()[1]} {step.value}",
    read=_read_route,
    fits=_is_ours,
    shows_state=True,
)

# --- advmss: target "inet default via 198.18.21.1 dev e0", value "1440" -----------------------------


def _without_advmss(line: str) -> tuple[str, str]:
    """Return a route without its advmss, and that advmss or ``none``."""
    words = line.split()
    if "advmss" not in words[:-1]:
        return line, NONE
    at = words.index("advmss")
    return " ".join(words[:at] + words[at + 2 :]), words[at + 1]


def _read_advmss(machine: Machine, step: HostStep) -> str | None:
    family, _, route = step.target.partition(" ")
    known = dict(map(_without_advmss, host.routes(machine, family, route.split()[0])))
    return known.get(route)


def _replace(step: HostStep, mss: str) -> str:
    family, _, route = step.target.partition(" ")
    return f"{_ip(family)} replace {route}" + (f" advmss {mss}" if mss != NONE else "")


ADVMSS = Kind(
    command=lambda step: _replace(step, step.value),
    back=_replace,
    words=lambda step: f"{step.target.partition(' ')[2]} advmss {step.value}",
    read=_read_advmss,
    fits=lambda machine, step, state: state != NONE and int(state) <= int(step.value),
    shows_state=True,
)


def on_this_machine(machine: Machine, step: HostStep) -> Iterator[HostStep]:
    """Yield an ``advmss`` step of a mode as one for each route of this machine that it is about."""
    family, network = step.target.split()
    for line in host.routes(machine, family, network):
        route, _ = _without_advmss(line)
        if not why_left_alone(route):
            yield HostStep("advmss", f"{family} {route}", _mss(machine, family, route, step.value), step.why)


def why_left_alone(route: str) -> str | None:
    """Say why the MSS of a route cannot be set here, or None when it can."""
    words = route.split()
    if "nexthop" in words:
        return "it has several next hops"
    if _word_after(route, "proto") == "ra":
        return "it comes from router advertisements"
    return None if "dev" in words[:-1] else "it has no device"


def left_alone(machine: Machine, step: HostStep) -> Iterator[str]:
    """Yield a sentence for each route whose MSS a mode wants set and that is left alone."""
    family, network = step.target.split()
    found = host.routes(machine, family, network)
    if not found:
        yield f"there is no route to {network} ({family}), so no MSS is set"
    for line in found:
        reason = why_left_alone(line)
        if reason is not None:
            yield f"the MSS of the route {line} is left alone: {reason}"


def _mss(machine: Machine, family: str, route: str, wanted: str) -> str:
    if not wanted.startswith("mtu-"):
        return wanted
    device = _word_after(route, "dev") or ""
    mtu_bytes = int(_word_after(route, "mtu") or host.links(machine)[device][1])
    mss = mtu_bytes - int(wanted.removeprefix("mtu-"))
    if mss < LEAST_MSS[family]:
        raise HostError(f"{device}: an MTU of {mtu_bytes} leaves an MSS of {mss}: too little; see --advmss.")
    return str(mss)
