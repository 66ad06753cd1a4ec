"""``python -m dsrlb.bench``: the benchmarks by name."""

from __future__ import annotations

import signal
import sys

import click

from dsrlb.bench import health, packet
from dsrlb.errors import DsrlbError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def bench() -> None:
    """Measure dsrlb against plain baselines on this machine."""


@bench.command("packet")
@click.option("--rounds", type=click.IntRange(1, 50), default=5, show_default=True)
@click.option(
    "--window",
    "window_s",
    type=click.FloatRange(0.2, 30),
    default=1.5,
    show_default=True,
    help="Seconds measured per contender and round.",
)
@click.option("--json", "in_json", is_flag=True, help="Print every turn and the ratios as JSON.")
def packet_command(rounds: int, window_s: float, in_json: bool) -> None:
    """L2 DSR of 64-byte frames on one core: the packet engine, scapy, a bare raw-socket loop.

    Exit code 1 when a ratio misses its bar.
    """
    turns = packet.run(rounds, window_s)
    click.echo(packet.as_json(turns) if in_json else "\n".join(packet.report(turns)))
    sys.exit(0 if all(one.is_met for one in packet.ratios(turns)) else 1)


@bench.command("health")
@click.option("--servers", type=click.IntRange(1, 1000), default=500, show_default=True)
@click.option(
    "--window",
    "window_s",
    type=click.FloatRange(1, 60),
    default=8.0,
    show_default=True,
    help="Seconds measured of each kind of check.",
)
def health_command(servers: int, window_s: float) -> None:
    """What checking many servers each second costs: by the path of the traffic, and directly.

    Exit code 1 when the check tcp by the path takes more than a quarter of a core, or comes late.
    """
    turns = health.run(servers, window_s)
    click.echo("\n".join(health.report(turns)))
    sys.exit(0 if all(one.is_met for one in turns) else 1)


def main() -> None:
    """Run a benchmark; an error is one sentence on stderr and an exit code (see dsrlb.errors)."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clean up, as after Ctrl-C
    try:
        bench.main(prog_name="bench")
    except DsrlbError as error:
        click.echo(f"bench: {error}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
