"""Findings about one place, each in a line."""

from __future__ import annotations

from typing import NamedTuple

from dsrlb.doctor.finding import Finding, Verdict


class About(NamedTuple):
    """What findings are made with: the name of what is looked at, and where."""

    name: str
    where: str

    def ok(self, says: str, evidence: str = "", mend: str = "") -> Finding:
        """Return that it is as it should be, and what would make it better still."""
        return Finding(self.name, Verdict.OK, self.where, says, evidence, mend)

    def wrong(self, says: str, evidence: str, mend: str) -> Finding:
        """Return what is wrong, what was seen, and what mends it."""
        return Finding(self.name, Verdict.WRONG, self.where, says, evidence, mend)

    def unknown(self, says: str, evidence: str = "", mend: str = "") -> Finding:
        """Return why it cannot be told, and what would tell."""
        return Finding(self.name, Verdict.UNKNOWN, self.where, says, evidence, mend)
