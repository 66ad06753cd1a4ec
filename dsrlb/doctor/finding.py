"""What the doctor found: what was looked at, how it is, and what mends it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import Enum

# What a server seems to lack that frames do not get to.
FOLLOWS = {"server_mac": ("vip_missing", "no_decapsulation", "no_listener", "listener_elsewhere")}
BALANCER, CLIENT = "balancer", "client"


class Verdict(str, Enum):
    """How something is; it is printed as it is written here."""

    OK = "ok"
    WRONG = "wrong"
    UNKNOWN = "cannot tell"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str  # what was looked at: a word of the table in docs/doctor.md
    verdict: Verdict
    where: str  # "balancer", "client", or the backend's label
    says: str  # one sentence
    evidence: str = ""  # what was seen, as the kernel or the wire says it
    mend: str = ""  # the command that mends it

    def row(self) -> dict[str, str]:
        """Return it as plain values, for programs."""
        return {**asdict(self), "verdict": self.verdict.value}


def is_fault(finding: Finding) -> bool:
    """Return whether something is wrong; what cannot be told is no fault."""
    return finding.verdict is Verdict.WRONG


def joined(found: Sequence[Finding], more: Sequence[Finding]) -> list[Finding]:
    """Return findings with those of a further look.

    A fault is told by the look that saw it first, and what one look sees to be wrong, no other one calls ok.
    What follows from a fault is none of its own.
    """
    known = {(one.name, one.where) for one in found if is_fault(one)}
    known |= {(name, where) for fault, where in known for name in FOLLOWS.get(fault, ())}
    new = [one for one in more if (one.name, one.where) not in known]
    wrong = {(one.name, one.where) for one in new if is_fault(one)}
    return [one for one in found if (one.name, one.where) not in wrong] + new


def told_once(findings: Sequence[Finding]) -> list[Finding]:
    """Return findings, each once, without those that cannot tell what another one does."""
    told = {(one.name, one.where) for one in findings if one.verdict is not Verdict.UNKNOWN}
    each = dict.fromkeys(findings)
    return [one for one in each if one.verdict is not Verdict.UNKNOWN or (one.name, one.where) not in told]
