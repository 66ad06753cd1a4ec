"""``ipvsadm -S``: a line for each virtual service and each of its real servers.

::

    -A -t 198.18.1.100:80 -s wlc -p 300 -M 255.255.255.0
    -a -t 198.18.1.100:80 -r 198.18.1.11:80 -g -w 1

Lines of a shell script that call ipvsadm do as well.

*Source*: ipvsadm(8), version 1.31.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import replace

from dsrlb.errors import ConfigError
from dsrlb.importing.found import NAT, ROUTE, TUNNEL, Found, Server, Virtual
from dsrlb.importing.words import no_mark, persist_in, place_in, tunnel_of
from dsrlb.model import Address

PROTOCOLS = {"-t": "tcp", "-u": "udp"}
MODES = {"-g": ROUTE, "-i": TUNNEL, "-m": NAT}
LONG = {
    "--add-service": "-A", "--edit-service": "-E", "--add-server": "-a", "--edit-server": "-e",
    "--delete-service": "-D", "--delete-server": "-d", "--clear": "-C",
    "--tcp-service": "-t", "--udp-service": "-u", "--fwmark-service": "-f",
    "--scheduler": "-s", "--persistent": "-p", "--netmask": "-M", "--pe": "--pe", "--sched-flags": "-b",
    "--real-server": "-r", "--gatewaying": "-g", "--ipip": "-i", "--masquerading": "-m", "--weight": "-w",
    "--u-threshold": "-x", "--l-threshold": "-y", "--ops": "-o", "--ipv6": "-6",
}  # fmt: skip
COMMANDS = ("-A", "-E", "-a", "-e", "-D", "-d", "-C")
FLAGS = ("-g", "-i", "-m", "-o", "-6", "--tun-nocsum", "--tun-csum", "--tun-remcsum")
VALUED = ("-t", "-u", "-f", "-s", "-p", "-M", "-r", "-w", "-x", "-y", "-b")  # their value may stand close by
PERSIST_S = "300"  # what ipvsadm takes for -p without a number
IGNORED = ("-6", "--tun-nocsum", "--tun-csum", "--tun-remcsum", "-r", "-w", "-b", "--tun-type", "--tun-port")
NO_EQUIVALENT = {
    "-x": "an upper threshold of connections (-x) has no equivalent in modes that forward packets",
    "-y": "a lower threshold of connections (-y) has no equivalent",
    "-o": "one-packet scheduling (-o) has no equivalent: datagrams of a flow go to one server",
    "--pe": "a persistence engine (--pe) has no equivalent",
}

Words = dict[str, str]
Key = tuple[str, Address, int]


def read(text: str, name: str) -> Found:
    """Return what the lines say.  ConfigError: they are something else."""
    if text.lstrip().startswith("IP Virtual Server"):
        raise ConfigError(
            f"{name}:1: this is what ipvsadm -L prints, for people; give what ipvsadm -S -n prints"
        )
    found = Found()
    virtuals: dict[Key, Virtual] = {}
    for number, line in enumerate(text.splitlines(), 1):
        where = f"{name}:{number}"
        words = _split(line)
        if words is None:
            found.note(where, "quotes are not closed; the line is left out")
        elif words:
            _line(words, where, found, virtuals)
    found.virtuals = list(virtuals.values())
    return found


def _split(line: str) -> list[str] | None:
    """Return the words of a line, without the program's name; None: it cannot be read."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        return None
    at = next((place for place, word in enumerate(words) if word.split("/")[-1] == "ipvsadm"), -1)
    return words[at + 1 :]


