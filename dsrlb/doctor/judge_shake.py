"""Where a handshake to a VIP through one server got lost, and what that says of the server.  Pure.

::

    dsrlb ──► next hop's MAC ──► its own address ──► out of the tunnel ──► the VIP ──► a listener
          unresolved       no_answer          no_decapsulation       no_vip     refused
                           unreachable        rp_filter                         not_on_vip
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from dsrlb import modes
from dsrlb.doctor.about import About
from dsrlb.doctor.facts_shake import Shake
from dsrlb.doctor.finding import Finding, Verdict
from dsrlb.doctor.judge_listeners import ABSENT, ELSEWHERE
from dsrlb.doctor.wanted import Wanted, setup_command
from dsrlb.health.base import Outcome
from dsrlb.modes.base import wraps

PROBE = "end_to_end"
UNREACHABLE = frozenset(("unresolved", "no_answer", "unreachable"))
# By the health check's word: the fault's name, and where the handshake got lost.
FAULTS: Mapping[str, tuple[str, str]] = {
    "unresolved": ("unreachable", "before the server: nobody answers for its MAC address, or its router's"),
    "no_answer": (
        "unreachable",
        "on the way to the server, or there: its own address does not answer either",
    ),
    "unreachable": ("unreachable", "on the way to the server: it is told that nobody is there"),
    "no_vip": ("vip_missing", "on the server: its own address answers, the VIP on it does not"),
    "no_decapsulation": ("no_decapsulation", "on the server: it refuses what is wrapped"),
    "rp_filter": ("rp_filter", "on the server: what is wrapped goes in, and nothing comes out"),
    "server_mac": ("server_mac", "on the segment: it is sent to a MAC address that is not the server's"),
    "refused": (ABSENT, "at the end: the server has the VIP, and nothing listens there"),
    "not_on_vip": (ELSEWHERE, "at the end: it is accepted at the server's own address only"),
}
# What works needs no reason: a server may do it in a way that its facts do not show.
BELIEVED = frozenset(("vip_missing", "no_decapsulation", ABSENT, ELSEWHERE))
BY_ICMP = frozenset(("no_vip", "no_decapsulation", "rp_filter"))  # which of them it is
LOOKS = {
    "path_mtu": "packets as long as they may be arrive there",
    "mtu": "what it asks clients for fits into the tunnel",
    "default_route": "its answers to other networks come back this way",
    "arp_announce": "",  # that it never asks as the VIP only the server can tell
}
DROPS = {
    "TcpExt.IPReversePathFilter": "dropped by rp_filter",
    "Ip.InUnknownProtos": "for a protocol that nobody takes there (a tunnel's)",
    "Ip.InAddrErrors": "for an address that it does not have",
    "IpExt.InNoRoutes": "without a route",
    "Tcp.InCsumErrors": "with a wrong checksum",
    "TcpExt.ListenDrops": "dropped by a listener whose queue is full",
}


def judge_shakes(server: Wanted, shakes: Sequence[Shake], dropped: str = "") -> Iterator[Finding]:
    """Yield where handshakes got to; ``dropped``: what the server's kernel says of that time."""
    about = About(PROBE, server.label)
    for shake in shakes:
        name, outcome = shake.service.name, shake.outcome
        if outcome is None:
            yield about.unknown(f"this host could not ask for {name}: {shake.not_so}")
        elif outcome.ok and shake.not_so:
            says = f"its own address answers; {name} on it could not be asked: {shake.not_so}"
            yield about.unknown(says)
        elif outcome.ok:
            says = f"the check of {name} passes" if shake.by_check else f"a handshake to {name} comes about"
            yield about.ok(f"{says} by it", _way(server, shake))
        else:
            lost = FAULTS.get(outcome.word, ("", "on the way"))[1]
            seen = "; ".join(filter(None, (_seen(outcome), dropped)))
            says = f"{'the check of' if shake.by_check else 'a handshake to'} {name} by it gets lost {lost}"
            yield about.wrong(says, seen, _mend(server, shake, outcome))


