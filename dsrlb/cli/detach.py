"""``dsrlb detach``: take away what was left at work: the program of the XDP engine, HAProxy."""

from __future__ import annotations

from pathlib import Path

import click

from dsrlb.admin.listening import haproxy_folder
from dsrlb.cli.asking import instance_option
from dsrlb.control.left import take_back_stale
from dsrlb.control.proxy_left import end_left
from dsrlb.engines.choice import BPF_FS
from dsrlb.engines.xdp import pins
from dsrlb.errors import ConfigError
from dsrlb.host import guard
from dsrlb.host.privileges import require_bpf


@click.command()
@instance_option("Which one.")
@click.option(
    "--bpffs",
    "bpf_fs",
    metavar="DIR",
    default=BPF_FS,
    show_default=True,
    help="Where the BPF file system is mounted.",
)
@click.option(
    "--admin",
    "admin_at",
    metavar="PATH",
    type=Path,
    help="Where its admin socket was, if elsewhere: HAProxy's files are beside it.",
)
def detach(instance: str, bpf_fs: str, admin_at: Path | None) -> None:
    """Take away what was left at work: an XDP program with its maps, HAProxy with its VIPs, and rules.

    Flows are forgotten, connections of mode proxy cut.  What a process runs is not touched.
    """
    require_bpf("dsrlb detach")
    where = Path(bpf_fs)
    is_ended = end_left(haproxy_folder(admin_at, instance))
    if is_ended:
        click.echo(f"instance {instance}: HAProxy ended, and its VIPs taken off")
    there = list(pins.instances(where))
    if instance not in there:
        if is_ended:
            return
        named = f"there are {', '.join(there)}" if there else "there is none"
        raise ConfigError(f"There is no instance {instance} in {where / pins.FOLDER}: {named}.")
    held = pins.Pins(where, instance)
    try:
        count = len(held.ifindexes())
        held.remove()
    finally:
        held.close()
    click.echo(f"instance {instance}: program taken off {count} interface{'' if count == 1 else 's'}")
    for one in take_back_stale(bpf_fs):
        click.echo(f"rules taken back for {guard.named(one)}")
