"""Plan, apply, verify and undo what a mode asks of a real server (``HostStep``).

The order of ``apply`` is what makes it safe to interrupt: first everything is written to the
record (``steps_state``), then the steps are done in the mode's order.  ``undo`` goes the other
way: the last step first, and the record is forgotten at the end.  A step that a VIP shares with one
that stays is left as it is.

What a step means is in ``step_kinds``.  Some steps are known only on the machine:

- the kernel takes the greater of ``conf.all`` and ``conf.DEVICE`` for ``arp_ignore`` and
  ``arp_announce``, so a device whose own value is greater than the one wanted needs a step of its own;
- an MSS is set on each route that leads to the clients.

``scripts/backend-setup`` is the same in sh; tests/lab/test_backend_setup.py holds them together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from dsrlb.errors import HostError
from dsrlb.host import steps_state as record
from dsrlb.host.machine import Machine, device_key, read_sysctl, sysctl_devices, this_machine
from dsrlb.host.step_kinds import KINDS
from dsrlb.host.step_routes import left_alone, on_this_machine
from dsrlb.host.steps_state import Setup
from dsrlb.model import Address, HostStep, ServerOptions

__all__ = ["Machine", "Reversal", "this_machine"]

StepsOf = Callable[[Address, ServerOptions], tuple[HostStep, ...]]


@dataclass(frozen=True)
class Reversal:
    """A step that was done, and what was there before."""

    step: HostStep
    former: str


def for_machine(machine: Machine, steps: Sequence[HostStep]) -> tuple[HostStep, ...]:
    """Return a mode's steps as they are on this machine, each once."""
    found: list[HostStep] = []
    for step in steps:
        if step.kind == "advmss":
            found.extend(on_this_machine(machine, step))
            continue
        found.append(step)
        if step.kind == "sysctl" and ".conf.all." in step.target:
            found.extend(_overruling(machine, step))
    return tuple(dict.fromkeys(found))


def plan(setups: Sequence[Setup]) -> tuple[HostStep, ...]:
    """Return the steps of all setups in order, each once."""
    return tuple(dict.fromkeys(step for setup in setups for step in setup.steps))


def setups_for(
    machine: Machine, mode: str, vips: Sequence[Address], options: ServerOptions, steps_of: StepsOf
) -> tuple[Setup, ...]:
    """Return what each VIP needs on this machine."""
    return tuple(Setup(vip, mode, options, for_machine(machine, steps_of(vip, options))) for vip in vips)


def notes(machine: Machine, setups: Sequence[Setup], steps_of: StepsOf) -> list[str]:
    """Return a sentence for each thing that setup would do but for what this machine is like."""
    wanted = (step for setup in setups for step in steps_of(setup.vip, setup.options))
    found = (line for step in wanted if step.kind == "advmss" for line in left_alone(machine, step))
    return list(dict.fromkeys(found))


def command(step: HostStep) -> str:
    """Return the step as a line to paste into a root shell."""
    return KINDS[step.kind].command(step)


def undo_command(machine: Machine, reversal: Reversal) -> str | None:
    """Return the reversal as a line to paste, or None when there is nothing to take back."""
    step, kind = reversal.step, KINDS[reversal.step.kind]
    if kind.back is None or kind.fits(machine, step, reversal.former):
        return None
    return kind.back(step, reversal.former)


def is_present(machine: Machine, step: HostStep) -> bool:
    """Say whether the step is in effect."""
    state = KINDS[step.kind].read(machine, step)
    return state is not None and KINDS[step.kind].fits(machine, step, state)


def apply(machine: Machine, setups: Sequence[Setup]) -> Iterator[str]:
    """Do every step that is missing; yield a line for each as it is done.

    Twice is once: what is in effect is left alone, and its first record kept; what is neither in effect nor
    as an earlier setup left it was changed by somebody else, and is recorded anew.
    Raises ``HostError`` when the kernel refuses.
    """
    steps = plan(setups)
    stale = frozenset(step for step in steps if _is_stale(machine, step))
    try:
        for setup in setups:  # the VIPs first: without their record undo would not look further
            record.write_setup(machine.state, setup)
        for step in steps:
            _remember(machine, step, overwrite=step in stale)
    except OSError as error:
        raise HostError(
            f"cannot record in {machine.state}, so nothing was changed: {error.strerror}."
        ) from error
    for step in steps:
        present = is_present(machine, step)  # asked again: a step before it may have brought it
        if not present:
            _do(machine, step)
        yield f"{'already' if present else 'done':<8} {command(step)}"


def verify(machine: Machine, setups: Sequence[Setup]) -> list[tuple[bool, str]]:
    """Return for each step whether it is in effect, and the line that says so."""
    return [_verdict(machine, step) for step in plan(setups)]


