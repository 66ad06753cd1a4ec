"""Rules of this host's packet filter that drop what connection tracking takes for invalid.

Of a connection by Direct Server Return a balancer sees one half only, so to connection tracking most of its
packets belong to none.  As nftables has it, such a rule is::

    ct state      -> register        load what connection tracking says
    register & 1                     bit 0: invalid
    register != 0
    verdict drop                     or a jump, or a reject

    ct state      -> register        or, with a set:  ct state vmap { invalid : drop }
    lookup register in a set

Rules of ``iptables`` (nft) are among these, with a match ``conntrack`` or ``state`` in one piece; those of
``iptables-legacy`` are read by that program, if it is here.

*Source*: linux/netfilter/nf_tables.h, nfnetlink.h, xt_conntrack.h, xt_state.h; net/netfilter/nft_ct.c.
"""

from __future__ import annotations

import errno
import os
import shutil
import socket
import struct
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from dsrlb.errors import HostError
from dsrlb.host import netlink

_NETLINK_NETFILTER, _NFTABLES = 12, 10
_GET_CHAIN, _GET_RULE, _GET_ELEMENTS = 4, 7, 13
_TYPE_BITS = 0x3FFF  # of an attribute's type: the rest says that it is nested, or in network order
_FAMILIES = {1: "inet", 2: "ip", 5: "netdev", 7: "bridge", 10: "ip6"}
_FAMILY_NUMBERS = {name: number for number, name in _FAMILIES.items()}
_HOOKS = {0: "prerouting", 1: "input", 2: "forward", 3: "output", 4: "postrouting"}
_INVALID = 1  # NF_CT_STATE_INVALID_BIT, XT_CONNTRACK_STATE_INVALID
_CT_STATE, _NOT_EQUAL = 0, 1
_DROP, _JUMP, _GOTO = 0, -3, -4
_XT_STATE_MASK = {"conntrack": (146, 150), "state": (0, 0)}  # flags (0x1: by state), mask
_NO_NFTABLES = (errno.EPROTONOSUPPORT, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOENT)
_LEGACY = ("iptables-legacy-save", "iptables-save"), ("ip6tables-legacy-save", "ip6tables-save")
WITHIN_S = 5.0

Attributes = dict[int, bytes]


class Chain(NamedTuple):
    """Where a chain is."""

    family: str
    table: str
    name: str

    def __str__(self) -> str:
        """Return it as ``nft list chain`` takes it."""
        return f"{self.family} {self.table} {self.name}"


class Killer(NamedTuple):
    """A rule that drops what is invalid to connection tracking."""

    hooks: tuple[str, ...]  # by which packets come to it: prerouting, input, forward …
    shown_by: str  # a command that shows it
    removed_by: str  # a command that takes it away


class _Rule(NamedTuple):
    chain: Chain
    handle: int
    drops: bool  # what is invalid
    jumps_to: tuple[str, ...]


def killers() -> list[Killer]:
    """Return the rules by which half connections are lost.

    Raises HostError where the rules cannot be read.
    """
    return [*_of_nftables(), *_of_legacy()]


def has_rules() -> bool:
    """Return whether this host filters packets at all.  Raises HostError."""
    return any(_dump(_GET_RULE)) or bool(_legacy_tables())


# ------------------------------------------------------------------------- nftables


def _of_nftables() -> Iterator[Killer]:
    hooks = {Chain(family, _text(one, 1), _text(one, 3)): _hook(one) for family, one in _dump(_GET_CHAIN)}
    rules = [_rule(family, one) for family, one in _dump(_GET_RULE)]
    reached = _reached_by(hooks, rules)
    for rule in rules:
        if rule.drops and reached[rule.chain]:
            yield Killer(
                tuple(sorted(reached[rule.chain])),
                f"nft -a list chain {rule.chain}",
                f"nft delete rule {rule.chain} handle {rule.handle}",
            )


