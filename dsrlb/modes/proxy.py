"""proxy: the connection ends at the balancer, which begins another one to the server.

No frame is rewritten: HAProxy answers clients at the VIP, an address of this host in this mode, and speaks to
servers on its own account (``dsrlb/engines/haproxy/``).

::

    client ──TCP──► VIP on this host ──┐ HAProxy ┌──TCP──► server
           ◄──────                     └─────────┘◄──────
"""

from __future__ import annotations

from typing import NoReturn

from dsrlb.model import Address, HostStep, ServerOptions
from dsrlb.modes.base import Job, Mode


def forward(job: Job) -> NoReturn:
    """Raise: frames of this mode are the host's own, and none gets here."""
    raise ValueError("mode proxy forwards no frames")


def host_steps(vip: Address, options: ServerOptions) -> tuple[HostStep, ...]:
    """Return what a real server needs: nothing."""
    return ()


PROXY = Mode(
    name="proxy",
    summary="end connections here and begin others to servers (HAProxy), by connection or by HTTP request",
    forward=forward,
    plain=lambda options, hop, address, port: None,
    overhead_bytes=lambda options, version: 0,
    needs_same_link=False,
    translates_ports=True,
    crosses_families=True,
    options=frozenset(),
    sees_replies=True,
    host_steps=host_steps,
)
