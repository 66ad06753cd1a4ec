"""What makes a set-up of this machine last over a reboot: the same script that goes to others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dsrlb.errors import HostError
from dsrlb.host.backend_scripts import boot_script, boot_words, dsrlb_there
from dsrlb.host.via import Via, run_script
from dsrlb.model import Address

HERE = Via("local", "")
FOLDERS = (Path("/etc/systemd/system"), Path("/etc/network/if-up.d"))  # where backend-boot writes


def boot_here(
    verb: str, kind: str, mode: str, vips: Sequence[Address], chosen: Mapping[str, Any], *, plan: bool = False
) -> list[str]:
    """Write, verify or remove it; return a line for each file.  ``chosen``: the options of the set-up."""
    if verb == "remove" and not any([*folder.glob("dsrlb-backend-*")] for folder in FOLDERS):
        return []
    words = ("--mode", mode, *_flags(chosen)) if verb != "remove" else ()
    arguments = boot_words(verb, kind, [*map(str, vips)], words, plan=plan)
    ran = run_script(HERE, boot_script(dsrlb_there(HERE, None)), arguments)
    if ran.err:
        raise HostError(ran.err.strip().splitlines()[-1].removeprefix("backend-boot: "))
    return ran.out.splitlines()


def _flags(chosen: Mapping[str, Any]) -> Iterator[str]:
    for name, value in chosen.items():
        flag = "client-net" if name == "networks" else name.replace("_", "-")
        for one in value if isinstance(value, tuple) else (value,):
            yield from (f"--{flag}", str(one))
