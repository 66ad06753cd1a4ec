"""``dsrlb backend``: make a machine a real server, check that it is one, take it all back."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import click

from dsrlb.cli import backend_far
from dsrlb.cli.backend_boot import boot_here
from dsrlb.cli.backend_options import BOOT, OF_MODE, OF_SERVICE, PLAN, Far, here_or_far
from dsrlb.errors import ConfigError, HostError, UsageError
from dsrlb.host import decap as decapsulator
from dsrlb.host import steps
from dsrlb.host.machine import Machine, this_machine
from dsrlb.host.server_options import is_own_link, kernel_can, outer_versions, tunnel_device
from dsrlb.host.step_checks import problems
from dsrlb.host.steps_lock import alone
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


@click.group()
def backend() -> None:
    """Prepare this machine as a real server, check it, take it back; with --config, those of a file."""


@backend.command()
@here_or_far(OF_SERVICE, OF_MODE, (PLAN, BOOT))
def setup(
    far: Far | None, mode: str, vips: tuple[Address, ...], plan: bool, boot: str | None, **said: Any
) -> None:
    """Do what the mode asks of a real server; what is there already is left alone."""
    if far is not None:
        backend_far.setup(far, _given(said), plan=plan, boot=boot)
        return
    machine, chosen = this_machine(), _chosen(mode, vips, said)
    wanted = _wanted(machine, mode, vips, ServerOptions(outer=outer_versions(machine)), chosen)
    lasting = boot_here("write", boot, mode, vips, chosen, plan=True) if boot is not None else []
    if plan:
        _print(map(steps.command, steps.plan(wanted)))
        _print(lasting)
        return
    _need_root()
    warnings = problems(machine, wanted, chosen.get("device"))
    with alone(machine.state, "setup"):
        _print(steps.apply(machine, wanted))
    if boot is not None:
        _print(boot_here("write", boot, mode, vips, chosen))
    _print(f"note     {line}" for line in steps.notes(machine, wanted, BY_NAME[mode].host_steps))
    _print(f"warning  {line}" for line in warnings)


@backend.command()
@here_or_far(OF_SERVICE, OF_MODE, (BOOT,))
def verify(far: Far | None, mode: str, vips: tuple[Address, ...], boot: str | None, **said: Any) -> None:
    """Say for each step present or missing, with the line that mends it; exit 1 if any is missing.

    What is not said is taken from the setup of the same VIP, if it is on record.
    """
    if far is not None:
        backend_far.verify(far, _given(said), boot=boot)
        return
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
    lasting = boot_here("verify", boot, mode, vips, chosen) if boot is not None else []
    _print(lasting)
    wrong += [line for line in lasting if line.startswith("missing ")]
    if wrong or not all(present for present, _ in verdicts):
        raise SystemExit(1)


@backend.command()
@here_or_far(OF_SERVICE, (PLAN,))
def undo(far: Far | None, mode: str, vips: tuple[Address, ...], plan: bool) -> None:
    """Restore what was there before setup, and nothing else."""
    if far is not None:
        backend_far.undo(far, plan=plan)
        return
    machine = this_machine()
    if plan:
        _print(steps.unrecorded(machine, mode, vips))
        _print(boot_here("remove", "", mode, vips, {}, plan=True))
        lines = (steps.undo_command(machine, one) for one in steps.reversals(machine, mode, vips))
        _print(line for line in lines if line is not None)
        return
    _need_root()
    with alone(machine.state, "undo") as ended:
        _print(ended)
        _print(steps.unrecorded(machine, mode, vips))
        _print(boot_here("remove", "", mode, vips, {}))
        _print(steps.undo(machine, mode, vips, steps.reversals(machine, mode, vips)))


def _given(said: Chosen) -> Chosen:
    return {name: value for name, value in said.items() if value not in (None, ())}


def _chosen(mode: str, vips: tuple[Address, ...], said: Chosen) -> Chosen:
    """Return what was said; raise ``UsageError`` for what the mode does not heed, or lacks."""
    chosen = _given(said)
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
