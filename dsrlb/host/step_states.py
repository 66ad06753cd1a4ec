"""The shape of a kind of step, and the words for states that have no text of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dsrlb.host.machine import Machine
from dsrlb.model import HostStep

ABSENT, PRESENT = "absent", "present"
UP, DOWN = "up", "down"


def here(present: bool) -> str:
    """Return the word for something that is there or not."""
    return PRESENT if present else ABSENT


def _run(machine: Machine, line: str) -> None:
    machine.run(line.split())


@dataclass(frozen=True)
class Kind:
    """One kind of step; the defaults are those of a thing that is there or not, done by its own line.

    ``take_back`` may say False: others use the thing by now.
    """

    command: Callable[[HostStep], str]  # the line that does it
    words: Callable[[HostStep], str]  # what a person calls it
    back: Callable[[HostStep, str], str] | None  # with the former state: the line back; None: it stays
    read: Callable[[Machine, HostStep], str | None]  # its state now; None: the machine has no place for it
    fits: Callable[[Machine, HostStep, str], bool] = lambda machine, step, state: state == PRESENT
    do: Callable[[Machine, HostStep], object] | None = None  # None: run ``command``
    take_back: Callable[[Machine, HostStep, str], object] | None = None  # None: run ``back``
    shows_state: bool = False  # verify names the state where it does not fit