def _reached_by(hooks: dict[Chain, str], rules: list[_Rule]) -> dict[Chain, set[str]]:
    """Return by which hooks packets come to each chain, on whatever way."""
    reached: dict[Chain, set[str]] = defaultdict(set)
    for chain, hook in hooks.items():
        if hook:
            reached[chain].add(hook)
    ways = [(rule.chain, rule.chain._replace(name=to)) for rule in rules for to in rule.jumps_to]
    for _ in range(len(hooks)):
        before = sum(map(len, reached.values()))
        for chain, to in ways:
            reached[to] |= reached[chain]
        if sum(map(len, reached.values())) == before:
            break
    return reached


def _hook(chain: Attributes) -> str:
    """Return the hook of a chain; empty: it is only jumped to."""
    return _HOOKS.get(_number(_inside(chain.get(4, b"")).get(1, b"")), "") if 4 in chain else ""


def _rule(family: str, rule: Attributes) -> _Rule:
    chain = Chain(family, _text(rule, 1), _text(rule, 2))
    drops, targets = _effect(chain, list(_expressions(rule.get(4, b""))))
    return _Rule(chain, int.from_bytes(rule.get(3, b""), "big"), drops, targets)


def _effect(chain: Chain, expressions: list[tuple[str, Attributes]]) -> tuple[bool, tuple[str, ...]]:
    """Return whether expressions drop what is invalid, and the chains they jump to."""
    by_state, mask, takes_invalid, drops = False, 0, False, False
    targets: list[str] = []
    for name, about in expressions:
        if name == "ct" and _number(about.get(2, b"")) == _CT_STATE and 1 in about:
            by_state, mask = True, 0
        elif name == "bitwise" and by_state:
            mask = _state(_inside(about.get(4, b"")))
        elif name == "cmp" and by_state:
            differs = _number(about.get(2, b"")) == _NOT_EQUAL
            # With a mask: of "invalid" not nothing holds, or of all others nothing.
            states = mask or _state(_inside(about.get(3, b"")))
            takes_invalid |= bool(states & _INVALID) == (differs if mask else not differs)
        elif name == "lookup" and by_state:
            takes, gives = _in_set(chain, about)
            takes_invalid |= takes
            drops |= gives
        elif name == "match":
            takes_invalid |= _xt_takes_invalid(about)
        elif name == "reject" or (name == "target" and _text(about, 1) in ("DROP", "REJECT")):
            drops |= takes_invalid
        elif name == "immediate":
            code, target = _verdict(_inside(about.get(2, b"")).get(2, b""))
            drops |= takes_invalid and code == _DROP
            targets += [target] if code in (_JUMP, _GOTO) else []
    return drops, tuple(targets)


def _in_set(chain: Chain, lookup: Attributes) -> tuple[bool, bool]:
    """Return whether "invalid" passes the look into a set, and whether it is a map to a drop."""
    inverted = bool(_number(lookup.get(5, b"")) & 1)
    wanted = netlink.attribute(1, chain.table.encode() + b"\0") + netlink.attribute(2, lookup[1])
    for _, answer in _dump(_GET_ELEMENTS, _FAMILY_NUMBERS[chain.family], wanted):
        for _, element in netlink.attributes(answer.get(3, b""), 0):
            about = _inside(element)
            if _state(_inside(about.get(1, b""))) & _INVALID:
                return not inverted, 2 in about and _verdict(_inside(about[2]).get(2, b""))[0] == _DROP
    return inverted, False


def _state(value: Attributes) -> int:
    return int.from_bytes(value.get(1, b"")[:4], sys.byteorder)


def _xt_takes_invalid(match: Attributes) -> bool:
    """Return whether a match of iptables takes what is invalid."""
    name, info = _text(match, 1), match.get(3, b"")
    if name not in _XT_STATE_MASK or len(info) < 4:
        return False
    flags_at, mask_at = _XT_STATE_MASK[name]
    by_state, inverted = True, False
    if name == "conntrack":
        flags, inverts = struct.unpack_from("=HH", info, flags_at)
        by_state, inverted = bool(flags & 1), bool(inverts & 1)
    return by_state and bool(info[mask_at] & _INVALID) != inverted


