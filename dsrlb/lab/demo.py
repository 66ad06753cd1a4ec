"""The demonstration: real requests, and in two numbers what crossed the balancer, and what did not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from dsrlb.errors import DsrlbError
from dsrlb.lab import xdp
from dsrlb.lab.balancer import serve, serve_flags
from dsrlb.lab.client import ask
from dsrlb.lab.counters import LinkBytes, link_bytes
from dsrlb.lab.lifecycle import standing
from dsrlb.lab.topology import Lab

SMALL, BIG = 270, 30  # requests for a line of text, and for 1 MiB
Say = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """What the demonstration measured."""

    asked: int
    shares: dict[str, int]  # server -> requests answered
    servers_sent_bytes: int
    balancer_bytes: LinkBytes  # over all of its interfaces
    errors: list[str]

    @property
    def answered(self) -> int:
        """Requests that got their answer."""
        return sum(self.shares.values())


def demo(lab: Lab, say: Say, scheduler: str = "rr") -> None:
    """Build the lab, balance 300 requests, say what happened, clean up; DsrlbError if one was lost."""
    say(f"building the lab for {lab.mode}: client, router, balancer and {lab.servers} servers in namespaces")
    with standing(lab):
        flags = serve_flags(lab, "--scheduler", scheduler, *(xdp.flags(lab) if lab.xdp else []))
        say(f"starting the balancer:  dsrlb serve {' '.join(flags)}")
        balancer = serve(lab, flags)
        say(f"sending {SMALL + BIG} HTTP requests from the client to {lab.vips[0]}, {BIG} for 1 MiB each")
        outcome = measure(lab)
        code = balancer.stop()
    for line in report(outcome, lab.topology.replies):
        say(line)
    say("the lab is gone again")
    if outcome.answered != outcome.asked:
        lost = outcome.asked - outcome.answered
        raise DsrlbError(f"{lost} of {outcome.asked} requests were lost: {outcome.errors[0]}")
    if code:
        raise DsrlbError(f"dsrlb serve ended with exit code {code}")


def measure(lab: Lab) -> Outcome:
    """Send the requests and read the interface counters before and after."""
    vip = lab.vips[0]
    before = {role: _all_links(lab, role) for role in ("lb", *lab.server_names)}
    small = ask(lab, "requests", host=vip, count=SMALL, timeout_s=3, lost_max=5)
    big = ask(lab, "requests", host=vip, count=BIG, path="/file/1m", timeout_s=3, lost_max=5)
    crossed = {role: _all_links(lab, role) - before[role] for role in before}
    answered = Counter(server for server in small["servers"] + big["servers"] if server)
    return Outcome(
        asked=SMALL + BIG,
        shares={name: answered[name] for name in lab.server_names},
        servers_sent_bytes=sum(crossed[name].sent for name in lab.server_names),
        balancer_bytes=crossed["lb"],
        errors=small["errors"] + big["errors"],
    )


def _all_links(lab: Lab, role: str) -> LinkBytes:
    return sum((link_bytes(lab, role, end.device) for end in lab.network.ends(role)), LinkBytes(0, 0))


def report(outcome: Outcome, replies: str) -> list[str]:
    """Return the lines that a person reads; ``replies``: by which way the answers went."""
    shares = "   ".join(
        f"{name} {count} ({count / max(outcome.answered, 1):.1%})" for name, count in outcome.shares.items()
    )
    crossed = outcome.balancer_bytes
    return [
        "",
        f"  requests answered        {outcome.answered} of {outcome.asked}",
        f"  share per server         {shares}",
        f"  bytes the servers sent   {outcome.servers_sent_bytes:>12,}",
        f"  bytes over the balancer  {crossed.received:>12,} in, {crossed.sent:,} out"
        f"  ({crossed.sent / max(outcome.servers_sent_bytes, 1):.1%} of the servers' bytes)",
        f"  {replies}",
        "",
    ]
