"""The scripts that are sent to a server: ``backend-setup``, and ``backend-boot`` that makes it last.

Both are plain files of this folder.  What is known only here is put in front of them as a shell function.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from dsrlb.errors import UsageError
from dsrlb.host.via import Via

FOLDER = Path(__file__).parent
_END = "END_OF_BACKEND_SETUP"
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:/,_-")


def setup_script(dsrlb: Sequence[str] = ()) -> str:
    """Return ``backend-setup``; ``dsrlb``: the words that start dsrlb there, where it is not in PATH."""
    known = f'dsrlb() {{ {shlex.join(dsrlb)} "$@"; }}\n' if dsrlb else ""
    return known + (FOLDER / "backend-setup").read_text()


def boot_script(dsrlb: Sequence[str] = ()) -> str:
    """Return ``backend-boot``, with the script that it leaves on the server."""
    script = "#!/bin/sh\n" + setup_script(dsrlb)
    return f"setup_script() {{ cat <<'{_END}'\n{script}\n{_END}\n}}\n" + (FOLDER / "backend-boot").read_text()


def boot_words(verb: str, kind: str, vips: Sequence[str], words: Sequence[str], *, plan: bool) -> list[str]:
    """Return the arguments of ``backend-boot``; UsageError for a word that a unit would read otherwise."""
    for word in words:
        if not _PLAIN.issuperset(word):
            raise UsageError(
                f"{word!r} cannot stand in a unit of --boot {kind}: it has other signs than A-Z, 0-9, .:/,_-"
            )
    return [verb, kind, "plan" if plan else "", " ".join(vips), *words]


def dsrlb_there(via: Via, said: str | None) -> tuple[str, ...]:
    """Return how dsrlb is started behind a way: as said, on this machine itself as here, else by PATH."""
    if said is not None:
        return (said,)
    if via.kind == "ssh":
        return ()
    here = Path(sys.argv[0]).absolute()
    if here.name == "dsrlb" and here.is_file() and os.access(here, os.X_OK):
        return (str(here),)
    return (sys.executable, "-m", "dsrlb")
