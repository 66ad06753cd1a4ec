"""What would become of a packet, for a person."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
from rich.table import Table

from dsrlb.cli import tables
from dsrlb.cli.dissection import Line, side_by_side
from dsrlb.model import person_end

Row = dict[str, Any]


def dissected(row: Row) -> list[Line]:
    """Return the two frames side by side."""
    service = row["service"] or {}
    wrapped = service.get("encap") or ""
    encap = wrapped if wrapped.startswith("gue") else ""
    leaves = bytes.fromhex(row["out"]["frame"]) if row["out"] is not None else None
    return side_by_side(bytes.fromhex(row["frame"]), leaves, encap, service.get("encap_port", 0))


def show(row: Row) -> None:
    """Print it."""
    for name, said in _about(row):
        click.echo(f"{name:<9} {said}")
    if row["backends"]:
        click.echo()
        tables.show(_backends(row))
    click.echo()
    tables.show(_frames(row))
    for note in row["notes"]:
        click.echo(note, err=True)


def _about(row: Row) -> Iterator[tuple[str, str]]:
    yield "packet", _packet(row)
    if row["service"] is not None:
        yield "service", _service(row["service"])
    yield from _record(row)
    if row["backend"] is not None:
        yield "backend", row["backend"] + (f" ({row['name']})" if row["name"] else "")
    for place, said in enumerate(row["because"]):
        yield "" if place else "because", said
    if row["hop"] is not None:
        yield "next hop", _hop(row["hop"])
    yield "verdict", _verdict(row)
    for one in row["also"]:
        if one is not None:
            size = len(one["frame"]) // 2
            yield "", f"and a piece of {size} bytes leaves by {one['interface']}: {one['reason']}"


def _packet(row: Row) -> str:
    size, flow = len(row["frame"]) // 2, row["flow"]
    said = f"{row['kind']}, a frame of {size} bytes, in by {row['interface']}"
    if flow is None:
        return said
    protocol = {6: "tcp", 17: "udp"}.get(flow["protocol"], str(flow["protocol"]))
    client, vip = person_end(flow["client"], flow["sport"]), person_end(flow["vip"], flow["dport"])
    return f"{client} -> {vip}/{protocol}: {said}"


def _service(service: Row) -> str:
    name = f" ({service['name']})" if service["name"] else ""
    changing = ", slots change hands" if service["changing_hands"] else ""
    return f"{service['service']}{name}: {service['mode']}, {service['scheduler']}{changing}"


def _record(row: Row) -> Iterator[tuple[str, str]]:
    before, after = row["record"]["before"], row["record"]["after"]
    if row["flow"] is None:
        return
    said = "none" if before is None else f"{before['backend']}, {before['state']}"
    if before is not None:
        said += (
            f", over for {-before['left_s']} s" if before["left_s"] < 0 else f", {before['left_s']} s left"
        )
    then = "none" if after is None else f"{after['backend']}, {after['state']}, {after['left_s']} s left"
    yield "record", f"{said}; then {then}"


def _hop(hop: Row) -> str:
    mtu = (
        ""
        if hop["mtu_bytes"] is None
        else f", MTU {hop['mtu_bytes']}: packets of {hop['fits_bytes']} bytes fit"
    )
    return f"by {hop['interface']} from {hop['src_mac']} to {hop['dst_mac']}{mtu}"


def _verdict(row: Row) -> str:
    said = f"{row['verdict']}, counted as {row['reason']}"
    if row["out"] is None:
        return said
    return f"{said}: {len(row['out']['frame']) // 2} bytes leave by {row['out']['interface']}"


def _backends(row: Row) -> Table:
    columns = tables.left("", "backend", "name", "standing") + tables.right("weight", "share", "slots")
    columns += tables.right("active", "inactive") + tables.left("note")
    return tables.table(columns, map(_backend, row["backends"]))


def _backend(one: Row) -> list[tables.Cell]:
    return [
        "->" if one["chosen"] else "",
        one["backend"],
        one["name"],
        " ".join(one["standing"]),
        one["weight"],
        f"{one['share_percent']} %",
        one["slots"],
        one["active"],
        one["inactive"],
        one["why"],
    ]


def _frames(row: Row) -> Table:
    """Return both frames side by side; what differs is marked, a layer is named once."""
    lines = [Line(**line) for line in row["dissected"]]
    columns = tables.left("layer", "field", "comes", "", "leaves")
    has_out = row["out"] is not None
    before = ["", *(line.layer for line in lines)]
    return tables.table(
        columns, (_line(line, last, has_out) for line, last in zip(lines, before, strict=False))
    )


def _line(line: Line, last: str, has_out: bool) -> list[tables.Cell]:
    mark = "*" if has_out and line.came != line.leaves else ""
    return ["" if line.layer == last else line.layer, line.field, line.came, mark, line.leaves]
