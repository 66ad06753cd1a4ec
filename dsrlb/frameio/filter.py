"""The in-kernel filter: a classic BPF program that lets through only what concerns the VIPs.

A program is a list of ``(code, jt, jf, k)``, the fields of ``struct sock_filter``.  Classic BPF jumps
forward only, so a program is put together from pieces that know nothing of their place: each piece
either returns or falls out of its end ("no match").  Conditional jumps reach 255 instructions; a longer
way goes through a ``JA``, whose reach is 32 bits.

Registers: ``A`` value under test, ``X`` length of the link header (14, 18 or 22 with VLAN tags),
``M[0..3]`` the four words of the IPv6 address under test.

*Source*: linux/filter.h, linux/bpf_common.h, Documentation/networking/filter.rst.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from dsrlb.model import V4_MAPPED

Instruction = tuple[int, int, int, int]
Program = list[Instruction]
Words = tuple[int, ...]  # the four of an IPv6 address

INSTRUCTIONS_MAX = 4096  # BPF_MAXINSNS
LINEAR_MAX = 8  # values compared one after the other before a search splits them

LOAD_ABS_WORD, LOAD_ABS_HALF = 0x20, 0x28  # A = frame[k]
LOAD_WORD, LOAD_HALF, LOAD_BYTE = 0x40, 0x48, 0x50  # A = frame[X + k]
LOAD_SCRATCH, STORE_SCRATCH = 0x60, 0x02  # A = M[k], M[k] = A
SET_X, TAKE_X = 0x01, 0x07  # X = k, X = A
AND, SHIFT_LEFT, ADD_X = 0x54, 0x64, 0x0C  # A &= k, A <<= k, A += X
JUMP, JUMP_EQUAL, JUMP_GREATER, JUMP_NOT_BELOW = 0x05, 0x15, 0x25, 0x35
RETURN = 0x06

ACCEPT: Instruction = (RETURN, 0, 0, 0xFFFFFFFF)  # the whole frame, however long
REJECT: Instruction = (RETURN, 0, 0, 0)
MISS: Instruction = (JUMP, 0, 0, -1)  # to the end of the piece that it is in, see ``_or_go_on``

PACKET_TYPE_AT = 0xFFFFF000 + 4  # SKF_AD_OFF + SKF_AD_PKTTYPE
PACKET_MULTICAST = 2  # PACKET_HOST 0, PACKET_BROADCAST 1; above: other hosts' and outgoing frames
ETHERTYPE_IPV4, ETHERTYPE_ARP, ETHERTYPE_IPV6 = 0x0800, 0x0806, 0x86DD
ETHERTYPE_VLAN, ETHERTYPE_QINQ = 0x8100, 0x88A8


@dataclass(frozen=True)
class Interest:
    """Which frames are wanted; addresses of 16 bytes."""

    vips: tuple[bytes, ...] = ()
    errors_to: tuple[bytes, ...] = ()  # addresses of this host, errors to which are about what it sends
    servers: tuple[bytes, ...] = ()  # whose answers pass here


def wanted(interest: Interest) -> Program:
    """Return the program that accepts the frames of an interest, and no others.

    Accepted, bare or behind one or two VLAN tags, if addressed to this host, broadcast or multicast:

    - IPv4 and IPv6 packets with a VIP as destination;
    - ARP with a VIP as sender or target;
    - ICMPv6 neighbour solicitations and advertisements with a VIP as *target*, whatever their destination
      (and none with another target: not even one sent to a VIP);
    - ICMP and ICMPv6 errors to an address of ``errors_to``;
    - IPv4 and IPv6 packets from one of ``servers``, but of ICMP only errors that quote a packet to one.

    About 400 IPv6 VIPs or 800 IPv4 VIPs fit.  With more, the result is ``coarse``.
    """
    v4 = (sorted(_number(one) for one in some if _is_v4(one)) for some in _parts(interest))
    v6 = (sorted(_words(one) for one in some if not _is_v4(one)) for some in _parts(interest))
    program = [*_link(), *_when(ETHERTYPE_IPV6, _ipv6(*v6)), *_ipv4(*v4), REJECT]
    return program if len(program) <= INSTRUCTIONS_MAX else coarse(interest)


def coarse(interest: Interest) -> Program:
    """Return the program that accepts every IP packet (and ARP) of the families of an interest.

    For kernels or interests that do not take the exact filter: correct, but Python sees more frames.
    """
    families = {_is_v4(one) for some in _parts(interest) for one in some}
    kinds = (ETHERTYPE_IPV4, ETHERTYPE_ARP) * (True in families) + (ETHERTYPE_IPV6,) * (False in families)
    return [*_link(), *_search([(kind, [ACCEPT]) for kind in kinds]), REJECT]


def _parts(interest: Interest) -> tuple[set[bytes], ...]:
    return set(interest.vips), set(interest.errors_to), set(interest.servers)


def _is_v4(address: bytes) -> bool:
    return address.startswith(V4_MAPPED)


def _number(address: bytes) -> int:
    return int.from_bytes(address[12:], "big")


def _words(address: bytes) -> Words:
    return tuple(int.from_bytes(address[i : i + 4], "big") for i in (0, 4, 8, 12))


def _link() -> Program:
    """Reject frames not for us; then A = EtherType, X = length of the link header."""
    return [
        (LOAD_ABS_WORD, 0, 0, PACKET_TYPE_AT),
        (JUMP_GREATER, 0, 1, PACKET_MULTICAST),
        REJECT,
        (SET_X, 0, 0, 14),
        (LOAD_ABS_HALF, 0, 0, 12),
        (JUMP_EQUAL, 1, 0, ETHERTYPE_VLAN),
        (JUMP_EQUAL, 0, 6, ETHERTYPE_QINQ),
        (SET_X, 0, 0, 18),
        (LOAD_ABS_HALF, 0, 0, 16),
        (JUMP_EQUAL, 1, 0, ETHERTYPE_VLAN),
        (JUMP_EQUAL, 0, 2, ETHERTYPE_QINQ),
        (SET_X, 0, 0, 22),
        (LOAD_ABS_HALF, 0, 0, 20),
    ]


def _ipv4(vips: Sequence[int], errors_to: Sequence[int], servers: Sequence[int]) -> Program:
    """IPv4 and ARP; the search for VIPs serves both, with A = destination or A = ARP target."""
    if not vips and not errors_to and not servers:
        return []
    search = _search([(vip, [ACCEPT]) for vip in vips])
    arp: Program = [
        (JUMP_EQUAL, 1, 0, ETHERTYPE_ARP),
        REJECT,
        (LOAD_WORD, 0, 0, 2),  # protocol and the lengths of both addresses
        (JUMP_EQUAL, 1, 0, 0x08000604),
        REJECT,
        (LOAD_WORD, 0, 0, 14),
        *search,
        (LOAD_WORD, 0, 0, 24),
    ]
    head: Program = [(JUMP_EQUAL, 0, 2, ETHERTYPE_IPV4), (LOAD_WORD, 0, 0, 16), (JUMP, 0, 0, len(arp))]
    return [*head, *arp, *search, *_ipv4_errors(errors_to), *_ipv4_servers(servers)]


def _ipv4_servers(servers: Sequence[int]) -> Program:
    """What servers send, and errors about what they were sent; the search serves both.

    ARP gets here as well when it is for no VIP, and is told by its first byte.
    """
    if not servers:
        return []
    load_quoted: Program = [
        (LOAD_BYTE, 0, 0, 0),
        (AND, 0, 0, 0x0F),
        (SHIFT_LEFT, 0, 0, 2),
        (ADD_X, 0, 0, 0),
        (TAKE_X, 0, 0, 0),  # X = where the ICMP message begins
        (LOAD_BYTE, 0, 0, 0),
        (JUMP_EQUAL, 3, 0, 3),
        (JUMP_EQUAL, 2, 0, 11),
        (JUMP_EQUAL, 1, 0, 12),
        REJECT,
        (LOAD_WORD, 0, 0, 8 + 16),
        (JUMP, 0, 0, 1),
    ]
    return [
        (LOAD_BYTE, 0, 0, 0),
        (JUMP_NOT_BELOW, 1, 0, 0x45),
        REJECT,
        (LOAD_BYTE, 0, 0, 9),
        (JUMP_EQUAL, 0, len(load_quoted), 1),
        *load_quoted,
        (LOAD_WORD, 0, 0, 12),
        *_search([(server, [ACCEPT]) for server in servers]),
    ]


def _ipv4_errors(errors_to: Sequence[int]) -> Program:
    """ICMP errors; an IPv4 header with options is taken for one that precedes an error.

    ARP gets here as well when it is for no VIP: its bytes are read as if they were IPv4, which at worst
    lets a frame through.
    """
    if not errors_to:
        return []
    is_error: Program = [
        (LOAD_BYTE, 0, 0, 9),
        (JUMP_EQUAL, 1, 0, 1),
        REJECT,
        (LOAD_BYTE, 0, 0, 0),
        (JUMP_EQUAL, 1, 0, 0x45),
        ACCEPT,
        (LOAD_BYTE, 0, 0, 20),
        *_search([(kind, [ACCEPT]) for kind in (3, 11, 12)]),
        REJECT,
    ]
    return [(LOAD_WORD, 0, 0, 16), *_search([(address, is_error) for address in errors_to])]


def _ipv6(vips: Sequence[Words], errors_to: Sequence[Words], servers: Sequence[Words]) -> Program:
    """IPv6: the target of neighbour discovery, source and destination of everything else."""
    if not vips and not errors_to and not servers:
        return [REJECT]
    load_target, load_destination = _load_address(48), _load_address(24)
    errors = _ipv6_errors(errors_to)
    return [
        (LOAD_BYTE, 0, 0, 6),
        (JUMP_EQUAL, 0, 4 + len(load_target), 58),  # not ICMPv6: its destination counts
        (LOAD_BYTE, 0, 0, 40),
        (JUMP_EQUAL, 1, 0, 135),
        (JUMP_EQUAL, 0, 1 + len(load_target), 136),
        *load_target,
        (JUMP, 0, 0, len(load_destination) + len(errors)),
        *load_destination,
        *errors,
        *(_or_go_on(_match_words(vips, (3, 2, 1, 0), MISS)) if vips else []),
        *_ipv6_servers(servers),
        REJECT,
    ]


def _ipv6_servers(servers: Sequence[Words]) -> Program:
    """What servers send, and errors (types below 128) about what they were sent; one match serves both."""
    if not servers:
        return []
    load_quoted, load_source = _load_address(40 + 8 + 24), _load_address(8)
    return [
        (LOAD_BYTE, 0, 0, 6),
        (JUMP_EQUAL, 0, 4 + len(load_quoted), 58),
        (LOAD_BYTE, 0, 0, 40),
        (JUMP_NOT_BELOW, 0, 1, 128),
        REJECT,
        *load_quoted,
        (JUMP, 0, 0, len(load_source)),
        *load_source,
        *_match_words(servers, (3, 2, 1, 0)),
    ]


def _ipv6_errors(errors_to: Sequence[Words]) -> Program:
    """ICMPv6 errors, whose types are below 128, to one of a few addresses."""
    if not errors_to:
        return []
    checks = [step for address in errors_to for step in _is_address(address)]
    return [
        (LOAD_BYTE, 0, 0, 6),
        (JUMP_EQUAL, 1, 0, 58),
        (JUMP, 0, 0, 3 + len(checks)),
        (LOAD_BYTE, 0, 0, 40),
        (JUMP_NOT_BELOW, 0, 1, 128),
        (JUMP, 0, 0, len(checks)),
        *checks,
    ]


def _is_address(words: Words) -> Program:
    """Accept if M[0..3] is this address; else fall out of the end."""
    return [
        step for i in (3, 2, 1, 0) for step in ((LOAD_SCRATCH, 0, 0, i), (JUMP_EQUAL, 0, 2 * i + 1, words[i]))
    ] + [ACCEPT]


def _load_address(at: int) -> Program:
    """M[0..3] = the 16 bytes at ``at`` behind the link header."""
    return [step for i in range(4) for step in ((LOAD_WORD, 0, 0, at + 4 * i), (STORE_SCRATCH, 0, 0, i))]


def _match_words(vips: Sequence[Words], order: tuple[int, ...], otherwise: Instruction = REJECT) -> Program:
    """Accept if M[0..3] is one of ``vips``; the words are compared in ``order`` (the last differs most).

    What is none of them gets to ``otherwise``, or falls out of the end.
    """
    if not order:
        return [ACCEPT]
    first, rest = order[0], order[1:]
    by_word = groupby(sorted(vips, key=lambda vip: vip[first]), key=lambda vip: vip[first])
    groups = [(value, list(group)) for value, group in by_word]
    stop = [otherwise] if rest and len(groups) > 1 else []  # a lone hit may fall out: nothing else is there
    hits = [(value, [*_match_words(group, rest, otherwise), *stop]) for value, group in groups]
    return [(LOAD_SCRATCH, 0, 0, first), *_search(hits)]


def _or_go_on(piece: Program) -> Program:
    """Return a piece whose every MISS leads to its end."""
    return [(JUMP, 0, 0, len(piece) - at - 1) if step == MISS else step for at, step in enumerate(piece)]


def _search(hits: Sequence[tuple[int, Program]]) -> Program:
    """Run the program that goes with the value in A; fall out of the end if there is none.

    ``hits`` is sorted by value for a binary search.  The programs must not fall out of their end.
    """
    if len(hits) <= LINEAR_MAX:
        return [step for value, hit in hits for step in _when(value, hit)]
    middle = len(hits) // 2
    lower, upper = _search(hits[:middle]), _search(hits[middle:])
    split: Program = [(JUMP_NOT_BELOW, 0, 1, hits[middle][0]), (JUMP, 0, 0, len(lower) + 1)]
    return [*split, *lower, (JUMP, 0, 0, len(upper)), *upper]


def _when(value: int, hit: Program) -> Program:
    if len(hit) <= 255:
        return [(JUMP_EQUAL, 0, len(hit), value), *hit]
    return [(JUMP_EQUAL, 1, 0, value), (JUMP, 0, 0, len(hit)), *hit]
