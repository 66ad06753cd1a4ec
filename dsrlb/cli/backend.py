"""``dsrlb backend``: make a machine a real server, check that it is one, take it all back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import click

from dsrlb.cli.backend_words import address_of, advmss_of, network_of, port_of, vip_of
from dsrlb.errors import ConfigError, HostError, UsageError
from dsrlb.host import decap as decapsulator
from dsrlb.host import steps
from dsrlb.host.machine import Machine, this_machine
from dsrlb.host.server_options import is_own_link, kernel_can, outer_versions, tunnel_device
from dsrlb.host.step_checks import problems
from dsrlb.host.steps_state import Setup, setups
from dsrlb.model import Address, ServerOptions
from dsrlb.modes import BY_NAME

Chosen = dict[str, Any]  # what was said on the command line; what was not is left out
_HEEDS = {
    "l3dsr": frozenset(("decap", "device", "outer", "encap", "encap_port", "advmss", "networks")),
    "inline": frozenset(("gateway", "networks")),
    "l2dsr": frozenset(("device",)),
}
_FLAGS = {"networks": "--client-net", "encap_port": "--encap-port"}

_plan = click.option("--plan", is_flag=True, help="Print the steps as lines to paste; change nothing.")
_of_service = (
    click.option(
        "--mode", required=True, type=click.Choice(sorted(BY_NAME)), help="The service's forwarding mode."
    ),
    click.option(
        "--vip",
        "vips",
        metavar="ADDR",
        required=True,
        multiple=True,
        callback=vip_of,
        help="The service's address, without a port; may be repeated.",
    ),
)
_of_mode = (
    click.option(
        "--decap",
        type=click.Choice(("auto", "kernel", "bpf")),
        help="l3dsr: who unwraps; auto: the kernel if it has tunnel devices, else a BPF program.",
    ),
    click.option(
        "--device", metavar="IF", help="Where the balancer's packets come in; default: the default route's."
    ),
    click.option(
        "--outer",
        type=click.Choice(("4", "6")),
        help="l3dsr: IP version of this server's address at the balancer; default: both.",
    ),
    click.option(
        "--encap",
        type=click.Choice(("ipip", "gue", "gue1")),
        help="l3dsr: what the balancer sends; default: ipip.",
    ),
    click.option(
        "--encap-port", metavar="PORT", callback=port_of, help="l3dsr: UDP port of GUE; default: 6080."
    ),
    click.option(
        "--advmss",
        metavar="auto|N|off",
        callback=advmss_of,
        help="l3dsr: MSS to announce to clients; default: what fits into the tunnel.",
    ),
    click.option(
        "--gateway", metavar="ADDR", callback=address_of, help="inline: the balancer's address here."
    ),
    click.option(
        "--client-net",
        "networks",
        metavar="NET",
        multiple=True,
        callback=network_of,
        help="l3dsr, inline: where clients are; may be repeated; default: everywhere, by the default route.",
    ),
)


def _with(*options: tuple[Callable[..., Any], ...]) -> Callable[..., Any]:
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed([one for group in options for one in group]):
            function = option(function)
        return function

    return decorate


@click.group()
def backend() -> None:
    """Prepare this machine as a real server, check it, take it back."""


@backend.command()
@_with(_of_service, _of_mode, (_plan,))
def setup(mode: str, vips: tuple[Address, ...], plan: bool, **said: Any) -> None:
    """Do what the mode asks of a real server; what is there already is left alone."""
    machine, chosen = this_machine(), _chosen(mode, vips, said)
    wanted = _wanted(machine, mode, vips, ServerOptions(outer=outer_versions(machine)), chosen)
    if plan:
        _print(map(steps.command, steps.plan(wanted)))
        return
    _need_root()
    warnings = problems(machine, wanted, chosen.get("device"))
    _print(steps.apply(machine, wanted))
    _print(f"note     {line}" for line in steps.notes(machine, wanted, BY_NAME[mode].host_steps))
    _print(f"warning  {line}" for line in warnings)


@backend.command()
@_with(_of_service, _of_mode)
def verify(mode: str, vips: tuple[Address, ...], **said: Any) -> None:
    """Say for each step present or missing, with the line that mends it; exit 1 if any is missing.

    What is not said is taken from the setup of the same VIP, if it is on record.
    """
    machine, chosen = this_machine(), _chosen(mode, vips, said)
    known = {one.vip: one.options for one in setups(machine.state) if one.mode == mode}
    default = ServerOptions(outer=outer_versions(machine))
    wanted = [
        one
        for vip in vips
        for one in _wanted(machine, mode, (vip,), known.get(vip, default), chosen, vip in known)
    ]
    verdicts = steps.verify(machine, wanted)
    _print(line for _, line in verdicts)
    wrong = problems(machine, wanted, chosen.get("device"))
    _print(f"problem  {line}" for line in wrong)
    _print_counters(machine, wanted)
    if wrong or not all(present for present, _ in verdicts):
        raise SystemExit(1)


@backend.command()
@_with(_of_service, (_plan,))
def undo(mode: str, vips: tuple[Address, ...], plan: bool) -> None:
    """Restore what was there before setup, and nothing else."""
    machine = this_machine()
    if not plan:
        _need_root()
    _print(steps.unrecorded(machine, mode, vips))
    taken_back = steps.reversals(machine, mode, vips)
    if plan:
        lines = (steps.undo_command(machine, reversal) for reversal in taken_back)
        _print(line for line in lines if line is not None)
        return
    _print(steps.undo(machine, mode, vips, taken_back))


def _chosen(mode: str, vips: tuple[Address, ...], said: Chosen) -> Chosen:
    """Return what was said; raise ``UsageError`` for what the mode does not heed, or lacks."""
    chosen = {name: value for name, value in said.items() if value not in (None, ())}
    for name in chosen:
        if name not in _HEEDS[mode]:
            raise UsageError(f"{_FLAGS.get(name, '--' + name)} says nothing to mode {mode}; leave it out.")
    gateway = chosen.get("gateway")
    if gateway is not None and any(vip.version != gateway.version for vip in vips):
        raise UsageError(f"--gateway {gateway} is of another IP version than the VIP; set up each by itself.")
    if "outer" in chosen:
        chosen["outer"] = (int(chosen["outer"]),)
    return chosen


def _wanted(
    machine: Machine,
    mode: str,
    vips: tuple[Address, ...],
    default: ServerOptions,
    chosen: Chosen,
    on_record: bool = False,
) -> tuple[Setup, ...]:
    options = replace(default, **{name: value for name, value in chosen.items() if name != "decap"})
    if mode == "l3dsr":
        options = _with_decap(machine, vips, options, chosen, on_record)
    elif mode == "inline":
        options = _with_gateway(machine, options)
    else:
        options = ServerOptions()
    return steps.setups_for(machine, mode, vips, options, BY_NAME[mode].host_steps)


def _with_decap(
    machine: Machine, vips: tuple[Address, ...], options: ServerOptions, chosen: Chosen, on_record: bool
) -> ServerOptions:
    decap = chosen.get("decap", options.decap if on_record else "auto")
    if decap == "auto":
        may = options.encap == "ipip" and "device" not in chosen
        decap = "kernel" if may and kernel_can(machine, vips, options.outer) else "bpf"
    if decap == "kernel" and options.encap != "ipip":
        raise UsageError(
            f"--encap {options.encap} needs --decap bpf: the kernel's tunnel devices take out IP in IP."
        )
    if decap == "kernel" and "device" in chosen:
        raise UsageError("--device is for --decap bpf: the kernel takes tunnel packets from every device.")
    if decap == "kernel":
        return replace(options, decap="kernel", device=ServerOptions().device)
    known = options.device if on_record and options.decap == "bpf" else None
    return replace(options, decap="bpf", device=tunnel_device(machine, chosen.get("device", known)))


def _with_gateway(machine: Machine, options: ServerOptions) -> ServerOptions:
    if options.gateway is None:
        raise UsageError("Mode inline needs --gateway: the balancer's address on this server's link.")
    for network in options.networks:
        if is_own_link(machine, network):
            raise ConfigError(
                f"{network} is this server's own link: clients there need snat at the balancer."
            )
    return ServerOptions(gateway=options.gateway, networks=options.networks)


def _print_counters(machine: Machine, wanted: Iterable[Setup]) -> None:
    devices = {one.options.device for one in wanted if one.options.decap == "bpf"}
    for device in sorted(devices):
        counted = decapsulator.counters(device)
        for name, packets in counted.items():
            if packets:
                click.echo(f"counter  {device} {name} {packets}")


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)


def _need_root() -> None:
    if os.geteuid() != 0:
        raise HostError(
            "changing addresses and sysctls needs root: run it with sudo, or see the steps with --plan."
        )
