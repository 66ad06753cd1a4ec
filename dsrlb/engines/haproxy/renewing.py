"""A certificate that takes the place of the one before, in a HAProxy that goes on: no reload, nothing is cut.

*Source*: HAProxy 2.6 management guide, section 9.3 (set ssl cert, commit ssl cert), section 9.3 on payloads:
they begin behind ``<<`` and end at an empty line.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from dsrlb.engines.haproxy.runtime import command
from dsrlb.errors import HostError

MOST_CHARACTERS = 15_000  # of one command; HAProxy has a buffer of 16 KiB for it


def renew(at: Path, file: Path, pem: str) -> None:
    """Give HAProxy another content of a file with a certificate.  HostError: it does not take it."""
    name = re.sub(r"([\\ ;])", r"\\\1", str(file))
    if len(name) + len(pem) > MOST_CHARACTERS:
        raise HostError(f"{file} is too long to be loaded without a reload.")
    said = command(at, f"set ssl cert {name} <<\n{pem}")
    if "Transaction" in said:
        said = command(at, f"commit ssl cert {name}")
    if "Success" not in said:
        with suppress(HostError):
            command(at, f"abort ssl cert {name}")
        raise HostError(f"{file} is not loaded without a reload ({' '.join(said.split())[:200]}).")
