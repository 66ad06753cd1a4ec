"""The lab's real servers: set up for their VIP, files to serve, nginx and a Python server on each.

| port     | what answers                                             |
|----------|----------------------------------------------------------|
| 80/tcp   | nginx where installed, else :mod:`dsrlb.lab.httpd`       |
| 8080/tcp | :mod:`dsrlb.lab.httpd`: uploads, long slow downloads     |
| 5353/udp | :mod:`dsrlb.lab.httpd`: echo                             |
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from dsrlb.errors import DsrlbError
from dsrlb.host.steps_state import BASE
from dsrlb.lab.build import INODES, present
from dsrlb.lab.commands import inside
from dsrlb.lab.processes import start
from dsrlb.lab.topology import NAMESPACES, Lab

HTTP_PORT, UPLOAD_PORT, ECHO_PORT = 80, 8080, 5353
FILES = {"64k": 64 << 10, "1m": 1 << 20, "20m": 20_000_000}  # under /file/: bytes
START_DEADLINE_S = 30.0
LISTEN = "0A"  # state of a listening socket in /proc/net/tcp (include/net/tcp_states.h)

NGINX = """\
daemon off;
user root;
worker_processes 1;
pid {directory}/{name}.nginx-pid;
error_log {directory}/{name}.nginx-log warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    default_type text/plain;
    sendfile on;
    add_header X-Server {name} always;
    client_body_temp_path {directory}/{name}.nginx-body;
    server {{
        listen 0.0.0.0:80;
        {listen6}
        location / {{ return 200 "{name} $remote_addr\\n"; }}
        location /file/ {{ alias {directory}/files/; }}
    }}
}}
"""


def prepare(lab: Lab) -> None:
    """Make all that the balancer sends to real servers of the VIPs, by ``dsrlb backend setup`` there."""
    if lab.topology.setup is None:
        return
    flags = [*lab.topology.setup, *(word for vip in lab.vips for word in ("--vip", str(vip)))]
    command = [sys.executable, "-m", "dsrlb", "backend", "setup", "--mode", lab.forwards, *flags]
    together = [
        subprocess.Popen(
            inside(lab.namespace(name), *command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for name in lab.backend_names
    ]
    said = [(process.communicate()[0], process.returncode) for process in together]
    for words, code in said:
        if code:
            raise DsrlbError(f"a real server of the lab could not be set up: {' '.join(words.split()[-40:])}")


def forget(prefix: str) -> None:
    """Drop what ``dsrlb backend setup`` noted: a later namespace may get the same number."""
    numbers = {str((NAMESPACES / namespace).stat().st_ino) for namespace in present(prefix)}
    with contextlib.suppress(FileNotFoundError):
        numbers.update((Lab(prefix).run_directory / INODES).read_text().split())
    for number in numbers:
        shutil.rmtree(BASE / f"netns-{number}", ignore_errors=True)


def forget_all() -> None:
    """Remove the directories of the notes, if they are empty."""
    for directory in (BASE, BASE.parent):
        with contextlib.suppress(OSError):  # there are notes about others, or there never were any
            directory.rmdir()


def write_files(lab: Lab) -> Path:
    """Write the random files that every server offers; return their directory."""
    directory = lab.run_directory / "files"
    directory.mkdir(parents=True, exist_ok=True)
    for name, size_bytes in FILES.items():
        (directory / name).write_bytes(os.urandom(size_bytes))
    return directory


@dataclass(frozen=True)
class Program:
    """A server program that was started, and the ports it is to open."""

    name: str
    process: subprocess.Popen[bytes]
    ports: tuple[int, ...]


def start_all(lab: Lab) -> None:
    """Start the servers' programs and return when each of their ports is open."""
    files = write_files(lab)
    nginx = shutil.which("nginx")
    programs = []
    for name in lab.server_names:
        if nginx:
            programs.append(_start_nginx(lab, name, nginx))
        programs.append(_start_httpd(lab, name, files, (UPLOAD_PORT,) if nginx else (HTTP_PORT, UPLOAD_PORT)))
    deadline = time.monotonic() + START_DEADLINE_S
    for program in programs:
        _wait_listening(lab, program, deadline)


def _start_httpd(lab: Lab, name: str, files: Path, ports: tuple[int, ...]) -> Program:
    numbers = map(str, (ECHO_PORT, *ports))
    command = [sys.executable, "-m", "dsrlb.lab.httpd", name, str(files), *numbers]
    return Program(f"{name}.httpd", start(lab, name, command, f"{name}.httpd"), ports)


def _start_nginx(lab: Lab, name: str, nginx: str) -> Program:
    configuration = lab.run_directory / f"{name}.nginx-conf"
    listen6 = "listen [::]:80 ipv6only=on;" if lab.ipv6 else ""
    configuration.write_text(NGINX.format(directory=lab.run_directory, name=name, listen6=listen6))
    process = start(lab, name, [nginx, "-c", str(configuration)], f"{name}.nginx")
    return Program(f"{name}.nginx", process, (HTTP_PORT,))


def _wait_listening(lab: Lab, program: Program, deadline: float) -> None:
    while not all(_listens(program.process.pid, port, lab.ipv6) for port in program.ports):
        if program.process.poll() is not None or time.monotonic() > deadline:
            log = lab.run_directory / f"{program.name}.err"
            words = " ".join(log.read_text().split()[-40:])
            raise DsrlbError(f"the lab's server program {program.name} did not start: {words}")
        time.sleep(0.01)


def _listens(pid: int, port: int, ipv6: bool) -> bool:
    """Look through the process's own /proc/net: that shows its namespace without entering it."""
    for table in ("tcp", "tcp6") if ipv6 else ("tcp",):
        try:
            rows = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
        except OSError:
            return False
        fields = [row.split() for row in rows]
        if not any(f[3] == LISTEN and f[1].endswith(f":{port:04X}") for f in fields):
            return False
    return True
