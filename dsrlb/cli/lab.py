"""``dsrlb lab``: a network to try dsrlb in, on this machine alone."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click

from dsrlb.lab import xdp
from dsrlb.lab.balancer import own_places, serve_flags
from dsrlb.lab.commands import require_root
from dsrlb.lab.demo import demo as run_demo
from dsrlb.lab.lifecycle import down as take_down
from dsrlb.lab.lifecycle import up as put_up
from dsrlb.lab.picture import picture
from dsrlb.lab.proxies import admin
from dsrlb.lab.topologies import TOPOLOGIES
from dsrlb.lab.topology import BALANCERS_MAX, DEFAULT_PREFIX, PROXIES_MAX, SERVERS_MAX, Lab

Function = TypeVar("Function", bound=Callable[..., Any])
PREFIX = click.option(
    "--prefix", default=DEFAULT_PREFIX, show_default=True, help="What the namespaces' names begin with."
)
LAYOUT = (
    click.option(
        "--mode",
        default="l2dsr",
        show_default=True,
        type=click.Choice([one.mode for one in TOPOLOGIES]),
        help="The forwarding mode that the network is made for; two-tier: l2dsr, or l3dsr, before proxies.",
    ),
    click.option(
        "--servers",
        default=3,
        show_default=True,
        type=click.IntRange(1, SERVERS_MAX),
        help="How many real servers.",
    ),
    click.option(
        "--balancers",
        default=1,
        show_default=True,
        type=click.IntRange(1, BALANCERS_MAX),
        help="l3dsr: how many balancers; the router divides the flows among them.",
    ),
    click.option(
        "--proxies",
        default=3,
        show_default=True,
        type=click.IntRange(1, PROXIES_MAX),
        help="two-tier: how many proxies between balancer and servers.",
    ),
    click.option(
        "--one-armed", is_flag=True, help="inline: servers on the balancer's own segment, not behind it."
    ),
    click.option(
        "--snat",
        is_flag=True,
        help="inline, one-armed: the servers' gateway is the router, as if there were no balancer.",
    ),
    click.option(
        "--lb-forwards",
        is_flag=True,
        help="The balancer's own kernel is a router too: for what the servers send beside the service.",
    ),
    click.option(
        "--engine",
        default="packet",
        show_default=True,
        type=click.Choice(["packet", "xdp"]),
        help="Which engine the balancer is to have; xdp needs more of the links.",
    ),
    click.option("--mtu", "mtu_bytes", default=1500, show_default=True, type=click.IntRange(1280, 9000)),
)


def layout(function: Function) -> Function:
    """Add what says how the lab looks to a command."""
    for option in (PREFIX, *LAYOUT)[::-1]:
        function = option(function)
    return function


def lab_of(mtu_bytes: int, engine: str, **shape: Any) -> Lab:
    """Return the lab that the options describe."""
    return Lab(mtu_bytes=mtu_bytes, client_mtu_bytes=mtu_bytes, xdp=engine == "xdp", **shape)


@click.group()
def lab() -> None:
    """Client, router, switch, balancer and real servers in network namespaces."""


@lab.command()
@layout
def up(**shape: Any) -> None:
    """Build the lab, leave it standing, and print lines to paste."""
    wanted = lab_of(**shape)
    require_root()
    put_up(wanted)
    for line in (*picture(wanted), "", *lines_to_paste(wanted)):
        click.echo(line)


@lab.command()
@layout
def demo(**shape: Any) -> None:
    """Build the lab, balance 300 real requests, print what happened, and clean up."""
    wanted = lab_of(**shape)
    require_root()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that it cleans up then, too
    run_demo(wanted, click.echo)


@lab.command()
@PREFIX
def down(prefix: str) -> None:
    """Remove every trace of the lab, whatever state it is in."""
    take_down(prefix)


def lines_to_paste(lab: Lab) -> list[str]:
    """Return what to do next, as commands for a shell."""
    client, me = f"sudo ip netns exec {lab.namespace('client')}", this_command()
    serve = [_serving(lab, role, vip.version) for vip in lab.vips for role in lab.balancer_names]
    hosts = [f"[{vip}]" if vip.version == 6 else str(vip) for vip in lab.vips]
    return [
        "# the balancer, by IPv4 or by IPv6 (Ctrl-C stops it and prints its counters)",
        *serve,
        "# a client, in another terminal",
        *(f"{client} curl {shlex.quote(f'http://{host}/')}" for host in hosts),
        f"{client} curl -o /dev/null http://{hosts[0]}/file/20m",
        "# what the balancer says of its servers",
        *(f"sudo {me} show backends {shlex.join(_admin(lab, role))}" for role in lab.balancer_names),
        *_of_proxies(lab, client, me),
        f"# what crosses the balancer: {lab.topology.crosses}",
        watching(lab),
        "# remove it all",
        f"sudo {me} lab down" + ("" if lab.prefix == DEFAULT_PREFIX else f" --prefix {lab.prefix}"),
    ]


def _of_proxies(lab: Lab, client: str, me: str) -> Iterator[str]:
    """Yield what there is to do with proxies, which are at work already."""
    if not lab.proxy_names:
        return
    yield "# https, which the proxies end"
    yield f"{client} curl --cacert {lab.run_directory}/proxy.pem.crt https://{lab.vips[0]}/"
    yield "# what a proxy says of its servers; take one out, and let it in again"
    yield f"sudo {me} show backends --admin {admin(lab, lab.proxy_names[0])}"
    for verb in ("drain", "undrain"):
        yield f"sudo {me} {verb} {lab.proxy_names[0]} {shlex.join(_admin(lab, 'lb'))}"


def _serving(lab: Lab, role: str, version: int) -> str:
    """Return the line that starts a balancer; several must pick alike, so they go by hash."""
    more = ["--scheduler", "rr" if lab.balancers == 1 else "maglev", *own_places(_socket(lab, role))]
    if lab.proxy_names:  # one of them may be killed
        more += ["--check", "tcp"]
    if lab.xdp:
        more += xdp.flags(lab, *(["--instance", role] if lab.balancers > 1 else []))
    words = shlex.join(serve_flags(lab, *more, version=version))
    return f"sudo ip netns exec {lab.namespace(role)} {this_command()} serve {words}"


def _admin(lab: Lab, role: str) -> list[str]:
    return ["--admin", str(_socket(lab, role))]


def _socket(lab: Lab, role: str) -> Path:
    return lab.run_directory / ("admin.sock" if role == "lb" else f"admin-{role}.sock")


def watching(lab: Lab) -> str:
    """Return the line that shows what crosses the balancer; it does not see itself what XDP takes."""
    role, words = "lb", lab.topology.watch.format(vip=lab.vips[0])
    if lab.xdp:
        there = lab.network.peers("lb")[0]
        role, words = there.role, f"{there.device} {words.partition(' ')[2]}"
    return f"sudo ip netns exec {lab.namespace(role)} tcpdump -nei {words}"


def this_command() -> str:
    """Return how this very dsrlb is called: sudo has a PATH of its own, so the whole path."""
    called = Path(sys.argv[0]).absolute()
    return str(called) if called.name == "dsrlb" else f"{sys.executable} -m dsrlb"
