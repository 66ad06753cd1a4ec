"""Whether connections from a client's side come about.  Pure."""

from __future__ import annotations

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


def judge_client(facts: ClientFacts) -> Iterator[Finding]:
    """Yield for each place what became of the connections."""
    if not facts.tried and facts.tool != "none":
        yield ABOUT.unknown("no dsrlb runs here, so connections to the VIPs would prove nothing")
    if facts.tool == "none":
        yield ABOUT.unknown("nothing there connects: neither python3, bash nor nc is to be found")
        return
    for (vip, port), words in facts.tried.items():
        name = f"[{vip}]:{port}" if vip.version == 6 else f"{vip}:{port}"
        failed, tries = words.total() - words["ok"], words.total()
        seen = ", ".join(f"{count} {word}" for word, count in sorted(words.items()))
        if not failed:
            yield ABOUT.ok(f"all of {tries} connections to {name} came about", seen)
        else:
            worst = max((word for word in words if word != "ok"), key=lambda word: words[word])
            says = f"{failed} of {tries} connections to {name} {MEANS.get(worst, worst)}"
            mend = "see what is wrong at the servers; dsrlb trace --client shows where each one goes"
            yield ABOUT.wrong(says, seen, mend)