def reversals(machine: Machine, mode: str, vips: Sequence[Address]) -> tuple[Reversal, ...]:
    """Return what undoing ``vips`` means here, the last step first; a VIP without a record means nothing."""
    recorded = record.setups(machine.state)
    going = [setup for setup in recorded if setup.vip in vips and setup.mode == mode]
    staying = {record.name_of(step) for setup in recorded if setup not in going for step in setup.steps}
    found: dict[str, Reversal] = {}
    for step in (step for setup in going for step in setup.steps):
        former = record.former(machine.state, step)
        if former is not None and record.name_of(step) not in staying:
            found.setdefault(record.name_of(step), Reversal(step, former))
    return tuple(reversed(found.values()))


def unrecorded(machine: Machine, mode: str, vips: Sequence[Address]) -> Iterator[str]:
    """Yield a sentence for each VIP that was not set up here for this mode."""
    known = {setup.vip: setup.mode for setup in record.setups(machine.state)}
    for vip in vips:
        if vip not in known:
            yield f"nothing  to undo for {vip}: no setup of it is recorded in {machine.state}"
        elif known[vip] != mode:
            yield f"nothing  to undo for {vip}: it was set up for mode {known[vip]}"


def undo(
    machine: Machine, mode: str, vips: Sequence[Address], taken_back: Sequence[Reversal]
) -> Iterator[str]:
    """Take every step back, then forget the record; yield a line for each as it is done."""
    for reversal in taken_back:
        yield _take_back(machine, reversal)
    for reversal in taken_back:
        record.forget_former(machine.state, reversal.step)
    for setup in record.setups(machine.state):
        if setup.vip in vips and setup.mode == mode:
            record.forget_setup(machine.state, setup.vip)  # last: until then undo can be repeated


def _overruling(machine: Machine, step: HostStep) -> Iterator[HostStep]:
    before, name = step.target.split(".conf.all.")
    family = before.removeprefix("net.")
    for device in sysctl_devices(machine, family):
        own = HostStep("sysctl", device_key(family, device, name), step.value, "it overrules conf.all")
        mended = record.former(machine.state, own) is not None  # for another VIP: this one needs it as well
        if device not in ("all", "lo") and (
            mended or int(read_sysctl(machine, own.target) or 0) > int(step.value)
        ):
            yield own


def _is_stale(machine: Machine, step: HostStep) -> bool:
    """Say whether what is there now is neither what is wanted nor what an earlier setup left."""
    kind = KINDS[step.kind]
    state = kind.read(machine, step)
    name = record.name_of(step)
    earlier = (old for setup in record.setups(machine.state) for old in setup.steps)
    ours = [step, *(old for old in earlier if record.name_of(old) == name)]
    return state is not None and not any(kind.fits(machine, one, state) for one in ours)


def _remember(machine: Machine, step: HostStep, overwrite: bool) -> None:
    if not overwrite and record.former(machine.state, step) is not None:
        return
    state = KINDS[step.kind].read(machine, step)
    if state is None and step.kind == "sysctl":
        raise HostError(f"this kernel has no sysctl {step.target}: nothing was changed.")
    if state is not None:
        record.write_former(machine.state, step, state)


def _do(machine: Machine, step: HostStep) -> None:
    kind = KINDS[step.kind]
    if record.former(machine.state, step) is None:  # its place came with a step before it
        _remember(machine, step, overwrite=True)
    if kind.do is not None:
        kind.do(machine, step)
        return
    try:
        machine.run(kind.command(step).split())
    except HostError as error:
        off = step.kind == "address" and ":" in step.value and "Permission denied" in str(error)
        hint = " (is IPv6 switched off? see net.ipv6.conf.lo.disable_ipv6)." if off else "."
        raise HostError(str(error).removesuffix(".") + hint) from error


def _take_back(machine: Machine, reversal: Reversal) -> str:
    step, kind = reversal.step, KINDS[reversal.step.kind]
    words, line = kind.words(step), undo_command(machine, reversal)
    if line is None:
        was_there = kind.fits(machine, step, reversal.former)
        return f"kept     {words}: {'it was there before setup' if was_there else 'others may use it by now'}"
    state = kind.read(machine, step)
    if state is None or not (kind.fits(machine, step, state) or step.kind in ("sysctl", "rp_filter")):
        return f"gone     {words}: it was not there any more"
    if kind.take_back is None:
        machine.run(line.split())
    elif kind.take_back(machine, step, reversal.former) is False:
        return f"kept     {words}: others use it by now"
    return f"done     {line}"


def _verdict(machine: Machine, step: HostStep) -> tuple[bool, str]:
    kind = KINDS[step.kind]
    state = kind.read(machine, step)
    if state is not None and kind.fits(machine, step, state):
        return True, f"present  {kind.words(step)}"
    now = f" (now {state})" if kind.shows_state and state is not None else ""
    return False, f"missing  {kind.words(step)}{now}: {kind.command(step)}"
