"""TLS through HAProxy as dsrlb configures it, towards clients and towards servers; HTTP/2 on either side."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from check_servers import eventually
from golden_haproxy import needs_haproxy
from proxying import Running, ask, running

from dsrlb.engines.haproxy import refusals, runtime
from dsrlb.wire.x509 import certificates_in

pytestmark = needs_haproxy

FOLDER = Path(__file__).parents[1] / "certificate"
HEAD = '[[service]]\nname = "{}"\nvip = "198.18.1.100:{}"\nmode = "proxy"\n[service.proxy]\n'
SERVER = '[[service.backend]]\nname = "{}"\naddress = "198.18.1.{}"\n'
CERTIFICATES = 'certificates = ["/etc/dsrlb/local.pem", "/etc/dsrlb/sites"]\n'
TLS = "server_tls = true\n"
TEXT = (
    HEAD.format("web", 443) + "layer = 7\nsticky = 'S'\n" + CERTIFICATES + SERVER.format("rs1", 1)
    + HEAD.format("connections", 444) + CERTIFICATES + SERVER.format("rs2", 2)
    + HEAD.format("required", 445) + "layer = 7\nclient_ca = '/etc/dsrlb/local.pem'\n" + CERTIFICATES
    + SERVER.format("rs3", 3)
    + HEAD.format("optional", 446) + "layer = 7\nclient_ca = '/etc/dsrlb/local.pem'\n"
    + "client_certificate = 'optional'\n" + CERTIFICATES + SERVER.format("rs4", 4)
    + HEAD.format("clear", 80) + "layer = 7\n" + SERVER.format("rs5", 5)
)  # fmt: skip
curl = pytest.mark.skipif(
    "HTTP2" not in subprocess.run(["curl", "-V"], capture_output=True, text=True, check=False).stdout
    if shutil.which("curl")
    else True,
    reason="curl with HTTP/2 is not installed",
)


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    at = tmp_path_factory.mktemp("tls")
    (at / "sites").mkdir()
    shutil.copy(FOLDER / "server.pem", at / "local.pem")
    shutil.copy(FOLDER / "names.pem", at / "sites/names.crt")
    shutil.copy(FOLDER / "other.key", at / "sites/names.key")
    with running(TEXT, at) as it:
        yield it


def context(certificate: str = "") -> ssl.SSLContext:
    """Return what a client of TLS goes by that takes any certificate."""
    it = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    it.check_hostname, it.verify_mode = False, ssl.CERT_NONE
    if certificate:
        it.load_cert_chain(FOLDER / certificate)
    return it


def names_shown(proxy: Running, service: str, name: str) -> tuple[str, ...]:
    """Return the names in the certificate that a client is shown who asks for a name."""
    with contextlib.closing(proxy.connect(service, context(), name)) as connection:
        shown = connection.sock.getpeercert(binary_form=True)
    return certificates_in(ssl.DER_cert_to_PEM_cert(shown).encode())[0].names


@pytest.mark.parametrize("service", ["web", "connections"])
def test_the_certificate_is_that_of_the_name_that_is_asked_for(proxy: Running, service: str) -> None:
    assert "www.example.com" in names_shown(proxy, service, "www.example.com")
    assert "www.example.com" in names_shown(proxy, service, "v1.api.example.com")
    assert names_shown(proxy, service, "other.example.org") == ("localhost",)
    assert names_shown(proxy, service, "") == ("localhost",)


def test_tls_ends_here_and_servers_are_told_of_it(proxy: Running) -> None:
    with contextlib.closing(proxy.connect("web", context())) as connection:
        answer = ask(connection)
    assert answer.got("X-Forwarded-Proto") == ["https"] and "Secure" in answer.headers["set-cookie"].title()
    with contextlib.closing(proxy.connect("connections", context())) as connection:
        assert ask(connection).server == "rs2"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")  # that it is old is what is tested
@pytest.mark.parametrize(("version", "is_taken"), [("TLSv1_1", False), ("TLSv1_2", True), ("TLSv1_3", True)])
def test_tls_is_of_version_1_2_or_newer(proxy: Running, version: str, is_taken: bool) -> None:
    client = context()
    client.set_ciphers("ALL:@SECLEVEL=0")  # else this end would refuse the old version by itself
    client.minimum_version = client.maximum_version = ssl.TLSVersion[version]
    with contextlib.ExitStack() as stack:
        if not is_taken:
            stack.enter_context(pytest.raises(ssl.SSLError, match=r"PROTOCOL_VERSION|protocol version"))
        stack.enter_context(contextlib.closing(proxy.connect("web", client)))


def test_a_client_without_a_certificate_is_let_in_where_that_is_optional(proxy: Running) -> None:
    claims = {"X_SSL_Client_Verify": "SUCCESS", "X_SSL_Client_DN": "/CN=admin"}
    with contextlib.closing(proxy.connect("optional", context())) as connection:
        answer = ask(connection, **claims)
    assert answer.got("X-SSL-Client-Verify") == answer.got("X-SSL-Client-DN") == []
    with (
        pytest.raises((ssl.SSLError, ConnectionError)),
        contextlib.closing(proxy.connect("required", context())) as connection,
    ):
        ask(connection)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@pytest.mark.parametrize("service", ["required", "optional"])
@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_a_session_that_was_begun_without_a_certificate_is_resumed_nowhere(
    proxy: Running, service: str, version: str
) -> None:
    client = context()
    client.minimum_version = client.maximum_version = ssl.TLSVersion[version]
    with contextlib.closing(proxy.connect("web", client)) as connection:
        assert ask(connection).status == 200
        begun = connection.sock.session
    is_served = {"web": True, "optional": True, "required": False}
    for other in ("web", service):
        assert resumed(proxy, other, client, begun) == (False, is_served[other])


def resumed(
    proxy: Running, service: str, client: ssl.SSLContext, session: ssl.SSLSession | None
) -> tuple[bool, bool]:
    """Return whether a session of before was taken up again, and whether a request was answered."""
    is_resumed = False
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        raw = socket.create_connection(("127.0.0.1", proxy.ports[service]), 10)
        with contextlib.closing(client.wrap_socket(raw, session=session)) as sock:
            is_resumed = bool(sock.session_reused)
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return is_resumed, sock.recv(100).startswith(b"HTTP/1.1 200")
    return is_resumed, False


def test_the_words_of_a_client_that_shows_no_certificate_are_taken_out_however_they_are_joined(
    proxy: Running,
) -> None:
    names = ("X_SSL_Client_Verify", "X-SSL_Client-Verify", "X_SSL-Client-DN", "x-ssl-client_dn")
    with contextlib.closing(proxy.connect("optional", context())) as connection:
        connection.request("GET", "/", headers=dict.fromkeys(names, "/CN=admin"))
        assert b"admin" not in connection.getresponse().read()


@pytest.mark.parametrize("service", ["required", "optional"])
def test_servers_are_told_whom_a_client_s_certificate_is_for(proxy: Running, service: str) -> None:
    with contextlib.closing(proxy.connect(service, context("server.pem"))) as connection:
        answer = ask(connection)
    assert answer.got("X-SSL-Client-Verify") == ["SUCCESS"]
    assert [one.strip('"') for one in answer.got("X-SSL-Client-DN")] == ["/CN=localhost"]


def test_a_client_s_certificate_of_another_authority_is_refused(proxy: Running, tmp_path: Path) -> None:
    both = tmp_path / "other.pem"
    both.write_bytes((FOLDER / "names.pem").read_bytes() + (FOLDER / "other.key").read_bytes())
    for service in ("required", "optional"):
        client = context()
        client.load_cert_chain(both)
        with (
            pytest.raises((ssl.SSLError, ConnectionError)),
            contextlib.closing(proxy.connect(service, client)) as connection,
        ):
            ask(connection)


def test_a_handshake_is_ended_after_idle_timeout_in_all_and_counts_as_a_connection(tmp_path: Path) -> None:
    shutil.copy(FOLDER / "server.pem", tmp_path / "local.pem")
    text = HEAD.format("web", 443) + "layer = 7\nidle_timeout = 1\ncertificates = '/etc/dsrlb/local.pem'\n"
    text += "[service.limits]\nconnections = 1\n" + SERVER.format("rs1", 1)
    commands, asked = tmp_path / "runtime.sock", f"show table {refusals.clients_table('web')}"
    with running(text, tmp_path) as it:
        began = time.monotonic()
        with dial(it) as slow:
            slow.sendall(b"\x16\x03\x01\x02\x00")  # the head of a record of 512 bytes, which come one by one
            slow.settimeout(0.1)
            assert eventually(lambda: "127.0.0.22 use=1" in runtime.command(commands, asked))
            assert not is_let_in(it), "it counts only when its handshake is over"
            assert eventually(lambda: has_ended(slow), 10)
        assert 0.9 < time.monotonic() - began < 8
        assert eventually(lambda: "127.0.0.22 use=0" in runtime.command(commands, asked))
        assert is_let_in(it)


def dial(proxy: Running) -> socket.socket:
    """Return a connection from an address that no other test has."""
    return socket.create_connection(("127.0.0.1", proxy.ports["web"]), 10, ("127.0.0.22", 0))


def is_let_in(proxy: Running) -> bool:
    with contextlib.suppress(OSError), contextlib.closing(context().wrap_socket(dial(proxy))):
        return True
    return False


def has_ended(slow: socket.socket) -> bool:
    """Send one more byte; return whether the other end has closed."""
    try:
        slow.sendall(b"x")
        return slow.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


@curl
@pytest.mark.parametrize(
    ("service", "url", "flag"),
    [
        ("web", "https", "--http2"),
        ("clear", "http", "--http2-prior-knowledge"),
        ("web", "https", "--http1.1"),
    ],
)
def test_http_2_outside_is_http_1_1_inside(proxy: Running, service: str, url: str, flag: str) -> None:
    words = ["curl", "-sk", flag, "-w", "\n%{http_version}", f"{url}://127.0.0.1:{proxy.ports[service]}/a"]
    said = subprocess.run(words, capture_output=True, text=True, check=True, timeout=20).stdout
    assert '"version": "HTTP/1.1"' in said and '"path": "/a"' in said
    assert said.endswith("1.1" if flag == "--http1.1" else "2")


# ----------------------------------------------------------------------------- towards servers


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ("", 200),
        ("server_ca = '/etc/dsrlb/local.pem'\n", 200),
        ("server_ca = '/etc/dsrlb/local.pem'\nserver_name = 'localhost'\n", 200),
        ("server_ca = '/etc/dsrlb/local.pem'\nserver_name = 'app.internal'\n", 503),
        ("server_ca = '/etc/dsrlb/other.pem'\n", 503),
    ],
)
def test_a_server_s_certificate_is_verified_when_an_authority_is_given(
    options: str, status: int, tmp_path: Path
) -> None:
    shutil.copy(FOLDER / "server.pem", tmp_path / "local.pem")
    shutil.copy(FOLDER / "names.pem", tmp_path / "other.pem")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(FOLDER / "server.pem")
    text = HEAD.format("web", 80) + "layer = 7\nretries = 0\n" + TLS + options + SERVER.format("rs1", 1)
    with running(text, tmp_path, server) as it:
        assert it.ask("web").status == status


@pytest.mark.parametrize("with_tls", [False, True], ids=["clear", "tls"])
def test_servers_are_spoken_to_by_http_2_where_they_are_to_be(with_tls: bool, tmp_path: Path) -> None:
    """Another HAProxy is the server: it tells which version it was spoken to by."""
    shutil.copy(FOLDER / "server.pem", tmp_path / "local.pem")
    tls = f"ssl crt {tmp_path}/local.pem alpn h2,http/1.1" if with_tls else ""
    text = (
        HEAD.format("web", 80)
        + "layer = 7\nserver_protocol = 'h2'\n"
        + TLS * with_tls
        + SERVER.format("rs1", 1)
    )
    with running(text, tmp_path, server_bind=tls) as it:
        assert it.ask("web").body == b"2"
