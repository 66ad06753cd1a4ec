"""``dsrlb lab``: a network to try dsrlb in, on this machine alone."""

from __future__ import annotations

import shlex
import signal
import sys
from pathlib import Path

import click

from dsrlb.lab.balancer import serve_flags
from dsrlb.lab.demo import demo as run_demo
from dsrlb.lab.lifecycle import down as take_down
from dsrlb.lab.lifecycle import up as put_up
from dsrlb.lab.topology import CLIENT, DEFAULT_PREFIX, SERVERS_MAX, VIP, Lab, require_root

PREFIX = click.option(
    "--prefix", default=DEFAULT_PREFIX, show_default=True, help="What the namespaces' names begin with."
)
SERVERS = click.option(
    "--servers",
    default=3,
    show_default=True,
    type=click.IntRange(1, SERVERS_MAX),
    help="How many real servers.",
)


@click.group()
def lab() -> None:
    """Client, router, switch, balancer and real servers in network namespaces."""


@lab.command()
@PREFIX
@SERVERS
@click.option("--mtu", "mtu_bytes", default=1500, show_default=True, type=click.IntRange(1280, 9000))
def up(prefix: str, servers: int, mtu_bytes: int) -> None:
    """Build the lab, leave it standing, and print lines to paste."""
    require_root()
    wanted = Lab(prefix=prefix, servers=servers, mtu_bytes=mtu_bytes, client_mtu_bytes=mtu_bytes)
    put_up(wanted)
    for line in (*picture(wanted), "", *lines_to_paste(wanted)):
        click.echo(line)


@lab.command()
@PREFIX
@SERVERS
def demo(prefix: str, servers: int) -> None:
    """Build the lab, balance 300 real requests, print what happened, and clean up."""
    require_root()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that it cleans up then, too
    run_demo(Lab(prefix=prefix, servers=servers), click.echo)


@lab.command()
@PREFIX
def down(prefix: str) -> None:
    """Remove every trace of the lab, whatever state it is in."""
    take_down(prefix)


def picture(lab: Lab) -> list[str]:
    """Return the lab's network, drawn."""
    nodes = ("lb", *lab.server_names)
    width = max(len(lab.namespace(node)) for node in nodes)
    lines = [
        f"{lab.namespace('client')} {CLIENT} ── {lab.namespace('router')} 198.18.0.1 | 198.18.1.1 ── switch"
    ]
    indent = " " * (len(lines[0]) - 1)
    for node in nodes:
        role = "the balancer goes here" if node == "lb" else f"holds the VIP {VIP} on lo"
        corner = "└" if node == nodes[-1] else "├"
        lines.append(f"{indent}{corner}─ {lab.namespace(node):{width}} {lab.address(node)}  {role}")
    return lines


def lines_to_paste(lab: Lab) -> list[str]:
    """Return what to do next, as commands for a shell."""
    client, balancer = (f"sudo ip netns exec {lab.namespace(role)}" for role in ("client", "lb"))
    me = this_command()
    serve = [
        f"{balancer} {me} serve {shlex.join(serve_flags(lab, '--scheduler', 'rr', version=vip.version))}"
        for vip in lab.vips
    ]
    hosts = [f"[{vip}]" if vip.version == 6 else str(vip) for vip in lab.vips]
    return [
        "# the balancer, by IPv4 or by IPv6 (Ctrl-C stops it and prints its counters)",
        *serve,
        "# a client, in another terminal",
        *(f"{client} curl {shlex.quote(f'http://{host}/')}" for host in hosts),
        f"{client} curl -o /dev/null http://{hosts[0]}/file/20m",
        "# what crosses the balancer: requests and acknowledgements only",
        f"{balancer} tcpdump -nei e0 host {lab.vips[0]}",
        "# remove it all",
        f"sudo {me} lab down" + ("" if lab.prefix == DEFAULT_PREFIX else f" --prefix {lab.prefix}"),
    ]


def this_command() -> str:
    """Return how this very dsrlb is called: sudo has a PATH of its own, so the whole path."""
    called = Path(sys.argv[0]).absolute()
    return str(called) if called.name == "dsrlb" else f"{sys.executable} -m dsrlb"
