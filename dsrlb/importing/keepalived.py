"""``keepalived.conf``: its virtual servers and their checks; VRRP stays keepalived's.

*Source*: keepalived.conf(5), version 2.3, LVS CONFIGURATION; names of before 2.0 (lb_algo, lb_kind) as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network
from itertools import islice
from pathlib import Path
from typing import Any

from dsrlb.importing.checkers import CHECKERS, check_of
from dsrlb.importing.found import NAT, ROUTE, TUNNEL, Check, Found, Server, Virtual
from dsrlb.importing.lines import Reader
from dsrlb.importing.tree import Node, tree
from dsrlb.importing.words import address_in, no_mark, persist_in, port_in, tunnel_of
from dsrlb.model import Address

MODES = {"NAT": NAT, "DR": ROUTE, "TUN": TUNNEL}
PERSIST_S = "360"  # persistence_timeout without a number
MOST_IN_A_RANGE = 1024
FLAGS = ("sh-port", "mh-port", "sh-fallback", "mh-fallback", "flag-1", "flag-2", "flag-3")
# Keywords without an equivalent, and what to say of them.
SERVICE_NOTES = {
    "quorum": "a quorum of more than one server has no equivalent",
    "hysteresis": "hysteresis has no equivalent",
    "quorum_up": "scripts are not called; the log and the metrics tell when a service has no server",
    "quorum_down": "scripts are not called; the log and the metrics tell when a service has no server",
    "alpha": "alpha has no equivalent: servers count as up until their checks have failed",
    "omega": "omega has no equivalent",
    "ha_suspend": "ha_suspend has no equivalent: servers are checked all the time",
    "ops": "one-packet scheduling has no equivalent: datagrams of a flow go to one server",
    "persistence_engine": "a persistence engine has no equivalent",
    "smtp_alert": "no mail is sent; the log and the metrics tell what mail did",
}
SERVER_NOTES = {
    "notify_up": "scripts are not called; the log and the metrics tell when a server is up",
    "notify_down": "scripts are not called; the log and the metrics tell when a server is down",
    "uthreshold": "a threshold of connections has no equivalent in modes that forward packets",
    "lthreshold": "a threshold of connections has no equivalent in modes that forward packets",
    "alpha": SERVICE_NOTES["alpha"],
    "smtp_alert": SERVICE_NOTES["smtp_alert"],
}
# Keywords that are taken over, of both or of one; those of slowness to begin with have no need of it here.
_BOTH = {
    *("lvs_method", "lb_kind", "virtualhost", "snmp_name", "inhibit_on_failure", "warmup"),
    *("delay_loop", "connect_timeout", "retry", "nb_get_retry", "delay_before_retry"),
}
_OF_SERVICE = {
    *_BOTH, *FLAGS, *SERVICE_NOTES, "lvs_sched", "lb_algo", "protocol", "ip_family", "real_server",
    "persistence_timeout", "persistence_granularity",
    "sorry_server", "sorry_server_inhibit", "sorry_server_lvs_method",
}  # fmt: skip
_OF_SERVER = {*_BOTH, *CHECKERS, *SERVER_NOTES, "weight"}
ELSEWHERE = ("virtual_server", "virtual_server_group", "global_defs", "vrrp_instance", "SSL")


def read(text: str, name: str, folder: Path, config_id: str) -> Found:
    """Return what the file says.  ConfigError: its blocks do not match."""
    found = Found()
    nodes = tree(Reader(config_id, found.note).lines(text, name, folder))
    groups = {one.words[1]: one for one in nodes if one.name == "virtual_server_group" and len(one.words) > 1}
    for node in nodes:
        if node.name == "virtual_server":
            _virtual_server(node, groups, found)
        elif node.name == "global_defs":
            _global(node, found)
        elif node.name == "SSL":
            found.note(node.where, "client certificates of checks (SSL) have no equivalent")
    _vrrp([one for one in nodes if one.name == "vrrp_instance"], found)
    _leave_out([one for one in nodes if one.name not in ELSEWHERE], found)
    return found


def _global(node: Node, found: Found) -> None:
    if timeouts := node.node("lvs_timeouts"):
        given = dict(zip(timeouts.words[1::2], timeouts.words[2::2], strict=False))
        found.timeouts_of(timeouts.where, [given.get(name, "0") for name in ("tcp", "tcpfin", "udp")])
    if sync := node.node("lvs_sync_daemon"):
        found.note(
            sync.where,
            "a sync daemon is not needed with maglev and hash, by which each balancer picks the same server; "
            "with other schedulers a flow that changes its balancer may change its server",
        )


def _vrrp(instances: list[Node], found: Found) -> None:
    """Take over interfaces, and say what becomes of addresses that VRRP adds to this host."""
    found.interfaces = list(
        dict.fromkeys(one.get("interface") or "" for one in instances if one.get("interface"))
    )
    vips = {str(one.vip) for one in found.virtuals}
    for instance in instances:
        for block in instance.all("virtual_ipaddress", "virtual_ipaddress_excluded"):
            for line in block.inside:
                if line.name.partition("/")[0] in vips:
                    found.note(
                        line.where,
                        f"VIP {line.name} is added to this host by VRRP; dsrlb owns VIPs without that, and "
                        "refuses one that the host has: leave it out here, and route it to this host",
                    )
    if instances:
        found.note(
            instances[0].where,
            f"VRRP ({len(instances)} of vrrp_instance) stays keepalived's: run it with --vrrp beside dsrlb",
        )


def _leave_out(nodes: list[Node], found: Found) -> None:
    for node in nodes:
        found.note(node.where, f"{node.name} is not about virtual servers, and is left out")


# ------------------------------------------------------------------------- virtual servers


def _virtual_server(node: Node, groups: dict[str, Node], found: Found) -> None:
    protocol = (node.get("protocol") or "TCP").lower()
    if protocol not in ("tcp", "udp"):
        return found.note(
            node.where, f"protocol {protocol.upper()} has no equivalent; the service is left out"
        )
    _note_keywords(node, SERVICE_NOTES, _OF_SERVICE, found)
    places = list(_places(node, groups, protocol, found))
    for vip, port, where, name in places:
        scheduler = node.get("lvs_sched", "lb_algo") or "wlc"
        flags = tuple(one.name for one in node.inside if one.name in FLAGS)
        virtual = Virtual(
            vip, port, protocol, where, found.scheduler(node.where, scheduler, flags), name=name
        )
        virtual.persist = _persist(node, vip, found)
        virtual.is_refused = node.node("sorry_server") is None
        servers = (_server(one, node, virtual, found) for one in node.all("real_server"))
        virtual.servers = [one for one in servers if one is not None]
        found.virtuals.append(virtual)
    if sorry := node.node("sorry_server"):
        found.note(
            sorry.where,
            f"sorry_server {' '.join(sorry.words[1:])} has no equivalent: without a server that is up, new "
            'flows go on to those that are down; on_all_down = "reject" refuses them',
        )
    return None


def _places(
    node: Node, groups: dict[str, Node], protocol: str, found: Found
) -> Iterator[tuple[Address, int, str, str]]:
    """Yield the VIPs and ports of a virtual server, with the place and the name of each."""
    words, name = node.words[1:], node.get("snmp_name") or ""
    if not words:
        return found.note(node.where, "virtual_server without an address; it is left out")
    if words[0] == "fwmark":
        return _note_mark(node, words, found)
    if words[0] != "group":
        yield from ((*place, node.where, name) for place in _place(node.where, words, protocol, found))
        return None
    group = groups.get(words[1]) if len(words) > 1 else None
    if group is None:
        return found.note(
            node.where, f"there is no virtual_server_group {' '.join(words[1:])}; it is left out"
        )
    for line in group.inside:
        if line.name == "fwmark":
            _note_mark(line, line.words, found)
        else:
            yield from (
                (*place, line.where, name or words[1])
                for place in _place(line.where, line.words, protocol, found)
            )
    return None


def _note_mark(node: Node, words: list[str], found: Found) -> None:
    found.note(node.where, no_mark(" ".join(words[1:])))


def _place(where: str, words: list[str], protocol: str, found: Found) -> Iterator[tuple[Address, int]]:
    """Yield the addresses of one, or of a range, with the port."""
    port = port_in(words[1], protocol) if len(words) > 1 else 0
    addresses = list(islice(_addresses(words[0]), MOST_IN_A_RANGE + 1))
    if not addresses or port is None:
        return found.note(where, f"{' '.join(words)!r} is no address and port; it is left out")
    if len(addresses) > MOST_IN_A_RANGE:
        return found.note(where, f"{words[0]} has more than {MOST_IN_A_RANGE} addresses; it is left out")
    yield from ((one, port) for one in addresses)
    return None


def _addresses(text: str) -> Iterator[Address]:
    """Yield the addresses of ``A``, ``A-B``, ``A-LAST`` (its last part) or ``A/LENGTH``."""
    if "/" in text:
        try:
            yield from ip_network(text, strict=False)
        except ValueError:
            return
        return
    first_text, _, last_text = text.partition("-")
    first = address_in(first_text)
    if first is None:
        return
    mark = "." if first.version == 4 else ":"
    whole = last_text if mark in last_text else f"{first_text.rpartition(mark)[0]}{mark}{last_text}"
    last = first if not last_text else address_in(whole)
    if last is None or last.version != first.version:
        return
    yield from (type(first)(number) for number in range(int(first), int(last) + 1))


def _persist(node: Node, vip: Address, found: Found) -> str:
    timeout, mask = node.get("persistence_timeout"), node.get("persistence_granularity") or ""
    if timeout == "0" or (timeout is None and not mask):
        return ""
    told = persist_in(timeout or PERSIST_S, mask, vip)
    if told is None:
        found.note(
            node.where, f"persistence_timeout {timeout} with granularity {mask or 'none'} cannot be read"
        )
    return told or ""


# ------------------------------------------------------------------------- real servers


def _server(node: Node, service: Node, virtual: Virtual, found: Found) -> Server | None:
    address = address_in(node.words[1]) if len(node.words) > 1 else None
    port = port_in(node.words[2], virtual.protocol) if len(node.words) > 2 else 0
    if address is None or port is None:
        found.note(node.where, f"{' '.join(node.words)!r} has no address and port; it is left out")
        return None
    _note_keywords(node, SERVER_NOTES, _OF_SERVER, found)
    mode, tunnel = _method(node, service, found)
    weight = node.get("weight") or "1"
    if not weight.isdecimal() or len(weight) > 9:
        found.note(node.where, f"weight {weight!r} is no number; 1 is written")
        weight = "1"
    asked = port if mode == NAT and port else virtual.port
    return Server(address, port, node.where, int(weight), mode, tunnel, _check(node, service, asked, found))


def _method(node: Node, service: Node, found: Found) -> tuple[str, dict[str, Any]]:
    """Return the mode of a server, and the keys of its tunnel."""
    line = node.node("lvs_method", "lb_kind") or service.node("lvs_method", "lb_kind")
    words = line.words[1:] if line is not None else ["NAT"]
    mode = MODES.get(words[0].upper() if words else "")
    if mode is None:
        found.note(
            node.where, f"lvs_method {' '.join(words)} is not known; NAT, keepalived's default, is taken"
        )
        return NAT, {}
    options = words[1:]
    kind = options[options.index("type") + 1] if "type" in options[:-1] else "ipip"
    port = port_in(options[options.index("port") + 1]) if "port" in options[:-1] else None
    tunnel, difference = tunnel_of(kind, port)
    if difference:
        found.note(node.where, difference)
    return mode, tunnel if mode == TUNNEL else {}


def _check(node: Node, service: Node, port: int, found: Found) -> Check | None:
    """Return the check of a server: the first of its checkers that has an equivalent."""
    checks = [(one, check_of(one, node, service, port, found)) for one in node.all(*CHECKERS)]
    there = [(one, check) for one, check in checks if check is not None]
    for other, _ in there[1:]:
        found.note(other.where, f"a server has one check; this {other.name} is left out")
    return there[0][1] if there else None


def _note_keywords(node: Node, notes: dict[str, str], known: set[str], found: Found) -> None:
    for line in node.inside:
        if line.name not in known:
            found.note(line.where, f"{line.name} is not known, and left out")
        if line.name in notes and not (line.name == "quorum" and line.words[1:] == ["1"]):
            found.note(line.where, notes[line.name])
