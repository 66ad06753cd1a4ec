"""Programs left at work in this network namespace: they keep their rules, and nobody serves beside them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from dsrlb.engines.xdp.served import guarded_here, left_here
from dsrlb.errors import ConfigError, DsrlbError
from dsrlb.host import guard
from dsrlb.model import Address, wire_address


def refuse_left(bpf_fs: str, vips: Iterable[Address]) -> None:
    """Raise ConfigError if a program that no process runs takes the frames of a VIP: none would get here."""
    wanted = list(vips)
    for instance, served in left_here(Path(bpf_fs)):
        taken = [str(vip) for vip in wanted if wire_address(vip) in served]
        if taken:
            raise ConfigError(
                f"The XDP program of instance {instance} is still at work for VIP {', '.join(taken)}; take "
                f"it over (--engine xdp --instance {instance}), or away (dsrlb detach --instance {instance})."
            )


def needed(bpf_fs: str, some: Collection[guard.Guarded]) -> set[guard.Guarded]:
    """Return which of these programs at work need guarded; all, where it cannot be read what they serve."""
    try:
        return set(some) & guarded_here(Path(bpf_fs))
    except (DsrlbError, OSError):
        return set(some)


def take_back_stale(bpf_fs: str, keep: Iterable[guard.Guarded] = ()) -> tuple[guard.Guarded, ...]:
    """Take back the rules that neither a running dsrlb nor a program at work needs; return of what.

    All stay where it cannot be read what programs serve.
    """
    try:
        served = guarded_here(Path(bpf_fs))
    except (DsrlbError, OSError):
        return ()
    return guard.remove_stale(keep={*keep, *served})
