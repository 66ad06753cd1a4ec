"""Does undo restore what was there, wherever setup or undo was interrupted?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pretended_machine import World
from pretended_setups import VIP, every_setup, lines, own, vips_of

from dsrlb.errors import HostError
from dsrlb.host import steps, steps_state


@every_setup
def test_after_setup_nothing_is_missing_and_undo_restores_what_was_there(
    world: World, chosen: dict[str, Any]
) -> None:
    world.set("all", "arp_announce", 1)
    world.set("all", "rp_filter", 1)
    before = world.holds()
    assert world.missing(*vips_of(chosen), **chosen)
    world.setup(*vips_of(chosen), **chosen)
    assert world.missing(*vips_of(chosen), **chosen) == []
    assert world.holds() != before
    world.undo(*vips_of(chosen), **own(chosen))
    assert world.holds() == before
    assert not world.machine.state.exists()


@every_setup
def test_setup_twice_keeps_the_first_former_values(world: World, chosen: dict[str, Any]) -> None:
    before = world.holds()
    world.setup(VIP, **chosen)
    again = world.setup(VIP, **chosen)
    assert all(line.startswith("already ") for line in again)
    world.undo(VIP, **own(chosen))
    assert world.holds() == before


@every_setup
def test_the_plan_is_what_setup_does_and_the_plan_of_undo_is_what_undo_does(
    world: World, chosen: dict[str, Any]
) -> None:
    planned = lines(world, *vips_of(chosen), **chosen)
    done = world.setup(*vips_of(chosen), **chosen)
    assert [line[9:] for line in done] == planned
    changed = [line for line in world.ran if "show" not in line and "modprobe -n" not in line]
    words = ("ip ", "modprobe ")
    assert changed == [line[9:] for line in done if line.startswith("done") and line[9:].startswith(words)]
    taken_back = steps.reversals(world.machine, chosen["mode"], vips_of(chosen))
    planned_back = [steps.undo_command(world.machine, reversal) for reversal in taken_back]
    undone = [line[9:] for line in world.undo(*vips_of(chosen), **own(chosen)) if line.startswith("done")]
    assert undone == [line for line in planned_back if line is not None]


@every_setup
def test_a_setup_interrupted_after_any_step_can_be_undone(world: World, chosen: dict[str, Any]) -> None:
    before = world.holds()
    wanted = world.wanted(*vips_of(chosen), **chosen)
    for done in range(len(steps.plan(wanted)) + 1):
        running = steps.apply(world.machine, wanted)
        for _ in range(done):
            next(running)
        world.undo(*vips_of(chosen), **own(chosen))
        assert world.holds() == before
        assert not world.machine.state.exists()


@every_setup
def test_an_undo_interrupted_after_any_step_can_be_repeated(world: World, chosen: dict[str, Any]) -> None:
    before = world.holds()
    world.setup(VIP, **chosen)
    taken_back = steps.reversals(world.machine, chosen["mode"], [VIP])
    for done in range(1, len(taken_back)):
        world.setup(VIP, **chosen)
        running = steps.undo(world.machine, chosen["mode"], [VIP], taken_back)
        for _ in range(done):
            next(running)
        assert any(line.startswith(("gone ", "kept ")) for line in world.undo(VIP, **own(chosen)))
        assert world.holds() == before
        world.setup(VIP, **chosen)


@pytest.mark.parametrize("interrupted_at", range(4))
def test_a_setup_interrupted_while_it_writes_the_record_can_be_undone(
    world: World, interrupted_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, written = world.holds(), []

    def write(path: Path, text: str) -> None:
        if len(written) == interrupted_at:
            raise OSError(28, "No space left on device")
        written.append(path)
        real_write(path, text)

    real_write = steps_state._write
    monkeypatch.setattr(steps_state, "_write", write)
    with pytest.raises(HostError, match="No space left"):
        world.setup(VIP)
    assert world.holds() == before
    world.undo(VIP)
    assert world.holds() == before
    assert steps_state.setups(world.machine.state) == []
