"""The way to another machine on which a script is to run: ssh, a network namespace, or none at all.

Nothing need be there but a POSIX shell: the script comes on standard input, and is not begun before it has
come whole::

    local              sh -s -- ARGUMENTS
    netns:NAME         ip netns exec NAME  sh -s -- ARGUMENTS
    ssh:USER@HOST      ssh ... -l USER -- HOST  'sh -c ...', which goes on as root by ``sudo -n`` where it can

No password, passphrase or host key is ever asked for: what ssh needs beside an address stands in its own
``~/.ssh/config`` and agent.  A word of the command line becomes an argument of ``ssh`` only when it can be
nothing but a host.

*Source*: ssh(1), ssh_config(5); POSIX.1-2017, sh, option -s.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
import tempfile
from asyncio.subprocess import PIPE
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path

from dsrlb.errors import HostError, UsageError

WITHIN_S = 20.0
CONNECT_WITHIN_S = 8
MOST_BYTES = 4 << 20  # of what a script may say
GONE_WITHIN_S = 1.0  # what is killed is gone at once, unless the kernel holds it
SSH_FAILED = 255  # ssh(1): exit status 255 if an error occurred

_USER = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}"
_SSH = re.compile(rf"(?P<user>{_USER})@(?:\[(?P<v6>[^]]*)\]|(?P<host>[^]\[]*?))(?::(?P<port>[0-9]{{1,5}}))?")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})")
_NETNS = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,254}")
_KINDS = "ssh:USER@HOST[:PORT], netns:NAME or local"

# Not asked for anything, nothing forwarded, no line but errors, nothing left behind that holds the pipes.
_SSH_OPTIONS = (
    "BatchMode=yes",
    f"ConnectTimeout={CONNECT_WITHIN_S}",
    "ServerAliveInterval=5",
    "LogLevel=ERROR",
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "ControlMaster=no",
    "RemoteCommand=none",
)
_AS_ROOT = (
    '[ "$(id -u)" -eq 0 ] || ! sudo -n true >/dev/null 2>&1 || exec sudo -n sh -s -- "$@"; exec sh -s -- "$@"'
)


@dataclass(frozen=True)
class Via:
    """A way to a machine."""

    kind: str  # ssh, netns, local
    place: str  # USER@HOST[:PORT], the namespace's name, nothing

    def __str__(self) -> str:
        """The way as it is written on a command line."""
        return f"{self.kind}:{self.place}" if self.place else self.kind


@dataclass(frozen=True)
class Ran:
    """What came of a script; in what it said, signs that would steer a terminal are question marks."""

    code: int
    out: str
    err: str


def via_in(text: str) -> Via:
    """Return the way in a text; UsageError, unless a shell and ssh can take it for nothing else."""
    kind, colon, place = text.partition(":")
    if text == "local":
        return Via("local", "")
    if kind == "netns" and _NETNS.fullmatch(place):
        return Via(kind, place)
    if kind == "ssh" and colon:
        _ssh_place(text, place)
        return Via(kind, place)
    raise UsageError(f"--via {_shown(text)} is no way to a machine; write {_KINDS}")


def run_script(via: Via, script: str, arguments: Sequence[str] = (), within_s: float = WITHIN_S) -> Ran:
    """Run a POSIX shell script there; HostError if it is not to be reached, or has not ended in time."""
    return asyncio.run(ran(via, script, arguments, within_s))


async def ran(via: Via, script: str, arguments: Sequence[str] = (), within_s: float = WITHIN_S) -> Ran:
    """Run a script as ``run_script`` does, beside others."""
    words = _words(via, arguments)
    with tempfile.TemporaryFile() as whole:
        # A shell reads a group to its end before it begins it: of half a script nothing is run.
        whole.write(b"{\n" + script.encode() + b"\n}\n")
        whole.seek(0)
        try:
            process = await asyncio.create_subprocess_exec(
                *words, stdin=whole, stdout=PIPE, stderr=PIPE, start_new_session=True
            )
        except FileNotFoundError:
            package = {"ssh": "openssh-client", "ip": "iproute2"}.get(words[0], words[0])
            raise HostError(f"there is no {words[0]} command here: install {package}.") from None
        try:
            out, err = await asyncio.wait_for(_said(process, via), within_s)
        except BaseException as error:
            await _kill(process)
            if isinstance(error, asyncio.TimeoutError):
                raise HostError(f"{via} hangs: its script has not ended in {within_s:g} s.") from None
            raise
    if via.kind == "ssh" and process.returncode == SSH_FAILED:
        raise HostError(_why_not_reached(via, err))
    return Ran(process.returncode or 0, out, err)


# ----------------------------------------------------------------------------- words


def _ssh_place(text: str, place: str) -> tuple[str, str, str]:
    """Return user, host and port ("" where none is said); UsageError for what is no host."""
    user, at, rest = place.partition("@")
    if at and _is_v6(rest):  # without a port, brackets are not needed
        place = f"{user}@[{rest}]"
    match = _SSH.fullmatch(place)
    if match is None:
        raise UsageError(f"--via {_shown(text)} is not ssh:USER@HOST[:PORT]; IPv6 with a port needs brackets")
    host = match["host"] if match["v6"] is None else match["v6"]
    if not (_HOST.fullmatch(host) if match["v6"] is None else _is_v6(host)):
        raise UsageError(f"--via {_shown(text)}: {_shown(host)} is neither an address nor the name of a host")
    if match["port"] is not None and not 1 <= int(match["port"]) <= 65_535:
        raise UsageError(f"--via {_shown(text)}: port {match['port']} is not 1 to 65535")
    return match["user"], host, match["port"] or ""


def _is_v6(host: str) -> bool:
    """Tell whether a text is an IPv6 address, with the device of a link-local one as people name it."""
    with suppress(ValueError):
        scope = IPv6Address(host).scope_id
        return scope is None or re.fullmatch(r"[A-Za-z0-9._-]{1,15}", scope) is not None
    return False


def _shown(text: str) -> str:
    return repr(text[:80])


def _words(via: Via, arguments: Sequence[str]) -> list[str]:
    """Return the command that reads the script; HostError where it is known to lead nowhere."""
    words = ["sh", "-s", "--", *arguments]
    if via.kind == "local":
        return words
    if via.kind == "netns":
        if not Path("/run/netns", via.place).exists():
            raise HostError(f"there is no network namespace {via.place}; see ip netns list.")
        if os.geteuid() != 0:
            raise HostError(f"{via} needs root here: run it with sudo.")
        return ["ip", "netns", "exec", via.place, *words]
    user, host, port = _ssh_place(str(via), via.place)
    options = [word for option in _SSH_OPTIONS for word in ("-o", option)]
    there = shlex.join(["sh", "-c", _AS_ROOT, "sh", *arguments])
    return ["ssh", "-T", *options, *(["-p", port] if port else []), "-l", user, "--", host, there]


# ----------------------------------------------------------------------------- a process


async def _said(process: asyncio.subprocess.Process, via: Via) -> tuple[str, str]:
    """Return what a process says until it ends."""
    out, err = await asyncio.gather(*(_all_of(stream, via) for stream in (process.stdout, process.stderr)))
    await process.wait()
    return out, err


async def _all_of(stream: asyncio.StreamReader | None, via: Via) -> str:
    said = bytearray()
    while stream is not None and (piece := await stream.read(1 << 16)):
        said += piece
        if len(said) > MOST_BYTES:
            raise HostError(f"{via} says more than {MOST_BYTES >> 20} MB: what runs there is no shell.")
    text = said.replace(b"\r\n", b"\n").decode(errors="replace")  # ssh's own lines end so
    return "".join(map(_harmless, text))


def _harmless(sign: str) -> str:
    return sign if sign.isprintable() or sign in "\n\t" else "?"


async def _kill(process: asyncio.subprocess.Process) -> None:
    """Kill a process and what it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await asyncio.wait({asyncio.ensure_future(process.wait())}, timeout=GONE_WITHIN_S)


def _why_not_reached(via: Via, err: str) -> str:
    """Return why ssh failed as a sentence, with what mends it."""
    lines = [line.strip() for line in err.splitlines() if line.strip()]
    last = lines[-1].rstrip(".") if lines else "ssh says nothing"
    user, host, port = _ssh_place(str(via), via.place)
    place = f"-p {port} {user}@{host}" if port else f"{user}@{host}"
    if "IDENTIFICATION HAS CHANGED" in err:
        return f"{via} shows another host key than the one known here: find out why, before you trust it."
    if "Host key verification failed" in err:
        return f"{via}: its host key is not known here, and nobody is asked: ssh {place} once by hand."
    if "Permission denied" in last or "Too many authentication failures" in last:
        return f"{via} takes no key of yours, and no password is asked for: ssh-copy-id {place}."
    return f"{via} cannot be reached: {last.removeprefix('ssh: ')}."