def judge_faults(server: Wanted, shakes: Sequence[Shake]) -> Iterator[Finding]:
    """Yield by name what lost handshakes say of the server, each once."""
    told: set[str] = set()
    for shake in shakes:
        outcome = shake.outcome
        if outcome is None or outcome.ok or outcome.word not in FAULTS:
            continue
        fault, lost = FAULTS[outcome.word]
        name = fault if fault not in (ABSENT, ELSEWHERE) else f"{fault} {shake.service.port}"
        if name not in told:
            told.add(name)
            says = f"{shake.service.name}: a {'check' if shake.by_check else 'handshake'} gets lost {lost}"
            yield About(fault, server.label).wrong(says, _seen(outcome), _mend(server, shake, outcome))


def judge_looks(server: Wanted, shakes: Sequence[Shake]) -> Iterator[Finding]:
    """Yield what closer looks at a server have shown."""
    looked = [shake for shake in shakes if shake.looked is not None]
    for name, says in LOOKS.items():
        asked = [shake for shake in looked if _applies(name, server, shake)]
        remarks = [one for shake in asked for one in shake.looked or () if one.word == name]
        if remarks:
            said, _, mend = remarks[0].detail.partition("; ")
            mend = mend.removeprefix("on the server: ")
            yield About(name, server.label).wrong(said, "seen by packets of this host's", mend)
        elif asked and says:
            yield About(name, server.label).ok(says)


def _applies(name: str, server: Wanted, shake: Shake) -> bool:
    if name == "mtu":
        return wraps(modes.BY_NAME[shake.service.mode], shake.service.options)
    return name != "default_route" or shake.service in server.answered_by_us


def judge_counters(before: Mapping[str, int], after: Mapping[str, int]) -> str:
    """Return what a server's kernel dropped in between."""
    grown = {name: after.get(name, 0) - before.get(name, 0) for name in DROPS}
    return ", ".join(
        f"{grown[name]} packets {says} ({name})" for name, says in DROPS.items() if grown[name] > 0
    )


def passes(shakes: Sequence[Shake]) -> bool:
    """Return whether all handshakes came about, at the VIP where there is one."""
    return bool(shakes) and all(
        one.outcome is not None and one.outcome.ok and not one.not_so for one in shakes
    )


def merged(
    facts: Sequence[Finding], faults: Sequence[Finding], looks: Sequence[Finding], pass_: bool
) -> list[Finding]:
    """Return what is to be told of a server of which both its own facts and handshakes speak.

    What it says of itself is more exact; a handshake that comes about overrules what it seems to lack.
    """
    told = [_believed(one) if pass_ and one.name in BELIEVED else one for one in facts]
    if not any(one.verdict is Verdict.WRONG for one in told):
        told += faults
    names = {one.name for one in told if one.verdict is not Verdict.UNKNOWN}
    told += [one for one in looks if one.name not in names]
    looked = {one.name for one in looks}
    return [one for one in told if one.verdict is not Verdict.UNKNOWN or one.name not in looked]


def _believed(finding: Finding) -> Finding:
    if finding.verdict is Verdict.OK:
        return finding
    says = f"handshakes come about, though {finding.says}"
    return About(finding.name, finding.where).ok(says, finding.evidence)


def sharpened(shake: Shake, checked: Shake | None) -> Shake:
    """Return a handshake, by the word of a check where ICMP makes the difference.

    A server says but once a second that it does not unwrap, and the engine in the kernel hears it first.
    """
    words = {one.outcome.word for one in (shake, checked) if one is not None and one.outcome is not None}
    if checked is None or len(words) < 2 or not words <= BY_ICMP:
        return shake
    return replace(shake, outcome=checked.outcome)


def _way(server: Wanted, shake: Shake) -> str:
    if shake.by_check:
        return "dsrlb show health"
    if modes.BY_NAME[shake.service.mode].sees_replies:
        return f"asked at {server.address}"
    return f"asked at {shake.service.vip}, with a mark, as {shake.service.mode} sends clients' packets"


def _seen(outcome: Outcome) -> str:
    """Return what a check says, without what mends it."""
    return f"{outcome.word}: {outcome.detail.partition('; ')[0]}" if outcome.detail else outcome.word


def _mend(server: Wanted, shake: Shake, outcome: Outcome) -> str:
    """Return what mends it: of what the check says, the part that is a command."""
    if outcome.word in UNREACHABLE:
        return f"see that {server.label} is up and on its network: ping {server.address}"
    if outcome.word in ("no_vip", "no_decapsulation", "rp_filter"):
        return setup_command(shake.service)
    if outcome.word == "refused":
        return f"start the service on {server.label}"
    return outcome.detail.rpartition("; ")[2]
