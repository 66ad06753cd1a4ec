"""What a machine says of itself by a script of the doctor's, whose last line is ``end``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dsrlb.errors import HostError
from dsrlb.host.via import WITHIN_S, Ran, Via, ran


async def said_whole(
    via: Via, script: Path, words: Sequence[str], what: str, within_s: float = WITHIN_S
) -> Ran:
    """Return what a script says there.  Raises HostError, which names ``what`` was cut short."""
    said = await ran(via, script.read_text(encoding="utf-8"), words, within_s)
    if said.code or not said.out.endswith("end\n"):
        last = next(reversed([line for line in (said.err + said.out).splitlines() if line]), "nothing")
        raise HostError(f"{via} did not say {what}; it ended with: {last[:120]}")
    return said
