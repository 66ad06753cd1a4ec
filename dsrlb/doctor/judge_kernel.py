"""Whether the kernel has what dsrlb serves by.  Pure."""

from __future__ import annotations

from collections.abc import Iterator

from dsrlb.doctor.about import About
from dsrlb.doctor.facts_kernel import KernelFacts
from dsrlb.doctor.finding import BALANCER, Finding

RULES = {4: "CONFIG_IP_MULTIPLE_TABLES", 6: "CONFIG_IPV6_MULTIPLE_TABLES"}


def judge_kernel(facts: KernelFacts, versions: frozenset[int]) -> Iterator[Finding]:
    """Yield what is to be said of a kernel; ``versions``: IP versions of the VIPs."""
    yield _features(facts, versions)
    yield _jit(facts)
    yield _capabilities(facts)


def _features(facts: KernelFacts, versions: frozenset[int]) -> Finding:
    about = About("kernel", BALANCER)
    seen = f"Linux {facts.release}"
    lacking = [RULES[one] for one in sorted(versions - facts.rule_families)]
    if lacking:
        says = "the kernel has no policy rules, by which its own stack is kept off the VIPs"
        return about.wrong(says, seen, f"use a kernel with {' and '.join(lacking)}")
    if facts.wants_xdp and facts.why_no_bpf:
        return about.wrong("engine xdp cannot be here", seen, facts.why_no_bpf)
    if facts.checks and not facts.has_tun:
        says = "there is no /dev/net/tun, so servers are checked at their own addresses, not at the VIP"
        return about.wrong(says, seen, "modprobe tun; for a container: --device /dev/net/tun")
    return about.ok("the kernel has what this configuration takes", seen)


def _jit(facts: KernelFacts) -> Finding:
    about = About("jit", BALANCER)
    if facts.jit_bytes is None:
        says = "the kernel takes no BPF program from here, so whether it compiles them is not to be seen"
        return about.unknown(says)
    if facts.jit_bytes:
        seen = f"two instructions were compiled to {facts.jit_bytes} bytes"
        return about.ok("the kernel compiles BPF programs", seen)
    seen = "two instructions were taken, and not compiled"
    if not facts.wants_xdp:
        says = "the kernel interprets BPF programs; of engine packet that is a filter only"
        return about.ok(says, seen)
    says = "the kernel interprets the program that forwards, several times slower than compiled"
    return about.wrong(says, seen, "sysctl -w net.core.bpf_jit_enable=1, in the first network namespace")


def _capabilities(facts: KernelFacts) -> Finding:
    about = About("capabilities", BALANCER)
    if facts.lacking:
        seen = f"missing: {', '.join(facts.lacking)}"
        mend = "run it as root, or give its unit or container these capabilities"
        return about.wrong(f"{facts.whose} may not do all that it has to", seen, mend)
    return about.ok(f"{facts.whose} may do what it has to")
