"""Mode proxy by request, in the lab: groups that are steered, and certificates renewed under load."""

from __future__ import annotations

import contextlib
import http.client
import shutil
import signal
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from golden_haproxy import needs_haproxy
from lab_proxy import at_work
from lab_reload import DEADLINE_S, Start, reload
from lab_running import RS1, RS2, RS3, Serve
from lab_wire import TEST_PREFIX, eventually, inside

from dsrlb.admin.asking import ask
from dsrlb.lab.topology import VIP, Lab
from dsrlb.wire.x509 import certificates_in

pytestmark = needs_haproxy

FOLDER = Path(__file__).parents[1] / "certificate"
TEXT = f"""interfaces = ["e0"]
instance = "{TEST_PREFIX}http"
[[service]]
name = "web"
vip = "{VIP}:443"
mode = "proxy"
scheduler = "rr"
[service.proxy]
layer = 7
certificates = "{{}}"
[[service.route]]
path = "/file"
group = "files"
[[service.route]]
host = "three.example.com"
group = "three"
[[service.backend]]
name = "rs1"
address = "{RS1}"
port = 80
group = ["default", "files"]
[[service.backend]]
name = "rs2"
address = "{RS2}"
port = 80
group = ["default", "files"]
[[service.backend]]
name = "rs3"
address = "{RS3}"
port = 80
group = "three"
[[service]]
name = "http"
vip = "{VIP}:80"
mode = "proxy"
[service.proxy]
layer = 7
redirect = "https"
"""


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """The folder of certificates, with one in it."""
    folder = tmp_path / "certificates"
    folder.mkdir()
    shutil.copy(FOLDER / "server.pem", folder / "www.pem")
    return folder


@pytest.fixture
def start(serve: Serve, certificate: Path, tmp_path: Path) -> Start:
    (tmp_path / "dsrlb.toml").write_text(TEXT.format(certificate))
    return lambda *more: serve(*more, flags=["--config", str(tmp_path / "dsrlb.toml")])


def renew(file: Path) -> None:
    """Put another certificate there, at once."""
    fresh = file.with_name(".new")
    fresh.write_bytes((FOLDER / "names.pem").read_bytes() + (FOLDER / "other.key").read_bytes())
    fresh.replace(file)


class Client:
    """A client of https, on one connection until the other end closes it."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.connection = lab, None
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.tls.check_hostname, self.tls.verify_mode = False, ssl.CERT_NONE

    def open(self, name: str | None = None) -> http.client.HTTPConnection:
        with inside(self.lab.namespace("client")):
            raw = socket.create_connection((str(VIP), 443), DEADLINE_S)
        connection = http.client.HTTPConnection(str(VIP))
        connection.sock = self.tls.wrap_socket(raw, server_hostname=name)
        return connection

    def shown(self, name: str | None = None) -> tuple[str, ...]:
        """Return the names in the certificate that a new connection is shown that asks for a name."""
        with contextlib.closing(self.open(name)) as connection:
            return certificates_in(ssl.DER_cert_to_PEM_cert(connection.sock.getpeercert(True)).encode())[
                0
            ].names

    def server(self, path: str = "/", **headers: str) -> str:
        """Return who answers a request."""
        self.connection = connection = self.connection or self.open()
        connection.request("GET", path, headers={"Host": "www.example.com", **headers})
        response = connection.getresponse()
        response.read()
        assert response.status == 200
        if response.will_close:
            connection.close()
            self.connection = None
        return response.headers["X-Server"]


@contextlib.contextmanager
def asking(lab: Lab, count: int) -> Iterator[Counter[str]]:
    """Have so many clients ask, one request after the other; yield what came of it."""
    seen = Counter[str]()

    def go(is_over: threading.Event) -> None:
        client = Client(lab)
        while not is_over.is_set():
            try:
                seen[client.server()] += 1
            except Exception as error:
                seen[f"failed: {error!r}"] += 1
                client.connection = None

    with at_work(count, go):
        yield seen


def failures(seen: Counter[str]) -> list[str]:
    return [one for one in seen if one.startswith("failed")]


def test_requests_find_their_group_and_a_drain_concerns_the_server_in_all_of_its_groups(
    lab: Lab, start: Start
) -> None:
    running, client = start(), Client(lab)
    assert Counter(client.server() for _ in range(20)) == {"rs1": 10, "rs2": 10}
    assert Counter(client.server("/file/64k") for _ in range(10)) == {"rs1": 5, "rs2": 5}
    assert {client.server(Host="three.example.com") for _ in range(5)} == {"rs3"}
    ask(running.admin, {"do": "drain", "backend": "rs1"})
    assert eventually(lambda: {client.server() for _ in range(4)} == {"rs2"}, DEADLINE_S)
    assert {client.server("/file/64k") for _ in range(4)} == {"rs2"}
    rows: list[dict[str, Any]] = ask(running.admin, {"do": "show", "what": "backends"})
    flows = {row["name"]: row["flows"] for row in rows}
    assert flows["rs3"] == 5 and flows["rs1"] == 15
    assert running.stop() == 0 and "Traceback" not in running.stderr


@pytest.mark.parametrize("is_another_file", [False, True], ids=["renewed", "one more"])
def test_another_certificate_is_shown_after_a_reload_and_no_request_fails(
    lab: Lab, start: Start, certificate: Path, is_another_file: bool
) -> None:
    """One that was renewed is loaded by the HAProxy that is at work; one more takes another one."""
    running, client = start(), Client(lab)
    assert client.shown("www.example.com") == ("localhost",)
    with asking(lab, 8) as seen:
        assert eventually(lambda: seen["rs1"] > 50, DEADLINE_S)
        renew(certificate / ("more.pem" if is_another_file else "www.pem"))
        assert ("HAProxy goes on with it" in reload(running)) is not is_another_file
        assert eventually(lambda: "www.example.com" in client.shown("www.example.com"), DEADLINE_S)
        before = seen["rs1"]
        assert eventually(lambda: seen["rs1"] > before + 50, DEADLINE_S)
    assert failures(seen) == []


def test_a_certificate_that_is_broken_is_refused_and_the_one_before_is_shown_on(
    lab: Lab, start: Start, certificate: Path
) -> None:
    running, client = start(), Client(lab)
    (certificate / "www.pem").write_bytes((FOLDER / "names.pem").read_bytes())
    said = reload(running, "reload refused")
    assert f"dsrlb.toml:10: Certificate {certificate}/www.pem: there is no private key in it" in said
    assert client.shown() == ("localhost",)
    assert client.server() in ("rs1", "rs2")


def test_a_start_with_a_certificate_that_is_broken_touches_nothing(
    lab: Lab, start: Start, serve: Serve, certificate: Path, tmp_path: Path
) -> None:
    (certificate / "www.pem").write_text("nothing")
    refused = serve(flags=["--config", str(tmp_path / "dsrlb.toml")], ready=False)
    assert refused.process.wait(DEADLINE_S) == 3
    (sentence,) = refused.stderr.splitlines()
    assert "dsrlb.toml:10: Certificate" in sentence and "there is no certificate in it" in sentence
    refused.stop(signal.SIGKILL)
