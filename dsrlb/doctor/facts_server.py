"""What a real server says of itself, by ``server.sh`` there.

::

    link 2: e0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 … link/ether 02:00:c6:12:01:11 …   ip -o link
    address 1: lo    inet 198.18.1.100/32 scope global lo …                                  ip -o address
    route default4 default via 198.18.1.1 dev e0 advmss 1440           default4, default6 or an address
    by 198.18.1.10 198.18.0.0/24 dev e0                                what goes by that gateway
    sysctl ipv4/conf/all/arp_ignore 1
    listen tcp 00000000:0050                                           as in /proc/net/tcp
    filter e0 filter protocol all pref 49 bpf … dsrlb_decap …          tc filter show
    count TcpExt: SyncookiesSent …                                     names, and then their numbers
    end                                                                else it was cut short

A server without ``ip`` says ``device``, ``fib_trie`` and ``if_inet6`` in place of the first two, and ``rt``,
the lines of /proc/net/route, which there are always.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_address, ip_interface
from pathlib import Path
from typing import Any

from dsrlb.doctor.saying import said_whole
from dsrlb.errors import HostError
from dsrlb.host.via import Via
from dsrlb.model import Address

SCRIPT = Path(__file__).with_name("server.sh")
DEFAULT4, DEFAULT6 = "default4", "default6"
_KINDS = {"1": "ether", "768": "ipip", "769": "tunnel6", "772": "loopback", "776": "sit"}  # linux/if_arp.h
_IFF = {0x1: "UP", 0x80: "NOARP"}  # linux/if.h
_TABLES = {"tcp": ("tcp", 4), "tcp6": ("tcp", 6), "udp": ("udp", 4), "udp6": ("udp", 6)}
Lines = Mapping[str, Sequence[str]]
Interface = IPv4Interface | IPv6Interface


@dataclass(frozen=True)
class Device:
    """A network device."""

    name: str
    flags: frozenset[str]
    mtu_bytes: int
    kind: str  # as ip says it: ether, loopback, ipip, sit …
    mac: str


@dataclass(frozen=True)
class Held:
    """An address of the server."""

    device: str  # empty: it was not to be told
    address: Interface


@dataclass(frozen=True)
class Road:
    """A route of the server."""

    gateway: Address | None
    device: str
    advmss: int | None  # None: it says nothing of it
    mtu_bytes: int | None
    words: str  # as ip route takes it


@dataclass(frozen=True)
class Listener:
    """A socket that takes what comes."""

    protocol: str
    address: Address
    port: int


@dataclass(frozen=True)
class ServerFacts:
    """A real server as it is."""

    devices: Mapping[str, Device]
    addresses: tuple[Held, ...]
    roads: Mapping[str, Road]  # by ``DEFAULT4``, ``DEFAULT6``, or the address asked for
    by_gateway: Mapping[str, tuple[str, ...]]  # networks that go by a gateway asked for
    sysctls: Mapping[str, int]
    listeners: tuple[Listener, ...]
    programs: Mapping[str, str] | None  # what tc says of the programs on a device's way in; None: no tc
    counters: Mapping[str, int]  # TcpExt.ListenDrops

    def setting(self, name: str, device: str) -> int:
        """Return the setting of IPv4 that holds for a device: the greater of its own and that of all."""
        return max(self.sysctls.get(f"ipv4/conf/{one}/{name}", 0) for one in ("all", device))

    def device_of(self, address: Address) -> str:
        """Return the device that has an address; empty if there is none, or it is not known."""
        return next((one.device for one in self.addresses if one.address.ip == address), "")

    def road_to(self, client: Address | None, version: int) -> Road | None:
        """Return the way to a client, or where none is named the default route."""
        default = self.roads.get(DEFAULT4 if version == 4 else DEFAULT6)
        return default if client is None else self.roads.get(str(client), default)


async def facts_at(via: Via, clients: Sequence[Address], gateways: Sequence[Address]) -> ServerFacts:
    """Return the facts of the server there.  Raises HostError."""
    words = [*(f"from={one}" for one in clients), *(f"by={one}" for one in gateways)]
    said = await said_whole(via, SCRIPT, words, "what the server is like")
    facts = facts_in(said.out)
    if not facts.addresses:  # not even that of lo: a tool there does not do what it should
        last = next(reversed(said.err.splitlines()), "that takes sed, and ip or /proc")
        raise HostError(f"{via} did not say which addresses the server has: {last[:120]}")
    return facts


def facts_in(text: str) -> ServerFacts:
    """Return the facts in what the script said.  Lines that nobody could read are left out."""
    lines: dict[str, list[str]] = defaultdict(list)
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        lines[word].append(rest)
    order = "little" if lines["order"] in ([], ["0001"], [""]) else "big"
    return ServerFacts(
        devices={one.name: one for one in _devices(lines)},
        addresses=tuple(dict.fromkeys(_addresses(lines))),
        roads=_roads(lines, order),
        by_gateway=_by_gateway(lines["by"]),
        sysctls=dict(_read(lines["sysctl"], _setting)),
        listeners=tuple(_read(lines["listen"], lambda row: _listener(row, order))),
        programs=_programs(lines["filter"]) if lines["tc"] else None,
        counters=dict(_counters(lines["count"])),
    )


def _read(rows: Iterable[str], read: Callable[[str], Any]) -> Iterator[Any]:
    """Yield what is read in each row, but for those that cannot be read."""
    for row in rows:
        with suppress(ValueError, LookupError):
            yield read(row)


def _matched(pattern: str, row: str) -> tuple[str, ...]:
    match = re.match(pattern, row)
    if match is None:
        raise ValueError(row)
    return match.groups("")


def _devices(lines: Lines) -> Iterator[Device]:
    yield from _read(lines["link"], _device_of_ip)
    yield from _read(lines["device"], _device_of_sys)


def _device_of_ip(row: str) -> Device:
    pattern = r"\d+: ([^:@\s]+)[^:]*: <([^>]*)> mtu (\d+).*?link/(\S+)(?: ([0-9a-f:]+))?"
    name, flags, mtu, kind, mac = _matched(pattern, row)
    return Device(name, frozenset(flags.split(",")), int(mtu), kind, mac)


def _device_of_sys(row: str) -> Device:
    name, flags, mtu, kind, *rest = row.split()
    named = frozenset(word for bit, word in _IFF.items() if int(flags, 16) & bit)
    return Device(name, named, int(mtu), _KINDS.get(kind, ""), "".join(rest))


def _addresses(lines: Lines) -> Iterator[Held]:
    yield from _read(lines["address"], _held_of_ip)
    yield from _read(lines["if_inet6"], _held_of_inet6)
    pairs = zip(lines["fib_trie"], lines["fib_trie"][1:], strict=False)
    yield from _read((line for line, behind in pairs if "host LOCAL" in behind), _held_of_trie)


def _held_of_ip(row: str) -> Held:
    device, address, peer = _matched(r"\d+: (\S+)\s+inet6? (\S+)(?: peer (\S+))?", row)
    return Held(device, ip_interface(address + ("/" + peer.partition("/")[2] if peer else "")))


def _held_of_inet6(row: str) -> Held:
    """Return what a row of address, index, prefix length, scope, flags and name says."""
    digits, _, length, _, _, device = row.split()
    return Held(device, IPv6Interface((int(digits, 16), int(length, 16))))


def _held_of_trie(row: str) -> Held:
    address = IPv4Interface(row.split()[-1])
    return Held("lo" if address.ip.is_loopback else "", address)


def _roads(lines: Lines, order: str) -> dict[str, Road]:
    """Return the roads; of several to the same place the one of the least metric."""
    by_ip: dict[str, Road] = {}
    for _, word, route in sorted(_read(lines["route"], _ranked)):
        by_ip.setdefault(word, road_in(route))
    rows = sorted(_read(lines["rt"], lambda row: _from_table(row, order)))
    table = {DEFAULT4: road_in(rows[0][1])} if rows else {}
    if table and DEFAULT4 in by_ip and table[DEFAULT4].advmss is not None:
        del by_ip[DEFAULT4]  # busybox's ip does not say the MSS
    return {**table, **by_ip}


def _ranked(row: str) -> tuple[int, str, str]:
    word, _, route = row.partition(" ")
    if not route.strip():
        raise ValueError(row)
    match = re.search(r" metric ([0-9]{1,10})\b", row)
    return int(match[1]) if match else 0, word, route


def road_in(route: str) -> Road:
    """Return the road in a line of ``ip route``."""
    words = " ".join(word for word in route.replace("\\", " ").split() if word not in ("linkdown", "onlink"))
    found = dict(re.findall(r"\b(via|dev|advmss|mtu) (?:inet6 )?(\S+)", words))
    gateway = None
    with suppress(ValueError):
        gateway = ip_address(found.get("via", ""))
    advmss, mtu = (_size(found.get(key, "")) for key in ("advmss", "mtu"))
    return Road(gateway, found.get("dev", ""), advmss, mtu, words)


def _size(word: str) -> int | None:
    return int(word) if re.fullmatch(r"[0-9]{1,6}", word) else None


def _from_table(row: str, order: str) -> tuple[int, str]:
    """Return metric and words of a default route in /proc/net/route, whose column MTU is the MSS and 40."""
    device, to, gateway, _, _, _, metric, mask, mss, *_ = row.split()
    if (to, mask) != ("00000000", "00000000"):
        raise ValueError(row)
    address = IPv4Address(_word(gateway, order))
    words = f"default{f' via {address}' if int(address) else ''} dev {device}"
    words += f" metric {metric}" if int(metric) else ""
    return int(metric), words + (f" advmss {int(mss) - 40}" if int(mss) else "")


def _word(digits: str, order: str) -> bytes:
    number = bytes.fromhex(digits)
    return number[::-1] if order == "little" else number


def _by_gateway(rows: Sequence[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for row in rows:
        gateway, network, *_ = [*row.split(), "", ""]
        found[gateway] = (*found.get(gateway, ()), network)
    return found


def _setting(row: str) -> tuple[str, int]:
    name, _, value = row.rpartition(" ")
    return name, int(value)


def _listener(row: str, order: str) -> Listener:
    """Return a socket; the kernel writes an address as numbers of 32 bits in its own order of bytes."""
    table, place = row.split()
    digits, _, port = place.partition(":")
    protocol, version = _TABLES[table]
    packed = b"".join(_word(digits[at : at + 8], order) for at in range(0, len(digits), 8))
    return Listener(protocol, IPv4Address(packed) if version == 4 else IPv6Address(packed), int(port, 16))


def _programs(rows: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for row in rows:
        device, _, rest = row.partition(" ")
        found[device] = f"{found.get(device, '')}{rest}\n"
    return found


def _counters(rows: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Yield the numbers of /proc/net/snmp and netstat: a line of names, and a line of their numbers."""
    for names, numbers in zip(rows[::2], rows[1::2], strict=False):
        group, *words = names.split()
        for word, number in zip(words, numbers.split()[1:], strict=False):
            with suppress(ValueError):
                yield f"{group}{word}".replace(":", "."), int(number)
