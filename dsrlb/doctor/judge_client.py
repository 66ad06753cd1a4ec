"""Whether connections from a client's side come about.  Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from dsrlb.doctor.about import About
from dsrlb.doctor.facts_client import ClientFacts
from dsrlb.doctor.finding import CLIENT, Finding

MEANS = {
    "silent": "were not answered: they, or what the servers answer, got lost on the way",
    "refused": "were refused",
    "unreachable": "were told that the VIP is unreachable",
}
ABOUT = About("end_to_end", CLIENT)


def judge_client(facts: ClientFacts, *, runs: bool) -> Iterator[Finding]:
    """Yield for each place what became of the connections; ``runs``: a dsrlb does here."""
    if why := _why_not(facts, runs):
        yield ABOUT.unknown(why)
    for (vip, port), words in facts.tried.items():
        yield _judge(f"[{vip}]:{port}" if vip.version == 6 else f"{vip}:{port}", words)


def _why_not(facts: ClientFacts, runs: bool) -> str:
    """Return why no connections were made; empty if they were."""
    if not runs:
        return "no dsrlb runs here, so connections to the VIPs would prove nothing"
    if facts.tool == "none":
        return "nothing there connects: neither python3, bash nor nc is to be found"
    return "" if facts.tried else "there is no TCP service of one port, to which a client could connect"


def _judge(name: str, words: Counter[str]) -> Finding:
    failed, tries = words.total() - words["ok"], words.total()
    seen = ", ".join(f"{count} {word}" for word, count in sorted(words.items()))
    if not failed:
        return ABOUT.ok(f"all of {tries} connections to {name} came about", seen)
    worst = max((word for word in words if word != "ok"), key=lambda word: words[word])
    says = f"{failed} of {tries} connections to {name} {MEANS.get(worst, worst)}"
    mend = "see what is wrong at the servers; dsrlb trace --client shows where each one goes"
    return ABOUT.wrong(says, seen, mend)
