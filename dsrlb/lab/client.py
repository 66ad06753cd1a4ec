"""What a client does in the lab, many times in one process, and how to ask for it from outside.

:func:`ask` runs one of the WORKS inside a node's namespace and returns its result; :func:`begin`
does the same without waiting.  Arguments and results travel as JSON.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import random
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from types import MappingProxyType
from typing import Any

from dsrlb.errors import DsrlbError
from dsrlb.lab.commands import inside
from dsrlb.lab.httpd import pattern
from dsrlb.lab.topology import Lab

Result = dict[str, Any]  # what JSON gives back
FAILURES = (OSError, http.client.HTTPException)


def _connect(
    host: str, port: int, source: str, timeout_s: float, tls: ssl.SSLContext | None = None
) -> http.client.HTTPConnection:
    where = (source, 0) if source else None
    if tls is not None:
        return http.client.HTTPSConnection(host, port, timeout=timeout_s, source_address=where, context=tls)
    return http.client.HTTPConnection(host, port, timeout=timeout_s, source_address=where)


def requests(
    host: str,
    count: int,
    port: int = 80,
    path: str = "/",
    source: str | Sequence[str] = "",
    parallel: int = 1,
    timeout_s: float = 5,
    lost_max: int = 20,
    ca: str = "",
) -> Result:
    """GET ``path`` ``count`` times, each on a connection of its own; of several sources each has its turn.

    ``ca``: by https, and the server's certificate is to be signed by one of this file.

    ``servers``: who answered, in the order asked, None where nobody did; ``bodies``: the first 64 bytes of
    each as text; ``bytes``: of all bodies; ``errors``: one line for each request that was lost.  After
    ``lost_max`` of those the rest counts as lost without being tried.
    """
    lost: list[str] = []
    sources = [source] if isinstance(source, str) else source
    tls = ssl.create_default_context(cafile=ca) if ca else None

    def one(number: int) -> tuple[str | None, bytes]:
        try:
            if len(lost) >= lost_max:
                raise http.client.HTTPException("not tried, too many were lost before")
            with closing(_connect(host, port, sources[number % len(sources)], timeout_s, tls)) as connection:
                return _fetch(connection, path)
        except FAILURES as error:
            lost.append(f"{type(error).__name__}: {error}")
            return None, b""

    with ThreadPoolExecutor(parallel) as pool:
        answers = [(server, body[:64], len(body)) for server, body in pool.map(one, range(count))]
    return {
        "servers": [server for server, _, _ in answers],
        "bodies": [start.decode("latin-1") for _, start, _ in answers],
        "bytes": sum(size for _, _, size in answers),
        "errors": lost,
    }


def _fetch(connection: http.client.HTTPConnection, path: str) -> tuple[str | None, bytes]:
    connection.request("GET", path, headers={"Connection": "close"})
    answer = connection.getresponse()
    if answer.status != 200:
        raise http.client.HTTPException(f"status {answer.status}")
    return answer.headers["X-Server"], answer.read()


def upload(
    host: str, size_bytes: int, port: int = 8080, source: str = "", seed: int = 1, timeout_s: float = 30
) -> Result:
    """PUT a random body; ``server`` took it, ``sent`` and ``received`` are SHA-256."""
    with closing(_connect(host, port, source, timeout_s)) as connection:
        return _put(connection, size_bytes, seed)


def exchange(
    host: str, count: int, size_bytes: int, port: int = 8080, parallel: int = 1, timeout_s: float = 30
) -> Result:
    """Send and fetch ``size_bytes`` on each of ``count`` connections: a PUT of random bytes, then a GET.

    ``servers``: who served a connection, None where anything went wrong; ``errors``: a line for each of them.
    """
    errors: list[str] = []

    def one(seed: int) -> str | None:
        try:
            with closing(_connect(host, port, "", timeout_s)) as connection:
                sent = _put(connection, size_bytes, seed)
                connection.request("GET", f"/pattern?bytes={size_bytes}")
                answer = connection.getresponse()
                if sent["sent"] != sent["received"] or answer.read() != pattern(0, size_bytes):
                    raise http.client.HTTPException("what arrived is not what was sent")
                return answer.headers["X-Server"]
        except FAILURES as error:
            errors.append(f"{type(error).__name__}: {error}")
            return None

    with ThreadPoolExecutor(parallel) as pool:
        return {"servers": list(pool.map(one, range(count))), "errors": errors}


def _put(connection: http.client.HTTPConnection, size_bytes: int, seed: int) -> Result:
    body = random.Random(seed).randbytes(size_bytes)  # noqa: S311  (bytes to carry, not a secret)
    connection.request("PUT", "/upload", body=body)
    answer = json.loads(connection.getresponse().read())
    sent = hashlib.sha256(body).hexdigest()
    return {"server": answer["server"], "bytes": answer["bytes"], "sent": sent, "received": answer["sha256"]}


def download(
    host: str,
    size_bytes: int,
    rate: int = 0,
    port: int = 8080,
    source: str = "",
    timeout_s: float = 30,
    half_close: bool = False,
) -> Result:
    """GET ``size_bytes`` of the known pattern at ``rate`` bytes a second (0: at full speed).

    ``half_close``: the client sends its FIN behind the request, and only then reads.
    ``intact``: every byte was the right one; ``bytes``: how many came; ``server``; ``longest_pause_s``:
    between two pieces; ``seconds``: in all; ``error``: why it broke off, or empty.
    """
    result: Result = {"server": None, "bytes": 0, "intact": True, "longest_pause_s": 0.0, "error": ""}
    began = time.monotonic()
    try:
        with closing(_connect(host, port, source, timeout_s)) as connection:
            connection.request("GET", f"/pattern?bytes={size_bytes}&rate={rate}")
            if half_close:
                connection.sock.shutdown(socket.SHUT_WR)
            answer = connection.getresponse()
            result["server"] = answer.headers["X-Server"]
            _receive(answer, result)
    except FAILURES as error:
        result["error"] = f"{type(error).__name__}: {error}"
    result["intact"] = result["intact"] and result["bytes"] == size_bytes
    result["seconds"] = time.monotonic() - began
    return result


def _receive(answer: http.client.HTTPResponse, result: Result) -> None:
    last = time.monotonic()
    while piece := answer.read1(1 << 16):
        now = time.monotonic()
        result["longest_pause_s"] = max(result["longest_pause_s"], now - last)
        result["intact"] = result["intact"] and piece == pattern(result["bytes"], len(piece))
        result["bytes"] += len(piece)
        last = now


def echo(
    host: str, count: int, port: int = 5353, size_bytes: int = 32, source: str = "", timeout_s: float = 2
) -> Result:
    """Send ``count`` datagrams, each from a port of its own.

    ``servers``: who answered, None where nobody did.  The answer counts only if it
    comes from the address and port asked, with the payload unchanged.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    servers: list[str | None] = []
    for number in range(count):
        payload = random.Random(number).randbytes(size_bytes)  # noqa: S311  (bytes to carry, not a secret)
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.settimeout(timeout_s)
            sock.bind((source, 0))
            sock.connect((host, port))
            try:
                sock.send(payload)
                name, _, back = sock.recv(65535).partition(b" ")
            except OSError:
                name, back = b"", b""
        servers.append(name.decode() if name and back == payload else None)
    return {"servers": servers}


