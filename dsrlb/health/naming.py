"""What is wrong with a server that does not answer at the VIP, told by what it says at its own address.

::

    at the VIP           at its own address     in l3dsr, by ICMP       then it is
    refused              passed                                        not_on_vip
    refused              anything else                                 refused
    silent               an answer, any         "not unwrapped"        no_decapsulation
    silent               an answer, any         nothing, not even of   rp_filter
                                                what is for the own
                                                address inside
    silent               an answer, any                                no_vip
    silent               silent, its MAC is another one than known     server_mac
    silent               silent                                        no_answer, unreachable: as at the VIP

Silent is who never answered a packet: a connection that came about shows that the VIP is there.  Pure.
"""

from __future__ import annotations

from typing import NamedTuple

from dsrlb.health.base import Outcome
from dsrlb.model import Address, ModeOptions

PLAIN = ModeOptions()
REFUSED, SILENT = "refused", frozenset(("no_answer", "unreachable"))


class Findings(NamedTuple):
    """What is known of a server after both questions."""

    vip: Address
    mode: str
    at_vip: Outcome
    at_own: Outcome | None  # None: it could not be asked there
    says_no_tunnel: bool  # by ICMP: it does not unwrap what is sent to it
    is_tunnel_dead: bool = False  # nothing comes out of it, and nothing is said of that
    options: ModeOptions = PLAIN


def is_open(at_vip: Outcome, is_connected: bool) -> bool:
    """Return whether the second question tells more of what is wrong."""
    return at_vip.word == REFUSED or (at_vip.word in SILENT and not is_connected)


def is_alive(at_own: Outcome | None) -> bool:
    """Return whether a server answers at its own address, whatever it says."""
    return at_own is not None and at_own.word not in SILENT


def named(found: Findings) -> Outcome:
    """Return what is wrong, and what mends it."""
    at_vip, own = found.at_vip, found.at_own
    if at_vip.word == REFUSED:
        if own is None or not own.ok:
            return at_vip
        return Outcome(
            "not_on_vip",
            f"its own address accepts; let the service listen on {found.vip}, or on all addresses "
            "(where it does, a rule of the server's firewall refuses)",
        )
    if found.says_no_tunnel:
        return Outcome("no_decapsulation", f"it refuses what is wrapped; {_set_up(found)}")
    if is_alive(own) and found.is_tunnel_dead:
        return Outcome(
            "rp_filter",
            "it takes what is wrapped, without a word, and nothing comes out: rp_filter of its tunnel device "
            f"(or of all) is 1, or its firewall, or a device for other tunnels, drops it; {_set_up(found)}",
        )
    if is_alive(own):
        return Outcome("no_vip", f"its own address answers, {found.vip} on it does not; {_set_up(found)}")
    return at_vip


def moved(server: Address, to: str, known: str) -> Outcome:
    """Return what is wrong with a server that has another MAC than this host sends to."""
    return Outcome(
        "server_mac",
        f"{server} is at {to}, and this host sends to {known}; ip neigh del {server} dev …, or mend its mac "
        "in the configuration",
    )


def setup_line(mode: str, vip: Address, options: ModeOptions = PLAIN) -> str:
    """Return the line that makes a machine a real server, to be run there."""
    line = f"dsrlb backend setup --mode {mode} --vip {vip}"
    if mode == "l3dsr" and options.encap != "ipip":
        line += f" --encap {options.encap} --encap-port {options.encap_port}"
    return line


def _set_up(found: Findings) -> str:
    return f"on the server: {setup_line(found.mode, found.vip, found.options)}"
