"""What a real server was like before ``backend setup``: the record from which ``undo`` restores it.

It lies under ``/run``, which a reboot clears, as it clears what was set up.  Each network
namespace has a directory of its own: namespaces on one machine share ``/run``, but neither
addresses nor sysctls.  ``scripts/backend-setup`` reads and writes the very same files::

    /run/dsrlb/backend/
      netns-4026531840/                          inode of /proc/self/ns/net
        vip/198.18.0.10                          "l3dsr decap=bpf device=e0": the mode, and what was
                                                 chosen beside the defaults; then the steps, one a
                                                 line: kind, target, value, with tabs between
        former/sysctl net.ipv4.conf.all.arp_ignore      "0": what was there before the step
        former/address lo 198.18.0.10:32                "absent"
        running                                  process that is at work on it now (see steps_lock)

In the name of a step (kind and target; with the address, where there can be several) ``/`` is written ``:``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from dsrlb.model import Address, HostStep, ServerOptions

BASE = Path("/run/dsrlb/backend")
_READ: Mapping[str, Callable[[str], Any]] = MappingProxyType(
    {
        "outer": lambda text: tuple(map(int, text.split(","))),
        "encap_port": int,
        "gateway": ip_address,
        "networks": lambda text: tuple(text.split(",")),
    }
)
_SEVERAL = ("address", "entry")  # of these a target may have more than one


@dataclass(frozen=True)
class Setup:
    """What was, or is to be, done for a VIP."""

    vip: Address
    mode: str
    options: ServerOptions
    steps: tuple[HostStep, ...]


def directory(base: Path = BASE) -> Path:
    """Return where the record of this process's network namespace lies; nothing is created."""
    return base / f"netns-{Path('/proc/self/ns/net').stat().st_ino}"


def name_of(step: HostStep) -> str:
    """Return the name of a step's place: two steps with one name are about the same thing."""
    words = [step.kind, step.target, *(step.value.split()[:1] if step.kind in _SEVERAL else [])]
    return " ".join(words).replace("/", ":")


def setups(state: Path) -> list[Setup]:
    """Return the VIPs that are set up here, each with its mode and steps."""
    return list(_setups(state))


def _setups(state: Path) -> Iterator[Setup]:
    for path in sorted((state / "vip").glob("*")):
        head, *lines = path.read_text().splitlines()
        mode, *words = head.split()
        steps = tuple(_step(*line.split("\t")) for line in lines)
        yield Setup(ip_address(path.name), mode, _options(words), steps)


def _step(kind: str, target: str, value: str) -> HostStep:
    return HostStep(cast("Any", kind), target, value)


def _options(words: Sequence[str]) -> ServerOptions:
    chosen: dict[str, Any] = dict(word.split("=", 1) for word in words)
    for name, read in _READ.items():
        if name in chosen:
            chosen[name] = read(chosen[name])
    return ServerOptions(**chosen)


def _words(options: ServerOptions) -> Iterator[str]:
    for name, value in vars(options).items():
        if value != getattr(ServerOptions(), name):
            yield f"{name}={','.join(map(str, value)) if isinstance(value, tuple) else value}"


def write_setup(state: Path, setup: Setup) -> None:
    """Record a VIP: its mode, and its steps after those on record that are no longer among them."""
    names = set(map(name_of, setup.steps))
    known = next((old for old in _setups(state) if old.vip == setup.vip), None)
    older = [step for step in (known.steps if known else ()) if name_of(step) not in names]
    lines = ["\t".join((step.kind, step.target, step.value)) for step in (*older, *setup.steps)]
    _write(
        state / "vip" / str(setup.vip), "\n".join([" ".join([setup.mode, *_words(setup.options)]), *lines])
    )


def forget_setup(state: Path, vip: Address) -> None:
    """Remove the record of a VIP."""
    _forget(state / "vip" / str(vip))


def former(state: Path, step: HostStep) -> str | None:
    """Return what was there before a step, or None when nothing (or an empty line) is on record."""
    try:
        return (state / "former" / name_of(step)).read_text().strip() or None
    except FileNotFoundError:
        return None


def write_former(state: Path, step: HostStep, text: str) -> None:
    """Record what was there before a step."""
    _write(state / "former" / name_of(step), text)


def forget_former(state: Path, step: HostStep) -> None:
    """Remove the record of what was there before a step."""
    _forget(state / "former" / name_of(step))


def _write(path: Path, text: str) -> None:
    """Record ``text``: whole or not at all, also when interrupted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.parent.parent / f".{path.name}"
    unfinished.write_text(f"{text}\n")
    unfinished.replace(path)


def _forget(path: Path) -> None:
    """Remove one record, and the directories that are empty without it."""
    path.unlink(missing_ok=True)
    for folder in list(path.parents)[:2]:
        try:
            folder.rmdir()
        except OSError:  # not empty, or gone already
            return
