"""The demonstration: real requests, and in two numbers what Direct Server Return is for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from dsrlb.errors import DsrlbError
from dsrlb.lab.balancer import serve, serve_flags
from dsrlb.lab.client import ask
from dsrlb.lab.lifecycle import standing
from dsrlb.lab.topology import VIP, Lab, LinkBytes, link_bytes

SMALL, BIG = 270, 30  # requests for a line of text, and for 1 MiB
Say = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """What the demonstration measured."""

    asked: int
    shares: dict[str, int]  # server -> requests answered
    servers_sent_bytes: int
    balancer_bytes: LinkBytes
    errors: list[str]

    @property
    def answered(self) -> int:
        """Requests that got their answer."""
        return sum(self.shares.values())


def demo(lab: Lab, say: Say, scheduler: str = "rr") -> None:
    """Build the lab, balance 300 requests, say what happened, clean up; DsrlbError if one was lost."""
    say(f"building the lab: client, router, switch, balancer and {lab.servers} servers in network namespaces")
    with standing(lab):
        flags = serve_flags(lab, "--scheduler", scheduler)
        say(f"starting the balancer:  dsrlb serve {' '.join(flags)}")
        balancer = serve(lab, flags)
        say(f"sending {SMALL + BIG} HTTP requests to {VIP} from the client, {BIG} of them for 1 MiB each")
        outcome = measure(lab)
        code = balancer.stop()
    for line in report(outcome):
        say(line)
    say("the lab is gone again")
    if outcome.answered != outcome.asked:
        lost = outcome.asked - outcome.answered
        raise DsrlbError(f"{lost} of {outcome.asked} requests were lost: {outcome.errors[0]}")
    if code:
        raise DsrlbError(f"dsrlb serve ended with exit code {code}")


def measure(lab: Lab) -> Outcome:
    """Send the requests and read the interface counters before and after."""
    before = {role: link_bytes(lab, role) for role in ("lb", *lab.server_names)}
    small = ask(lab, "requests", host=VIP, count=SMALL, timeout_s=3, lost_max=5)
    big = ask(lab, "requests", host=VIP, count=BIG, path="/file/1m", timeout_s=3, lost_max=5)
    crossed = {role: link_bytes(lab, role) - before[role] for role in before}
    answered = Counter(server for server in small["servers"] + big["servers"] if server)
    return Outcome(
        asked=SMALL + BIG,
        shares={name: answered[name] for name in lab.server_names},
        servers_sent_bytes=sum(crossed[name].sent for name in lab.server_names),
        balancer_bytes=crossed["lb"],
        errors=small["errors"] + big["errors"],
    )


def report(outcome: Outcome) -> list[str]:
    """Return the lines that a person reads."""
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
        "  the answers went straight from the servers to the client: Direct Server Return",
        "",
    ]
