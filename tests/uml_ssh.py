"""A real sshd on a UML, and for whoever is on this side an ``ssh`` that it lets in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab_far import SSH, SSHD, unlock_root
from lab_wire import eventually
from uml_machine import DEADLINE_S, Machine

from dsrlb.lab.topology import run

OPTIONS = ("StrictModes no", "UsePAM no", "PidFile none", "PermitRootLogin yes", "LogLevel ERROR")


@contextmanager
def reached_by_ssh(machine: Machine, folder: Path) -> Iterator[None]:
    """Let root in there by a key, and PATH here begin with an ``ssh`` that has it."""
    for key in ("host", "client"):
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)])
    own = f"HostKey {folder}/host\nAuthorizedKeysFile {folder}/client.pub\n"
    (folder / "sshd_config").write_text(own + "\n".join(OPTIONS) + "\n")
    shadow = folder / "shadow"
    shadow.write_text(Path("/etc/shadow").read_text())
    unlock_root(shadow)
    machine.run("mount", "--bind", str(shadow), "/etc/shadow")
    machine.run("mkdir", "-p", "/run/sshd")
    machine.start(SSHD, "-D", "-e", "-f", str(folder / "sshd_config"))
    assert eventually(lambda: machine.run("ss", "-Hltn", "sport = :22"), DEADLINE_S)
    ssh = folder / "bin/ssh"
    ssh.parent.mkdir()
    trusting = "-F none -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
    ssh.write_text(f'#!/bin/sh\nexec {SSH} {trusting} -i {folder}/client "$@"\n')
    ssh.chmod(0o755)
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{ssh.parent}:{before}"
    try:
        yield
    finally:
        os.environ["PATH"] = before
