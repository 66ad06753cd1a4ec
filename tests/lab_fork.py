"""A dsrlb command in a fork of this process, inside a namespace: from its first line to its exit code.

Some hundred tests run such commands; each would import everything anew.
"""

from __future__ import annotations

import codecs
import logging
import os
import select
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

import scapy.utils  # noqa: F401  replay imports it late: once here, not in each fork
from lab_wire import enter

from dsrlb.cli import COMMANDS, main

DEADLINE_S = 60
LOADED = [COMMANDS[name] for name in COMMANDS]  # once here as well


def run_forked(namespace: str, *arguments: str, uid: int = 0) -> subprocess.CompletedProcess[str]:
    """Run ``dsrlb`` with these arguments to its end, as the user with that number."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        pid = os.fork()
        if pid == 0:
            become(namespace, [*arguments], uid, out.fileno(), err.fileno())
        handle = os.pidfd_open(pid)
        if not select.select([handle], [], [], DEADLINE_S)[0]:
            os.kill(pid, signal.SIGKILL)
        os.close(handle)
        _, status = os.waitpid(pid, 0)
        for stream in (out, err):
            stream.seek(0)
        code = os.waitstatus_to_exitcode(status)
        return subprocess.CompletedProcess(["dsrlb", *arguments], code, out.read(), err.read())


def become(namespace: str, arguments: Sequence[str], uid: int, out: int, err: int) -> None:
    """Become the dsrlb command; never returns."""
    try:
        with Path("/run/netns", namespace).open() as there:
            enter(there)
        codecs.lookup("ascii")  # a file, which nobody might not be allowed to read here
        if uid:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        logging.getLogger().handlers.clear()  # pytest's own
        sys.argv = ["dsrlb", *arguments]
        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # what python itself would print
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
