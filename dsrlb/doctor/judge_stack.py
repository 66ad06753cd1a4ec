"""Whether this host's own stack stands in the way of what dsrlb does.  Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dsrlb.doctor.about import About
from dsrlb.doctor.facts_links import LinkFacts, StackFacts
from dsrlb.doctor.finding import BALANCER, Finding
from dsrlb.host.firewall import Killer
from dsrlb.model import Address

CALLS = {4: "bridge/bridge-nf-call-iptables", 6: "bridge/bridge-nf-call-ip6tables"}


def judge_rp_filter(
    stack: StackFacts, dropped: Sequence[tuple[Address, str, str | None]]
) -> Iterator[Finding]:
    """Yield whether answers from VIPs to checks are let in.

    ``dropped``: VIPs whose servers are checked there, the interface by which answers come in, and why they
    are dropped there (None: they are not).
    """
    about = About("rp_filter", BALANCER)
    for vip, device, why in dropped:
        both = stack.device("rp_filter", device)
        seen = f"net.ipv4.conf.all.rp_filter = {both[0]}, of {device} {both[1]}: {max(both)} holds"
        if why is None:
            says = f"answers from VIP {vip} to checks are let in by {device}"
            yield about.ok(says, seen)
            continue
        says = f"answers from VIP {vip} to checks are dropped on {device}: its reverse path is another one"
        mend = f"sysctl -w net.ipv4.conf.{device}.rp_filter=2"
        yield about.wrong(says, seen, mend)


def judge_forwarding(stack: StackFacts, gateways: Sequence[str]) -> Finding:
    """Return whether the host, as a router, would lead servers past the balancer.

    ``gateways``: interfaces where servers are, and the way to their clients as well.  Of IPv4 alone: IPv6
    has no such switch.
    """
    about = About("forwarding", BALANCER)
    forwards = stack.value("ipv4/ip_forward")
    seen = f"net.ipv4.ip_forward = {forwards}"
    if not forwards:
        says = "the host forwards nothing itself"
        return about.ok(says, seen)
    for device in gateways:
        both = stack.device("send_redirects", device)
        if any(both):
            seen += f", net.ipv4.conf.all.send_redirects = {both[0]}, of {device} {both[1]}: either holds"
            says = f"the host tells servers on {device} of a way to clients past it, by ICMP redirects"
            mend = f"sysctl -w net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.{device}.send_redirects=0"
            return about.wrong(says, seen, mend)
    says = "the host forwards what is not for the VIPs, which are dsrlb's alone"
    return about.ok(says, seen)


def judge_conntrack(killers: Sequence[Killer]) -> Iterator[Finding]:
    """Yield the rules that drop half connections."""
    about = About("conntrack_invalid", BALANCER)
    for one in killers:
        says = (
            f"a rule ({', '.join(one.hooks)}) drops what connection tracking takes for invalid: of clients' "
            "connections this host's stack sees one half at most, and what it forwards of them is lost"
        )
        yield about.wrong(says, one.shown_by, one.removed_by)
    if not killers:
        says = "no rule drops what connection tracking takes for invalid"
        yield about.ok(says)


def judge_bridge_nf(
    stack: StackFacts, links: Sequence[LinkFacts], versions: frozenset[int], *, has_rules: bool
) -> Iterator[Finding]:
    """Yield whether rules for this host's own packets see what its bridges carry."""
    about = About("bridge_nf", BALANCER)
    bridges = sorted({one.bridge for one in links if one.bridge})
    keys = [CALLS[version] for version in sorted(versions) if stack.value(CALLS[version])]
    seen = ", ".join(f"net.{key.replace('/', '.')} = 1" for key in keys) or "bridged frames meet no IP rules"
    if bridges and keys and has_rules:
        says = f"frames that {', '.join(bridges)} carries go through this host's rules for IP packets"
        mend = " ".join(("sysctl -w", *(f"net.{key.replace('/', '.')}=0" for key in keys)))
        yield about.wrong(says, seen, mend)
        return
    says = "no rule for IP packets sees bridged frames of the VIPs"
    why = seen if not keys or bridges else f"{seen}, and no interface here is of a bridge"
    yield about.ok(says, why)


def judge_vips_here(vips: Sequence[Address], own: Sequence[str]) -> Iterator[Finding]:
    """Yield the VIPs that are configured on this host; ``own``: as ``ip addr del`` takes them."""
    about = About("vip_on_balancer", BALANCER)
    for one in own:
        address, device = one.partition("/")[0], one.rpartition(" ")[2]
        says = (
            f"VIP {address} is configured on {device}: this host's own stack answers its clients, with resets"
        )
        yield about.wrong(says, f"inet {one}", f"ip addr del {one}")
    if vips and not own:
        says = "no VIP is configured on this host, whose stack keeps off them"
        yield about.ok(says)
