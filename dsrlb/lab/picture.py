"""A lab's network, drawn for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from dsrlb.lab.topologies.base import End
from dsrlb.lab.topology import Lab


def picture(lab: Lab) -> list[str]:
    """Return the network as a tree, from the client on; IPv4 only, for the IPv6 addresses look the same."""
    rows = [("", "client", ""), *_below(lab, "client", "")]
    named = [
        (f"{branch}{_name(lab, role)}", _addresses(lab, role, device), _note(lab, role))
        for branch, role, device in rows
    ]
    tree_width = max(len(tree) for tree, _, _ in named)
    address_width = max(len(where) for _, where, note in named if note)
    return [f"{tree:{tree_width}}  {where:{address_width}}  {note}".rstrip() for tree, where, note in named]


def _below(
    lab: Lab, role: str, indent: str, came_by: str = "", seen: set[str] | None = None
) -> Iterator[tuple[str, str, str]]:
    """Yield branch, role, and the interface towards the client, of every node behind this one.

    ``seen``: the nodes that are drawn, or have their place nearer to the client.
    """
    seen = {role} if seen is None else seen
    ways = [one for one in _ways(lab, role) if one[0].device != came_by and one[1].role not in seen]
    seen.update(far.role for _, far in ways)
    for near, far in ways:
        last = (near, far) == ways[-1]
        yield f"{indent}{'└─ ' if last else '├─ '}", far.role, far.device
        yield from _below(lab, far.role, indent + ("   " if last else "│  "), far.device, seen)


def _ways(lab: Lab, role: str) -> Iterator[tuple[End, End]]:
    for cable in lab.network.cables:
        for near, far in ((cable.one, cable.other), (cable.other, cable.one)):
            if near.role == role:
                yield near, far


def _name(lab: Lab, role: str) -> str:
    return role if role in lab.network.switches else lab.namespace(role)


def _addresses(lab: Lab, role: str, towards_client: str) -> str:
    ends = sorted(lab.network.ends(role), key=lambda end: end.device != towards_client)
    own = (next((str(one.ip) for one in end.addresses if one.version == 4), "") for end in ends)
    return " | ".join(address for address in own if address)


def _note(lab: Lab, role: str) -> str:
    if role in lab.balancer_names:
        return "the balancer goes here" if lab.balancers == 1 else "one of the balancers goes here"
    if role in lab.proxy_names:
        return f"a dsrlb of mode proxy, with the VIP {lab.vips[0]} on lo"
    return lab.topology.server_note.format(vip=lab.vips[0]) if role in lab.server_names else ""