def knock(host: str, port: int, hops: int = 64, size_bytes: int = 32, timeout_s: float = 10) -> Result:
    """Send a datagram to a port where nobody is, and wait: ``said`` is the error that came back, or empty.

    ``hops``: its TTL or hop limit; with a small one it is a probe of traceroute.
    The kernel believes an ICMP error only if the packet quoted in it is the very one that was sent.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(timeout_s)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, hops)
        else:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, hops)
        sock.connect((host, port))
        try:
            sock.send(bytes(size_bytes))
            sock.recv(65535)
        except OSError as error:
            return {"said": "" if isinstance(error, TimeoutError) else type(error).__name__}
    return {"said": ""}


Work = Callable[..., Result]
WORKS: Mapping[str, Work] = MappingProxyType(
    {work.__name__: work for work in (requests, upload, exchange, download, echo, knock)}
)


def begin(lab: Lab, work: str, role: str = "client", **arguments: Any) -> subprocess.Popen[str]:
    """Start one of the WORKS in a node; :func:`result` waits for what it says."""
    command = [sys.executable, "-m", "dsrlb.lab.client", work, json.dumps(arguments, default=str)]
    pipe = subprocess.PIPE
    return subprocess.Popen(inside(lab.namespace(role), *command), stdout=pipe, stderr=pipe, text=True)


def result(process: subprocess.Popen[str], deadline_s: float = 120) -> Result:
    """Return what a work that was begun has to say; DsrlbError if it failed or is late."""
    try:
        out, err = process.communicate(timeout=deadline_s)
    except subprocess.TimeoutExpired as late:
        process.kill()
        process.communicate()
        raise DsrlbError(f"the lab's client did not end within {deadline_s:g} s") from late
    if process.returncode:
        raise DsrlbError(f"the lab's client failed: {err.strip().rpartition(chr(10))[2]}")
    answer: Result = json.loads(out)
    return answer


def ask(lab: Lab, work: str, role: str = "client", deadline_s: float = 120, **arguments: Any) -> Result:
    """Do one of the WORKS in a node and return its result."""
    return result(begin(lab, work, role, **arguments), deadline_s)


if __name__ == "__main__":
    print(json.dumps(WORKS[sys.argv[1]](**json.loads(sys.argv[2]))))
