"""keepalived's checkers as checks of dsrlb's.

*Source*: keepalived.conf(5), version 2.3, LVS CONFIGURATION.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from typing import Any

from dsrlb.importing.found import Found
from dsrlb.importing.tree import Node
from dsrlb.importing.words import port_in

DELAY_LOOP_S, CONNECT_S = 60.0, 5.0
RETRIES = {"DNS_CHECK": 3, "MISC_CHECK": 0}  # of others 1
DELAY_BEFORE_RETRY_S = {"HTTP_GET": 3.0, "SSL_GET": 3.0}  # of others 1
LEAST_INTERVAL_S, LEAST_FAST_S, MOST_INTERVAL_S, MOST_FALL = 0.1, 0.05, 3600.0, 100
# Keywords of checkers that are taken over, told of, or have no need of it here.
KNOWN = {
    *("delay_loop", "connect_timeout", "retry", "nb_get_retry", "delay_before_retry", "warmup", "alpha"),
    *("connect_ip", "connect_port", "bindto", "bind_if", "bind_port", "fwmark", "log_all_failures"),
    *("url", "virtualhost", "http_protocol", "fast_recovery", "enable_sni", "sni_name", "tls_compliant"),
    *("helo_name", "type", "name", "misc_path", "misc_timeout", "misc_dynamic", "user"),
    *("payload", "require_reply", "track_file"),
}
URL_KNOWN = {
    *("path", "digest", "status_code", "virtualhost", "tls_compliant"),
    *("regex", "regex_no_match", "regex_options", "regex_stack", "regex_min_offset", "regex_max_offset"),
}
_LITERAL = re.compile(r"[^\\^$.|?*+()\[\]{}]+")

Words = dict[str, Any]
Around = tuple[Node, ...]  # the checker, its server, its service: the nearest one counts


def check_of(checker: Node, server: Node, service: Node, port: int, found: Found) -> Words | None:
    """Return the check that comes nearest to a checker; None: there is none."""
    around = (checker, server, service)
    kind = KINDS.get(checker.name)
    if kind is None:
        found.note(checker.where, f"{checker.name} has no equivalent; the server is not checked by it")
        return None
    words = kind(checker, around, found)
    if words is None:
        return None
    asked = port_in(checker.get("connect_port") or "") or 0
    if asked and asked != port:
        words |= {"port": asked, "direct": True}  # on the server itself: the VIP need not be served there
    if checker.node("connect_ip"):
        found.note(checker.where, "connect_ip has no equivalent: checks ask the server that they are about")
    inside = [(line, KNOWN) for line in checker.inside]
    inside += [(line, URL_KNOWN) for url in checker.all("url") for line in url.inside]
    for line, known in inside:
        if line.name not in known:
            found.note(line.where, f"{line.name} has no equivalent")
    for name in ("bindto", "bind_if", "bind_port", "fwmark"):
        if checker.node(name):
            found.note(checker.where, f"{name} of a check has no equivalent")
    return words | _pace(checker, around, words)


def _pace(checker: Node, around: Around, words: Words) -> Words:
    """Return how often is asked, and how often in vain."""
    interval_s = min(max(_seconds(around, "delay_loop") or DELAY_LOOP_S, LEAST_INTERVAL_S), MOST_INTERVAL_S)
    timeout_s = words.pop("timeout", None) or _seconds(around, "connect_timeout") or CONNECT_S
    retries = _seconds(around, "retry", "nb_get_retry")
    retries = RETRIES.get(checker.name, 1) if retries is None else int(retries)
    again_s = _seconds(around, "delay_before_retry")
    again_s = DELAY_BEFORE_RETRY_S.get(checker.name, 1.0) if again_s is None else again_s
    return {
        "interval": _number(interval_s),
        "timeout": _number(min(timeout_s, interval_s)),
        "rise": 1,
        "fall": min(retries + 1, MOST_FALL),
        "fast_interval": _number(min(max(again_s, LEAST_FAST_S), interval_s)),
    }


def _seconds(around: Around, *names: str) -> float | None:
    """Return a time from the nearest block that has it; None: it is nowhere, or no number."""
    for block in around:
        text = block.get(*names)
        if text is not None:
            return float(text) if re.fullmatch(r"\d{1,9}(\.\d{1,6})?", text) else None
    return None


def _number(seconds: float) -> float | int:
    return int(seconds) if seconds == int(seconds) else seconds


# ------------------------------------------------------------------------- kinds


def _tcp(checker: Node, around: Around, found: Found) -> Words:
    return {"kind": "tcp"}


def _icmp(checker: Node, around: Around, found: Found) -> Words:
    return {"kind": "icmp"}


def _smtp(checker: Node, around: Around, found: Found) -> Words:
    found.note(checker.where, "SMTP_CHECK: the greeting (220) is awaited; HELO is not said")
    return {"kind": "tcp", "expect": "220"}


def _http(checker: Node, around: Around, found: Found) -> Words:
    is_tls = checker.name == "SSL_GET"
    urls = checker.all("url") or [Node(checker.where, ["url"])]
    url = urls[0]
    for other in urls[1:]:
        found.note(other.where, f"a check has one URL; {other.get('path') or '/'} is not asked for")
    words: Words = {"kind": "https" if is_tls else "http"}
    if (path := url.get("path")) and path != "/":
        words["path"] = path
    host = next((name for one in (url, *around) if (name := one.get("virtualhost"))), None)
    if host:
        words["host"] = host
    if status := url.node("status_code"):
        words["status"] = [int(one) if one.isdecimal() else one for one in status.words[1:]]
    if is_tls and (sni := checker.get("sni_name")):
        words["sni"] = sni
    return words | _body(url, found)


def _body(url: Node, found: Found) -> Words:
    """Return what the body of an answer is to have."""
    if url.node("digest"):
        found.note(url.where, 'digest has no equivalent; name a text that the page has: body = "…"')
    regex = url.get("regex")
    if not regex:
        return {}
    if not _LITERAL.fullmatch(regex) or url.node("regex_no_match", "regex_options"):
        found.note(url.where, f'regex {regex!r} has no equivalent; name a text that the page has: body = "…"')
        return {}
    return {"body": regex}


def _dns(checker: Node, around: Around, found: Found) -> Words:
    words = {"kind": "dns", "query": checker.get("name") or "."}
    return words | {"query_type": (checker.get("type") or "SOA").upper()}


def _command(checker: Node, around: Around, found: Found) -> Words | None:
    path = checker.node("misc_path")
    try:
        command = shlex.split(" ".join(path.words[1:])) if path is not None else []
    except ValueError:
        command = []
    if not command:
        found.note(checker.where, "MISC_CHECK without a misc_path that can be read; it is left out")
        return None
    if checker.node("misc_dynamic"):
        found.note(
            checker.where, "misc_dynamic has no equivalent: a command says up (0) or down, and no weight"
        )
    if checker.node("user"):
        found.note(checker.where, "user of a MISC_CHECK has no equivalent: commands run as dsrlb does")
    timeout_s = _seconds((checker,), "misc_timeout")
    return {"kind": "command", "command": command, "timeout": timeout_s or MOST_INTERVAL_S}


def _udp(checker: Node, around: Around, found: Found) -> Words:
    words: Words = {"kind": "udp"}
    if sent := _hex(checker.node("payload")):
        words["send"] = f"hex:{sent}"
    reply = checker.node("require_reply")
    if reply is None:
        found.note(checker.where, "UDP_CHECK without require_reply: dsrlb's udp check needs an answer")
    elif len(reply.words) > 1:
        if expected := _hex(reply):
            words["expect"] = f"hex:{expected}"
        else:
            found.note(checker.where, "require_reply with X has no equivalent; any answer is right")
    return words


def _hex(line: Node | None) -> str:
    """Return keepalived's free hexadecimal digits as plain ones; empty: they are none."""
    words = line.words[1:] if line is not None else []
    if not all(re.fullmatch(r"[0-9a-fA-F]+", one) for one in words):
        return ""
    return "".join(one if len(one) % 2 == 0 else f"{one[:-1]}0{one[-1]}" for one in words).lower()


KINDS: Mapping[str, Callable[[Node, Around, Found], Words | None]] = {
    "TCP_CHECK": _tcp,
    "HTTP_GET": _http,
    "SSL_GET": _http,
    "SMTP_CHECK": _smtp,
    "DNS_CHECK": _dns,
    "MISC_CHECK": _command,
    "UDP_CHECK": _udp,
    "PING_CHECK": _icmp,
}
CHECKERS = (*KINDS, "BFD_CHECK", "FILE_CHECK")
