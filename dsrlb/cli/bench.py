"""``dsrlb bench``: what a packet costs in the XDP program on this host."""

from __future__ import annotations

import sys

import click

from dsrlb.bench.xdp import contest, report
from dsrlb.bench.xdp.run import rows
from dsrlb.bench.xdp.scenarios import ALL, BY_NAME, MANY, ONE, SCENARIOS, SOME
from dsrlb.engines.xdp.sizes import DEFAULT_MAX_FLOWS
from dsrlb.errors import UsageError
from dsrlb.host.privileges import require_bpf


def _flows(_: click.Context, __: click.Parameter, text: str) -> tuple[int, ...]:
    """Return numbers of flows, from a list with commas."""
    try:
        counts = tuple(dict.fromkeys(int(word) for word in text.split(",")))
    except ValueError:
        counts = (0,)
    if any(not 0 < count <= ALL or count & (count - 1) for count in counts):
        raise UsageError(f"--flows {text}: give powers of two up to {ALL}, as in {ONE},{MANY}")
    return counts


@click.command()
@click.option(
    "--flows",
    default=f"{ONE},{MANY},{SOME},{ALL}",
    show_default=True,
    callback=_flows,
    metavar="N,...",
    help="With how many flows, in random order; not every scenario is for many.",
)
@click.option(
    "--scenario",
    "names",
    multiple=True,
    type=click.Choice(list(BY_NAME)),
    metavar="NAME",
    help="Only this one (again for more).  --list tells their names.",
)
@click.option(
    "--max-flows",
    default=DEFAULT_MAX_FLOWS,
    show_default=True,
    type=click.IntRange(SOME, DEFAULT_MAX_FLOWS),
    metavar="N",
    help="How many flows the table is made for.",
)
@click.option("--tables", is_flag=True, help="Instead: the flow table against the kernel's LRU hash.")
@click.option(
    "--traced", is_flag=True, help="While somebody traces other packets (dsrlb trace); without bars."
)
@click.option("--repetitions", default=7, show_default=True, type=click.IntRange(1, 100))
@click.option("--json", "in_json", is_flag=True, help="Print the figures as JSON.")
@click.option(
    "--check", is_flag=True, help="Exit code 1 when a bar is missed or a row is not what it is called."
)
@click.option("--list", "only_list", is_flag=True, help="Print the scenarios and do nothing.")
def bench(
    flows: tuple[int, ...],
    names: tuple[str, ...],
    max_flows: int,
    tables: bool,
    traced: bool,
    repetitions: int,
    in_json: bool,
    check: bool,
    only_list: bool,
) -> None:
    """Nanoseconds a packet in the XDP program on this host, measured inside the kernel; needs root.

    floor: a loop that writes the next flow's frame and swaps two MAC addresses.  total: the same loop around
    the program, with 100 backends and all counters.  net: the difference.  All are medians.  Nothing is sent,
    no interface is touched.
    """
    chosen = [BY_NAME[name] for name in dict.fromkeys(names)] or list(SCENARIOS)
    if only_list:
        for one in chosen:
            click.echo(f"{one.name:<22} {one.says}")
        return
    require_bpf("the benchmark loads BPF programs and")
    measured = []
    if not in_json:
        click.echo(report.HEAD)
    wanted = (chosen, flows, repetitions, max_flows)
    timed = contest.rows(flows, repetitions, max_flows) if tables else rows(*wanted, is_traced=traced)
    for row in timed:
        measured.append(row)
        if not in_json:
            click.echo(report.line(row))
    if in_json:
        click.echo(report.as_json(measured))
    else:
        click.echo("\n".join(("", *report.summary(measured))).rstrip())
    sys.exit(1 if check and not all(row.is_met for row in measured) else 0)