def _line(words: list[str], where: str, found: Found, virtuals: dict[Key, Virtual]) -> None:
    if words[0] == "--set":
        return found.timeouts_of(where, words[1:])
    given = dict(_options(words))
    command = next((one for one in given if one in COMMANDS), None)
    if command == "-C":
        return virtuals.clear()
    if command is None or command in ("-D", "-d"):
        return found.note(
            where, f"{' '.join(words)[:100]!r} neither adds a service nor a server; it is left out"
        )
    key = _key(given, where, found)
    if key is None:
        return None
    _note_others(given, where, found)
    if command in ("-A", "-E"):
        before = virtuals.get(key)
        virtuals[key] = replace(_virtual(given, key, where, found), servers=before.servers if before else [])
    elif key not in virtuals:
        found.note(
            where, f"the service {given.get('-t') or given.get('-u')} of this server is not added before it"
        )
    else:
        _add_server(given, key, virtuals[key], where, found)
    return None


def _options(words: list[str]) -> Iterator[tuple[str, str]]:
    """Yield options with their values; a flag and -p may have none."""
    place = 0
    while place < len(words):
        name, _, value = (
            words[place].partition("=") if words[place].startswith("--") else (words[place], "", "")
        )
        if name[:1] == "-" != name[1:2] and name[2:] and name[:2] in VALUED:  # -t198.18.1.100:80
            name, value = name[:2], name[2:]
        name, place = LONG.get(name, name), place + 1
        takes = name not in FLAGS and name not in COMMANDS and not value
        if takes and place < len(words) and not words[place].startswith("-"):
            value, place = words[place], place + 1
        yield name, value


def _key(given: Words, where: str, found: Found) -> Key | None:
    """Return protocol, address and port of the service that a line is about; None, noted: dsrlb has none."""
    option = next((one for one in PROTOCOLS if one in given), None)
    place = place_in(given[option], PROTOCOLS[option]) if option is not None else None
    if option is not None and place is not None:
        return PROTOCOLS[option], *place
    if "-f" in given:
        found.note(where, no_mark(given["-f"]))
    elif option is None:
        found.note(where, "dsrlb serves TCP (-t) and UDP (-u); the line is left out")
    else:
        found.note(where, f"{given[option]!r} is no ADDR:PORT; print the lines with ipvsadm -S -n")
    return None


def _virtual(given: Words, key: Key, where: str, found: Found) -> Virtual:
    protocol, vip, port = key
    persist = ""
    if "-p" in given:
        told = persist_in(given["-p"] or PERSIST_S, given.get("-M", ""), vip)
        if told is None:
            found.note(where, f"persistence {given['-p']!r} with mask {given.get('-M', '')!r} cannot be read")
        persist = told or ""
    flags = tuple(given.get("-b", "").split(","))
    scheduler = found.scheduler(where, given.get("-s") or "wlc", flags)
    return Virtual(vip, port, protocol, where, scheduler, persist)


def _add_server(given: Words, key: Key, virtual: Virtual, where: str, found: Found) -> None:
    place, weight = place_in(given.get("-r", ""), key[0]), given.get("-w", "1")
    if place is None:
        return found.note(
            where, f"{given.get('-r', '')!r} is no ADDR:PORT; print the lines with ipvsadm -S -n"
        )
    if not weight.isdecimal() or len(weight) > 9:
        found.note(where, f"weight {weight!r} is no number; 1 is written")
        weight = "1"
    mode = next((mode for option, mode in MODES.items() if option in given), ROUTE)
    port = given.get("--tun-port", "")
    tunnel, difference = tunnel_of(given.get("--tun-type") or "ipip", int(port) if port.isdecimal() else None)
    if difference:
        found.note(where, difference)
    server = Server(*place, where, int(weight), mode, tunnel)
    others = [one for one in virtual.servers if (one.address, one.port) != place]
    virtual.servers[:] = [*others, server]
    return None


def _note_others(given: Words, where: str, found: Found) -> None:
    known = {*COMMANDS, *PROTOCOLS, *MODES, *IGNORED, "-s", "-p", "-M"}
    for option, value in given.items():
        if option in NO_EQUIVALENT and value != "0":
            found.note(where, NO_EQUIVALENT[option])
        elif option not in known and option not in NO_EQUIVALENT:
            found.note(where, f"{option!r} is not known, and left out")
