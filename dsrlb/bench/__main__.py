"""``python -m dsrlb.bench``: the benchmarks by name."""

from __future__ import annotations

import signal
import sys
import time

import click

from dsrlb.bench import health, packet, proxy
from dsrlb.bench.churn import run as churn
from dsrlb.bench.churn.events import EVENTS
from dsrlb.bench.churn.run import DEFAULT_SCHEDULERS, ENGINES, MODES, SCHEDULERS
from dsrlb.bench.churn.stand import PREFIX
from dsrlb.errors import DsrlbError, UsageError


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


@bench.command("proxy")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(proxy.KINDS), help="[default: all]")
@click.option("--rounds", type=click.IntRange(1, 50), default=9, show_default=True)
@click.option(
    "--window",
    "window_s",
    type=click.IntRange(1, 30),
    default=1,
    show_default=True,
    help="Seconds measured per round.",
)
def proxy_command(kinds: tuple[str, ...], rounds: int, window_s: int) -> None:
    """Requests through HAProxy as dsrlb configures it, and by a hand-written haproxy.cfg, at once.

    Exit code 1 when dsrlb's is slower by more than 3 %.
    """
    are_met = []
    for kind in kinds or proxy.KINDS:
        turns = proxy.run(kind, rounds, window_s)
        click.echo("\n".join(proxy.report(kind, turns)))
        are_met.append(proxy.is_met(turns))
    sys.exit(0 if all(are_met) else 1)


def _events(_: click.Context, __: click.Parameter, text: str) -> tuple[str, ...]:
    """Return names of events, from a list with commas."""
    names = tuple(dict.fromkeys(text.split(",")))
    if wrong := [one for one in names if one not in EVENTS]:
        raise UsageError(f"--events: there is no {wrong[0]!r}; choose from {','.join(EVENTS)}")
    return names


@bench.command("churn")
@click.option("--engine", "engines", multiple=True, type=click.Choice(ENGINES), help="[default: all]")
@click.option("--mode", "modes", multiple=True, type=click.Choice(MODES), help="[default: all]")
@click.option(
    "--scheduler",
    "schedulers",
    multiple=True,
    type=click.Choice(SCHEDULERS),
    help=f"[default: {', '.join(DEFAULT_SCHEDULERS)}]",
)
@click.option(
    "--held",
    type=click.IntRange(8, 10_000),
    default=2000,
    show_default=True,
    help="So many connections are held, with a heartbeat on each.",
)
@click.option(
    "--events",
    default=",".join(EVENTS),
    show_default=True,
    callback=_events,
    metavar="NAME,...",
    help="What happens, in this order; lose and regain are for two balancers, in mode l3dsr.",
)
@click.option("--prefix", default=PREFIX, show_default=True, help="What the namespaces' names begin with.")
@click.option("--json", "in_json", is_flag=True, help="Print all outcomes as JSON.")
@click.option("--list", "only_list", is_flag=True, help="Print what the events are, and do nothing.")
def churn_command(
    engines: tuple[str, ...],
    modes: tuple[str, ...],
    schedulers: tuple[str, ...],
    held: int,
    events: tuple[str, ...],
    prefix: str,
    in_json: bool,
    only_list: bool,
) -> None:
    """How many held connections break while servers and balancers come and go.

    Exit code 1 when one breaks of which it is promised that none does.
    """
    if only_list:
        return click.echo("\n".join(f"{name:<8} {one.says}" for name, one in EVENTS.items()))
    began_s = time.monotonic()
    cases = churn.cases(engines or ENGINES, modes or MODES, schedulers or DEFAULT_SCHEDULERS, events)
    done = []
    if not in_json:
        click.echo(churn.head(events))
    for row in churn.rows(cases, held, events, prefix):
        done.append(row)
        if not in_json:
            click.echo(churn.line(row, events))
    click.echo(churn.as_json(done, began_s) if in_json else "\n".join(churn.summary(done, events, began_s)))
    sys.exit(0 if all(row.is_kept for row in done) else 1)


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
