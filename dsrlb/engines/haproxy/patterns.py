"""Whether HAProxy takes regular expressions that Python takes: it is asked, since its PCRE differs."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from dsrlb.engines.haproxy.names import quoted
from dsrlb.engines.haproxy.program import alerts_of

_ALERT = re.compile(r"\[[^]]*:(\d+)\] : .*? is invalid \(error=(.*?)(?:, erroffset=\d+)?\)")
HEAD = ("defaults", "    mode http", "    timeout connect 1s", "    timeout server 1s")


def refused(path: str, patterns: Sequence[str]) -> dict[str, str]:
    """Return the patterns that the HAProxy at this path refuses, and why.  HostError: it cannot be asked."""
    if not patterns:
        return {}
    lines = [*HEAD, "backend patterns"]
    lines += [f"    acl p{number} path -m reg -- {quoted(one)}" for number, one in enumerate(patterns)]
    with tempfile.TemporaryDirectory(prefix="dsrlb-") as folder:
        file = Path(folder, "patterns.cfg")
        file.write_text("\n".join(lines) + "\n")
        said = alerts_of(path, file)
    first = len(lines) - len(patterns) + 1
    return {patterns[int(line) - first]: why for line, why in _ALERT.findall(said)}
