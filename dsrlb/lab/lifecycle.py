"""A lab from nothing to standing, and from any state to nothing."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from dsrlb.lab import build, processes, proxies, servers, xdp
from dsrlb.lab.commands import require_root
from dsrlb.lab.topology import DEFAULT_PREFIX, RUN_ROOT, Lab


def up(lab: Lab) -> None:
    """Build the lab and start its servers; what was left of an earlier one of this prefix goes first."""
    down(lab.prefix)
    try:
        _make(lab.run_directory)
        build.build(lab)
        servers.prepare(lab)
        servers.start_all(lab)
        proxies.start_all(lab)
    except BaseException:  # an interrupt as well: half a lab is of no use to anybody
        down(lab.prefix)
        raise


def down(prefix: str = DEFAULT_PREFIX) -> None:
    """Remove every trace of the labs of a prefix: processes, namespaces, files; from any state."""
    require_root()
    directory = Lab(prefix).run_directory
    processes.stop_all(prefix)
    servers.forget(prefix)
    build.remove(prefix)
    xdp.unmount(Lab(prefix))
    shutil.rmtree(directory, ignore_errors=True)
    with contextlib.suppress(OSError):  # another lab still stands, and may be about to note something
        RUN_ROOT.rmdir()
        servers.forget_all()


def _make(directory: Path) -> None:
    while not directory.is_dir():
        with contextlib.suppress(FileNotFoundError):  # another lab's end took the directory above
            directory.mkdir(parents=True)


@contextlib.contextmanager
def standing(lab: Lab) -> Iterator[Lab]:
    """Hold a lab up for the length of a block."""
    up(lab)
    try:
        yield lab
    finally:
        down(lab.prefix)
