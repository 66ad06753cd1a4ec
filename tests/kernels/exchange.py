"""Real clients and servers on this machine, and between them a balancer in another kernel.

For each mode a lab stands (``dsrlb.lab``), whose balancer's cable is pulled: in its place on the switch is an
interface of the virtual machine, with the same addresses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from lab_wire import TEST_PREFIX

from dsrlb.lab.client import ask
from dsrlb.lab.lifecycle import standing
from dsrlb.lab.topology import Lab, link_bytes

MODES = ("l2dsr", "l3dsr", "inline")
XDP_MODES = ("native", "generic")
PORTS = (80, 8080)  # short requests, long bodies
REQUESTS, BYTES, WITHIN_S = 20, 300_000, 30.0
LOST = (
    "send_failed",
    "send_too_big",
    "malformed",
    "no_service",
    "no_backend",
    "refused",
    "backend_unresolved",
)


@contextmanager
def labs() -> Iterator[list[Lab]]:
    """Have a lab for each mode."""
    with ExitStack() as opened:
        made = []
        for mode in MODES:
            shape: dict[str, Any] = {"one_armed": True} if mode == "inline" else {}
            one = Lab(prefix=f"{TEST_PREFIX}k-{mode}-", mode=mode, servers=2, offloads=False, **shape)
            made.append(opened.enter_context(standing(one)))
        yield made


def told(lab: Lab) -> dict[str, Any]:
    """Return what the machine is to know of a lab: its name, its ``ip`` lines, its configuration."""
    (end,) = lab.network.ends("lb")
    lines = [f"addr add {one} dev e0" + " nodad" * (one.version == 6) for one in end.addresses]
    lines += [f"route add {one.network} via {one.gateway}" for one in lab.network.routes if one.role == "lb"]
    return {"name": lab.mode, "lines": lines, "config": _config(lab)}


def _config(lab: Lab) -> str:
    parts = ['interfaces = ["e0"]\n']
    for version, vip in ((one.version, one) for one in lab.vips):
        for port in PORTS:
            where = f"[{vip}]:{port}" if version == 6 else f"{vip}:{port}"
            parts.append(f'[[service]]\nvip = "{where}"\nmode = "{lab.mode}"\nscheduler = "rr"\n')
            parts += [f'[[service.backend]]\naddress = "{one}"\n' for one in lab.server_addresses(version)]
    return "".join(parts)


def exchanged(lab: Lab) -> list[str]:
    """Send requests, and long bodies both ways, to each VIP; return what was not as it should be."""
    wrong: list[str] = []
    before = link_bytes(lab, "switch", "p-kernel")
    for vip in lab.vips:
        answers = ask(lab, "requests", host=vip, count=REQUESTS, timeout_s=WITHIN_S)
        took = [answers["servers"].count(name) for name in lab.server_names]
        if answers["errors"] or took != [REQUESTS // len(took)] * len(took):
            wrong.append(f"{vip}: of {REQUESTS} requests servers took {took}; {answers['errors'][:2]}")
        bodies = ask(lab, "exchange", host=vip, count=2, size_bytes=BYTES, timeout_s=WITHIN_S)
        if bodies["errors"]:
            wrong.append(f"{vip}: {bodies['errors']}")
    crossed = link_bytes(lab, "switch", "p-kernel") - before  # as the switch sees it
    bodies_bytes = 2 * len(lab.vips) * BYTES
    least, most = (2, 3) if lab.mode == "inline" else (1, 1.5)  # inline: what is fetched crosses it as well
    if not least * bodies_bytes < crossed.received < most * bodies_bytes:
        wrong.append(f"{crossed.received} bytes came from the balancer, with {bodies_bytes} sent and fetched")
    return wrong


def wrong_in(served: dict[str, str], xdp_mode: str) -> list[str]:
    """Return what a balancer says that it should not, at its end."""
    wrong = []
    if f"XDP program on e0: {xdp_mode}" not in served["logged"]:
        wrong.append(f"the program is not in {xdp_mode} mode: {served['logged']}")
    reasons, _, _ = served["printed"].partition("\n\n")
    counted = {word: int(frames) for word, frames in re.findall(r"^(\w+) +(\d+)$", reasons, re.M)}
    if not counted.get("forwarded") or any(counted.get(name) for name in LOST):
        wrong.append(f"counters: {served['printed']}")
    if counted.get("handed_over", 0) > counted.get("forwarded", 0) // 10:
        wrong.append(f"the program forwards too little by itself: {served['printed']}")
    return wrong
