"""Plans, and configurations that are kept, as lines for a person."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

Row = dict[str, Any]

_MARKS = {"added": "+", "removed": "-", "changed": "~", "same": "="}
_HAPROXY = {
    "starts": "HAProxy is started",
    "ends": "HAProxy is ended, and the connections that it has",
    "reload": "HAProxy is reloaded: connections under way stay with the process that has them",
    "runtime": "HAProxy is told while it runs, without a reload",
}
MOST_BACKENDS = 12  # of a service that are told of one by one, where nothing else changes of them


def plan_lines(plan: Row) -> Iterator[str]:
    """Yield a plan."""
    yield f"{plan['file']}, compared with {plan['running_file'] or 'what dsrlb was told by options'}:"
    if plan["interfaces"] is not None:
        yield f"~ interfaces: {', '.join(plan['interfaces']) or 'of the default route'}"
    for service in plan["services"]:
        yield from _service(service)
        yield from (f"    {line}" for line in (_flows(service) if plan["is_running"] else ()))
    if plan["haproxy"]:
        yield f"~ {_HAPROXY[plan['haproxy']]}"
    if plan["unresolved"]:
        yield f"! not reached now, and without traffic until they are: {', '.join(plan['unresolved'])}"
    yield from (f"! {sentence}" for sentence in plan["warnings"])
    yield _summary(plan)


def _summary(plan: Row) -> str:
    counted = dict.fromkeys(("added", "removed", "changed"), 0)
    for service in plan["services"]:
        if service["change"] in counted:
            counted[service["change"]] += 1
    said = ", ".join(f"{number} {word}" for word, number in counted.items() if number)
    verdict = "it would be refused:" if plan["refused"] else "nothing is changed yet"
    return f"services: {said or 'none changed'}, {plan['unchanged']} as they were; {verdict}"


def applied_lines(moved: list[Row]) -> Iterator[str]:
    """Yield what has moved."""
    for row in moved:
        if row["slots_moved"] is None:
            yield f"{row['service']}: its slots are others now"
        else:
            yield f"{row['service']}: {row['slots_moved']} of {row['slots']} slots have moved"
    yield "applied"


def kept_lines(kept: Row) -> Iterator[str]:
    """Yield which configurations are kept."""
    yield f"{'number':>6}  {'in force since':19}  note"
    for row in kept["kept"]:
        since = f"{datetime.fromtimestamp(row['kept_at']):%Y-%m-%d %H:%M:%S}"
        note = "in force" if row["is_in_force"] else "gone back from" if row["is_undone"] else ""
        yield f"{row['number']:>6}  {since}  {note}".rstrip()


# ------------------------------------------------------------------------- one service


def _service(row: Row) -> Iterator[str]:
    name = f" ({row['service_name']})" if row["service_name"] else ""
    yield f"{_MARKS[row['change']]} {row['service']}{name}: {row['mode']}, {row['scheduler']}"
    yield from (f"    {words}" for words in row["what"])
    yield from (f"    {line}" for line in _backends(row["backends"]))
    yield from (f"    {line}" for line in (*_slots(row), *_balance(row), *_sizes(row)))
    if row["server_set_up"]:
        yield "    servers are to be set up for that first: dsrlb backend setup"


def _backends(rows: list[Row]) -> Iterator[str]:
    told = [row for row in rows if row["change"] != "same" or len(rows) <= MOST_BACKENDS]
    for row in told:
        name = f" ({row['name']})" if row["name"] else ""
        share = f"{row['share_before_percent']:.1f}% -> {row['share_percent']:.1f}% of new flows"
        what = "".join(f"; {words}" for words in (*_growing(row), *row["what"]))
        yield f"{_MARKS[row['change']]} {row['backend']}{name}: {share}{what}"
    if len(told) < len(rows):
        yield f"= {len(rows) - len(told)} others"


def _growing(row: Row) -> Iterator[str]:
    """Yield what a share comes to in the end, where servers start slowly, or answer slowly."""
    if abs(row["settled_percent"] - row["share_percent"]) > 0.1:
        yield f"{row['settled_percent']:.1f}% by its weight"


def _slots(row: Row) -> Iterator[str]:
    if row["moved_percent"] is None or not row["moved_percent"]:
        return
    slots = "" if row["slots_moved"] is None else f"{row['slots_moved']} of {row['slots']} slots move: "
    yield f"{slots}{row['moved_percent']:.1f}% of new flows go to another server"


def _flows(row: Row) -> Iterator[str]:
    """Yield what becomes of flows under way."""
    if row["change"] == "added" or row["flows"] == 0:
        return
    percent, number = row["flows_moved_percent"], row["flows_moved"]
    how_many = {"on record": str(number), "at most": f"at most {number}"}.get(row["flows_are"])
    many = f"{percent:.1f}%" if how_many is None else f"{how_many} ({percent:.1f}%)"
    if row["change"] == "removed":
        yield f"flows under way: all end, {how_many or 'their number is not known'}"
    elif number or percent:
        yield f"flows under way: {many} move to other servers, and break; dsrlb drain lets them end first"
    else:
        yield "flows under way: all stay with their servers"


def _balance(row: Row) -> Iterator[str]:
    if row["imbalance_percent"]:
        yield f"imbalance of new flows: {row['imbalance_percent']:.3f}%"
    if row["busiest"] is not None and row["busiest"]["of_its_share_percent"] > 100:
        busiest = row["busiest"]
        yield (
            f"at first {busiest['backend']} has {busiest['of_its_share_percent']:.0f}% of its share "
            "of the flows under way"
        )


def _sizes(row: Row) -> Iterator[str]:
    before, then = row["fits_bytes_before"], row["fits_bytes"]
    if then is None or before == then or (before is None and then >= 1500):
        return
    was = "" if before is None else f", before {before}"
    mss = "" if row["mss"] is None else f"; servers are to announce an MSS of {row['mss']} at most"
    yield f"clients' packets of up to {then} bytes fit{was}{mss}"
