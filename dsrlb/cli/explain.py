"""``dsrlb explain``: what would become of a packet, and why."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import click

from dsrlb.admin.explaining import question_of
from dsrlb.cli import explained
from dsrlb.cli.asking import Ask, asking
from dsrlb.cli.offline import explain_frame, explain_question
from dsrlb.config import read_config
from dsrlb.errors import UsageError
from dsrlb.frameio.pcap import read_pcap
from dsrlb.model import Reason

Row = dict[str, Any]

CUT_SHORT = (
    "the capture has {} bytes of this frame; if it is the capture that is cut short (tcpdump -s), "
    "the answer is not about the packet that was on the wire: capture whole frames"
)


@click.command()
@asking
@click.option(
    "--config",
    "file",
    metavar="FILE",
    help="Ask no dsrlb: tell what one would do that has just been started with this file.",
)
@click.option("--pcap", metavar="FILE", help="Take the packet from a capture, in place of CLIENT and PLACE.")
@click.option(
    "--frame", type=click.IntRange(1), default=1, show_default=True, help="Which one of the capture."
)
@click.option(
    "--to-us", is_flag=True, help="Take the frame of a capture as if it were sent to the balancer's MAC."
)
@click.option("--flags", metavar="LETTERS", help="TCP flags of the packet: S, A, PA, FA, R.  [default: S]")
@click.option("--payload", type=int, metavar="BYTES", help="How much the packet carries.  [default: 0]")
@click.option("--interface", metavar="NAME", help="Where it comes in.  [default: where the client is]")
@click.argument("client", metavar="[CLIENT:PORT]", required=False)
@click.argument("place", metavar="[VIP:PORT[/tcp|/udp]]", required=False)
def explain(
    ask: Ask,
    is_json: bool,
    file: str | None,
    pcap: str | None,
    frame: int,
    **words: Any,
) -> None:
    """Tell what would become of a packet of CLIENT to a VIP: service, slot, record, backend and why.

    A running dsrlb is asked, and goes by what it remembers now; nothing is sent, and nothing changes.
    """
    _check(pcap, file, words)
    captured = _captured(pcap, frame) if pcap is not None else None
    row = _asked(ask, captured, words) if file is None else _offline(file, captured, words)
    if captured is not None and row["reason"] == Reason.TRUNCATED.word:
        row["notes"].append(CUT_SHORT.format(len(captured)))
    row["dissected"] = [line._asdict() for line in explained.dissected(row)]
    if is_json:
        return click.echo(json.dumps(row, indent=2))
    explained.show(row)


def _check(pcap: str | None, file: str | None, words: Row) -> None:
    """Raise UsageError for what does not go together."""
    named = [f"--{name}" for name in ("flags", "payload") if words[name] is not None]
    if pcap is None and (words["client"] is None or words["place"] is None):
        raise UsageError("name a CLIENT:PORT and a VIP:PORT, or a capture (--pcap FILE)")
    if pcap is None and words["to_us"]:
        raise UsageError("--to-us is about a captured frame (--pcap FILE)")
    if pcap is not None and (words["client"] is not None or named):
        raise UsageError(
            f"--pcap and {', '.join(named) or 'a CLIENT'} together: the captured packet is all there is"
        )
    if file is not None and words["interface"] is not None:
        raise UsageError("--config and --interface together: without a running dsrlb there is none")


def _captured(path: str, number: int) -> bytes:
    """Return a frame of a capture.  Raises ConfigError, UsageError."""
    count = 0
    for count, (_, frame) in enumerate(read_pcap(path), 1):
        if count == number:
            return frame
    counted = "1 frame" if count == 1 else f"{count} frames"
    raise UsageError(f"{path} has {counted}, and no frame {number}")


def _asked(ask: Ask, captured: bytes | None, words: Row) -> Row:
    if captured is not None:
        said = {"frame": b64encode(captured).decode(), "to_us": words["to_us"]}
    else:
        said = {
            "client": words["client"],
            "to": words["place"],
            "flags": words["flags"],
            "payload": words["payload"],
        }
    row: Row = ask(do="explain", interface=words["interface"], **said)
    return row


def _offline(file: str, captured: bytes | None, words: Row) -> Row:
    config = read_config(file)
    if captured is not None:
        return explain_frame(config, captured)
    return explain_question(config, question_of({**words, "to": words["place"]}))
