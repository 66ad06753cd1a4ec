"""``http``, ``https``: a request is answered with the right status, and perhaps the right body.

No more than 64 KiB of an answer are read.  Certificates are not verified, unless that is asked for: the check
asks whether the server works, and often by another name than its clients'.

*Source*: RFC 9112, sections 2.1, 4, 6.3, 7.1 (message, status line, length of the body, chunks).
"""

from __future__ import annotations

import re
from ipaddress import ip_address

from dsrlb.health.base import Failed, Kind, Open, Subject
from dsrlb.health.stream import Stream, connected
from dsrlb.model import Address, Check

HEAD_END = b"\r\n\r\n"
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])[ \r]")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*\r", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[^\r]*chunked[ \t]*\r", re.IGNORECASE)
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})[^\r\n]*\r\n")
OPTIONS = frozenset(("path", "host", "headers", "status", "body"))


def request(check: Check, vip: Address) -> bytes:
    """Return the request that a check sends."""
    host = check.host or (f"[{vip}]" if vip.version == 6 else str(vip))
    given = {name.lower() for name, _ in check.headers}
    own = (("Host", host), ("User-Agent", "dsrlb-check"), ("Accept", "*/*"), ("Connection", "close"))
    headers = [*((name, value) for name, value in own if name.lower() not in given), *check.headers]
    lines = [f"GET {check.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join(lines).encode("latin-1") + HEAD_END


def server_name(check: Check) -> str:
    """Return the name to ask for in TLS; none if all there is is an address (RFC 6066, section 3)."""
    name = check.sni or re.sub(r":[0-9]+$", "", check.host)
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return name
    return ""


async def _ask(subject: Subject, open_to: Open, tls_name: str | None = None) -> None:
    check = subject.check
    async with connected(subject, open_to, tls_name) as stream:
        await stream.send(request(check, subject.vip))
        got = await stream.receive_until(lambda so_far: HEAD_END in so_far)
        head, end, start = got.partition(HEAD_END)
        _require_status(head + b"\r", bool(end), check)
        if check.body:
            body = await _body(stream, head + b"\r", start)
            if check.body.encode() not in body:
                raise Failed("bad_body", f"{len(body)} bytes without what is expected")


def _require_status(head: bytes, is_whole: bool, check: Check) -> None:
    match = _STATUS.match(head)
    if match is None or not is_whole:
        raise Failed("bad_answer", "not HTTP" if len(head) > 1 else "closed without an answer")
    status = int(match[1])
    if not any(least <= status <= most for least, most in check.status):
        raise Failed("bad_status", str(status))


async def _body(stream: Stream, head: bytes, start: bytes) -> bytes:
    """Return the body, or as much of it as is read."""
    if _CHUNKED.search(head):
        return unchunked(await stream.receive_until(lambda so_far: so_far.endswith(b"0\r\n\r\n"), start))
    length = _LENGTH.search(head)
    if length is None:
        return await stream.receive_until(lambda _: False, start)
    most = int(length[1])
    return (await stream.receive_until(lambda so_far: len(so_far) >= most, start))[:most]


def unchunked(raw: bytes) -> bytes:
    """Return the content of chunks, up to the last one or to where they are none."""
    at, content = 0, b""
    while (match := _CHUNK.match(raw, at)) and (size := int(match[1], 16)):
        content += raw[match.end() : match.end() + size]
        at = match.end() + size + 2
    return content


async def _ask_by_tls(subject: Subject, open_to: Open) -> None:
    name = server_name(subject.check)
    await _ask(subject, open_to, name or (str(subject.vip) if subject.check.verify else ""))


HTTP = Kind("http", _ask, OPTIONS)
HTTPS = Kind("https", _ask_by_tls, OPTIONS | {"sni", "verify"})
