"""``dsrlb trace``: what a running dsrlb decides, frame by frame."""

from __future__ import annotations

import json
import signal
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import click

from dsrlb.cli import logs
from dsrlb.cli.asking import Ask, asking
from dsrlb.errors import DsrlbError
from dsrlb.frameio.pcapng import Capture, capture
from dsrlb.model import Reason

Row = dict[str, Any]
ASK_EVERY_S = 0.1
_REASON_WIDTH = max(len(one.word) for one in Reason)
_TO_BACKENDS = frozenset(("forwarded", "fragment_forwarded", "icmp_steered"))


@click.command()
@asking
@click.option("--client", metavar="ADDR|NETWORK", help="Only frames from these clients, or to them.")
@click.option("--service", metavar="SERVICE", help="Only of this one: its name, or VIP:PORT[/tcp|/udp].")
@click.option("--backend", metavar="BACKEND", help="Only of this one: its name, or ADDR[:PORT].")
@click.option(
    "--reason",
    "reasons",
    multiple=True,
    metavar="REASON",
    help="Only with this reason, a word of docs/REASONS.md (again for more).  [default: all but those of the "
    "host's own frames: not_vip, not_ip, not_for_us, arp_other, nd_other]",
)
@click.option("--every", type=click.IntRange(1), metavar="N", help="Only one in N of these, on each CPU.")
@click.option("--count", type=click.IntRange(1), metavar="N", help="Stop after so many.  [default: Ctrl-C]")
@click.option(
    "--pcap",
    metavar="FILE",
    help="Write the frames as well, as they came and as they were sent, to a pcapng file; -: to standard "
    "output, and nothing else there.",
)
def trace(
    ask: Ask, is_json: bool, reasons: tuple[str, ...], count: int | None, pcap: str | None, **words: Any
) -> None:
    """Print a line for each frame on which dsrlb decides: when, whose, what becomes of it, and why.

    Forwarding does not wait for what is printed: of what is too much, the number is told.
    """
    with _ended_by_signals(), capture(pcap) as file:
        asked = {**words, "reason": ",".join(reasons) or None, "frames": pcap is not None or None}
        number = ask(do="trace", step="begin", **asked)["trace"]
        logs.tell("frames are told from now on; Ctrl-C ends it")
        told = _Told(is_json=is_json, count=count, file=file, is_silent=pcap == "-")
        try:
            with suppress(KeyboardInterrupt):
                for answer in _answers(ask, number):
                    if not told.tell(answer):
                        break
        finally:
            last = _end(ask, number)
        if last is not None:
            told.tell(last)
        told.sum_up()


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM end the trace as Ctrl-C does, so that dsrlb is told."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _answers(ask: Ask, number: int) -> Iterator[Row]:
    while True:
        answer = ask(do="trace", step="more", trace=number)
        yield answer
        if not answer["decisions"]:
            time.sleep(ASK_EVERY_S)


def _end(ask: Ask, number: int) -> Row | None:
    """Let dsrlb end the trace; return the last that was heard, if it is still there to ask."""
    with suppress(DsrlbError):
        answer: Row = ask(do="trace", step="end", trace=number)
        return answer
    return None


class _Told:
    """What has been told so far."""

    def __init__(self, *, is_json: bool, count: int | None, file: Capture | None, is_silent: bool) -> None:
        self._is_json, self._left, self._file, self._is_silent = is_json, count, file, is_silent
        self._decisions = self._lost = 0

    def tell(self, answer: Row) -> bool:
        """Tell what has been heard; return whether more is wanted."""
        rows = answer["decisions"] if self._left is None else answer["decisions"][: self._left]
        for row in rows:
            if self._file is not None:
                keep(self._file, row)
            if not self._is_silent:
                click.echo(json.dumps(_without_frames(row)) if self._is_json else line(row))
        if self._file is not None:
            self._file.flush()
        self._decisions += len(rows)
        if self._left is not None:
            self._left -= len(rows)
        if answer["lost"] > self._lost:
            logs.tell(
                f"{answer['lost'] - self._lost} more were not told: they came faster than they are read"
            )
            self._lost = answer["lost"]
        return self._left is None or self._left > 0

    def sum_up(self) -> None:
        """Tell how many there were."""
        logs.tell(f"{self._decisions} decisions told, {self._lost} not")


def line(row: Row) -> str:
    """Return a decision as a person reads it."""
    clock = row["time"][11:26]
    flow = " ".join(filter(None, (*_ends(row), row["kind"], row["says"])))
    said = "; ".join(filter(None, (flow, _whose(row), _ways(row))))
    return f"{clock}  {row['verdict']:<4}  {row['reason']:<{_REASON_WIDTH}}  {said}"


def _ends(row: Row) -> tuple[str, ...]:
    return (row["from"], ">", row["to"]) if row["from"] else ()


def _whose(row: Row) -> str:
    """Return whose it is: the backend that gets it or has sent it, else the service."""
    if not row["backend"]:
        named = f" ({row['service_name']})" if row["service_name"] else ""
        return f"service {row['service']}{named}" if row["service"] else ""
    named = f" ({row['name']})" if row["name"] else ""
    return f"{'to' if row['reason'] in _TO_BACKENDS else 'of'} {row['backend']}{named}"


def _ways(row: Row) -> str:
    """Return by which interfaces it came and left, and which data path beside the program decided."""
    outs = dict.fromkeys(one["interface"] for one in row["sent"])
    pieces = f" in {len(row['sent'])} pieces" if len(row["sent"]) > 1 else ""
    ways = " ".join(filter(None, (row["interface"], *(f"> {one}" for one in outs))))
    return f"{ways}{pieces}{', by the companion' if row['by'] == 'companion' else ''}"


def _without_frames(row: Row) -> Row:
    sent = [{name: value for name, value in one.items() if name != "frame"} for one in row["sent"]]
    return {**{name: value for name, value in row.items() if name != "frame"}, "sent": sent}


def keep(file: Capture, row: Row) -> None:
    """Write the frames of a decision: as it came, and as what it was sent."""
    comment = f"dsrlb: {line(row)[17:]}"
    if row["frame"]:
        frame = b64decode(row["frame"])
        file.frame(row["interface"], row["at_ns"], frame, row["bytes"], comment, is_sent=False)
    for one in row["sent"]:
        frame = b64decode(one["frame"])
        file.frame(one["interface"], row["at_ns"], frame, one["bytes"], f"{comment} (as sent)", is_sent=True)