def _verdict(verdict: bytes) -> tuple[int, str]:
    about = _inside(verdict)
    (code,) = struct.unpack(">i", about.get(1, struct.pack(">i", 1)))
    return code, _text(about, 2)


def _expressions(listed: bytes) -> Iterator[tuple[str, Attributes]]:
    for _, one in netlink.attributes(listed, 0):
        about = _inside(one)
        yield _text(about, 1), _inside(about.get(2, b""))


def _text(about: Attributes, kind: int) -> str:
    return about.get(kind, b"").rstrip(b"\0").decode()


def _number(value: bytes) -> int:
    return int.from_bytes(value, "big")


def _inside(value: bytes) -> Attributes:
    return {kind & _TYPE_BITS: inner for kind, inner in netlink.attributes(value, 0)}


def _dump(kind: int, family: int = 0, wanted: bytes = b"") -> Iterator[tuple[str, Attributes]]:
    """Yield family and attributes of each thing of a kind; nothing where the kernel has no nftables.

    ::

        nfgenmsg   family 1 | version 1 | resource 2
    """
    request = netlink.message(
        _NFTABLES << 8 | kind, netlink.NLM_F_REQUEST | netlink.NLM_F_DUMP, bytes((family, 0, 0, 0)) + wanted
    )
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as kernel:
            kernel.settimeout(WITHIN_S)
            kernel.send(request)
            while True:
                for answer, _, body in netlink.messages(kernel.recv(1 << 17)):
                    if answer == netlink.NLMSG_ERROR:
                        (code,) = struct.unpack_from("=i", body)
                        raise OSError(-code, os.strerror(-code))
                    if answer == netlink.NLMSG_DONE:
                        return
                    yield _FAMILIES.get(body[0], str(body[0])), _inside(body[4:])
    except OSError as error:
        if error.errno in _NO_NFTABLES:
            return
        raise HostError(f"the rules of nftables could not be read ({error}).") from error


# ------------------------------------------------------------------------- iptables-legacy


def _of_legacy() -> Iterator[Killer]:
    for names in _legacy_tables():
        program = next(filter(shutil.which, names), None)
        if program is None:
            raise HostError(f"there are rules of iptables-legacy here, and no {names[0]} that shows them.")
        try:
            done = subprocess.run([program], capture_output=True, text=True, check=False, timeout=WITHIN_S)  # noqa: S603 - no shell
        except (OSError, subprocess.TimeoutExpired) as error:
            raise HostError(f"{program} did not show its rules ({error}).") from error
        yield from killers_in(done.stdout, Path(program).name.removesuffix("-save"))


def killers_in(saved: str, program: str) -> Iterator[Killer]:
    """Yield the rules in what ``iptables-save`` says that drop what is invalid.

    A chain of a user's own counts as one by which packets are forwarded.
    """
    table = ""
    for line in saved.splitlines():
        words = line.split()
        if line.startswith("*"):
            table = line[1:]
        states = [after for word, after in pairwise(words) if word in ("--ctstate", "--state")]
        is_inverted = "! --ctstate" in line or "! --state" in line
        takes = any(("INVALID" in one.split(",")) != is_inverted for one in states)
        if words[:1] == ["-A"] and takes and {"DROP", "REJECT"} & set(words):
            hook = words[1].lower() if words[1].isupper() else "forward"
            removed = f"{program} -t {table} -D {' '.join(words[1:])}"
            yield Killer((hook,), f"{program} -t {table} -S {words[1]}", removed)


def _legacy_tables() -> Iterator[tuple[str, str]]:
    """Yield, of each family that has tables of iptables-legacy, the programs that show them."""
    for file, names in zip(("ip_tables_names", "ip6_tables_names"), _LEGACY, strict=True):
        path = Path("/proc/thread-self/net", file)
        if path.exists() and path.read_text().strip():
            yield names
