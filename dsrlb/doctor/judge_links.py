"""Whether interfaces let frames through as they are, and of what size.  Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from dsrlb import modes
from dsrlb.doctor.about import About
from dsrlb.doctor.facts_links import LinkFacts
from dsrlb.doctor.finding import BALANCER, Finding
from dsrlb.doctor.wanted import setup_command
from dsrlb.host.xdp_features import XdpFeature
from dsrlb.model import Address, Service
from dsrlb.modes.base import wraps
from dsrlb.preflight import Way

XDP_MTU_BYTES = 3500  # a page, less what the kernel puts before and behind a frame: most drivers' limit


def judge_xdp(facts: LinkFacts, *, is_at_work: bool, wanted: str) -> Finding:
    """Return what there is to say of XDP on an interface where frames come in.

    ``is_at_work``: engine xdp runs.  ``wanted``: the mode asked for: auto, native or generic.
    """
    about = About("xdp", BALANCER)
    name, why = facts.link.name, _why_generic(facts)
    seen = f"{name}: program in mode {facts.xdp or 'none'}, driver has {_features(facts)}"
    if is_at_work and facts.xdp is None:
        says = f"engine xdp runs, and its program is not on {name}: no frame is forwarded"
        return about.wrong(says, seen, "restart dsrlb; docs/xdp.md")
    if not is_at_work and facts.xdp is not None:
        says = f"{name} has an XDP program, which sees frames before dsrlb does"
        mend = f"if it is not yours: ip link set dev {name} xdp off"
        return about.unknown(says, seen, mend)
    if facts.xdp == "native" and facts.link.kind == "veth" and facts.offloads.tx_checksum is not None:
        says = (
            f"the program is in the driver of {name}; whether its peer finishes checksums is not to be seen"
        )
        return about.unknown(says, seen, "at the other end: ethtool -K PEER tx off")
    if facts.xdp is not None:
        reason = "" if facts.xdp == "native" else f": {_because(why, wanted)}"
        return about.ok(f"the program on {name} is {facts.xdp}{reason}", seen)
    could = f"generic ({why})" if why else "native"
    return about.ok(f"engine packet is on {name}; XDP could be {could}", seen)


def _because(why: str, wanted: str) -> str:
    return (
        "it was asked for"
        if wanted == "generic"
        else why or "the driver refused it at the start (see its log)"
    )


def _why_generic(facts: LinkFacts) -> str:
    """Return what stands against native mode; empty: nothing that can be seen."""
    if facts.features is not None and XdpFeature.BASIC not in facts.features:
        return "the driver has no XDP"
    if facts.offloads.lro:
        return "the NIC puts packets together (LRO)"
    if facts.link.kind == "veth" and facts.xdp != "native":
        return "a veth device sends from XDP only while its peer has a program"
    if facts.link.mtu_bytes > XDP_MTU_BYTES:
        return f"an MTU of {facts.link.mtu_bytes} is too large for most drivers"
    return ""


def _features(facts: LinkFacts) -> str:
    if facts.features is None:
        return "not told by this kernel"
    return ", ".join(one.name.lower() for one in XdpFeature if one in facts.features and one.name) or "no XDP"


def judge_offloads(facts: LinkFacts) -> Finding:
    """Return whether what comes in by an interface can be sent on as it came."""
    about = About("offloads", BALANCER)
    name, on = facts.link.name, facts.offloads
    seen = f"{name}: " + ", ".join(
        f"{word} {'not told' if value is None else 'on' if value else 'off'}"
        for word, value in (("lro", on.lro), ("gro", on.gro), ("tx checksum", on.tx_checksum))
    )
    if on.lro:
        says = f"the NIC of {name} puts packets together, and they cannot be sent on as they came"
        return about.wrong(says, seen, f"ethtool -K {name} lro off")
    if facts.xdp == "generic" and on.gro:
        says = f"packets put together by GRO on {name} are forwarded by the process, not by the program"
        return about.ok(says, seen, f"faster: ethtool -K {name} gro off")
    if on.lro is None:
        says = f"the driver of {name} does not tell whether packets are put together"
        return about.unknown(says, seen, f"ethtool -k {name}")
    return about.ok(f"frames come in by {name} as they can be sent on", seen)


def judge_mtu(
    services: Sequence[Service], ways: Mapping[Address, tuple[str, Way]], front_bytes: int
) -> Iterator[Finding]:
    """Yield whether the largest frame that comes in fits on the way to each server.

    ``ways``: by its address, what findings call a server, and the way to it.
    """
    for service in services:
        mode = modes.BY_NAME[service.mode]
        for address in dict.fromkeys(one.address for one in service.backends if one.address in ways):
            more = mode.overhead_bytes(service.options, address.version)
            yield _mtu(service, *ways[address], front_bytes, more)


def _mtu(service: Service, label: str, way: Way, front_bytes: int, more_bytes: int) -> Finding:
    about = About("mtu", label)
    fits = way.mtu_bytes - more_bytes
    name = way.link.name
    seen = (
        f"{front_bytes} bytes come in, {way.mtu_bytes} go out by {name}, with {more_bytes} before each packet"
    )
    if fits >= front_bytes:
        says = f"what clients send fits on the way to it, {service.mode} and all"
        return about.ok(says, seen)
    widen = f"ip link set {name} mtu {front_bytes + more_bytes}, and along the way"
    if not wraps(modes.BY_NAME[service.mode], service.options):
        if service.mode == "inline":
            says = f"packets of more than {fits} bytes are cut, or their senders told"
            return about.ok(says, seen)
        says = f"frames of more than {fits} bytes cannot be sent on to it"
        return about.wrong(says, seen, widen)
    if service.options.clamp_mss and service.protocol == "tcp":
        says = f"clients are told an MSS by which packets have {fits} bytes at most"
        return about.ok(says, seen)
    says = (
        f"wrapped, packets of more than {fits} bytes do not fit; whether the server announces an MSS to "
        "clients by which they are shorter is not to be seen from here"
    )
    mend = f"clamp_mss (--clamp-mss), or on the server: {setup_command(service)}; or {widen}"
    return about.unknown(says, seen, mend)
