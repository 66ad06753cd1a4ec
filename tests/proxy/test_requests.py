"""HTTP through HAProxy as dsrlb configures it: does each request get where it is to go, and say who asks?"""

from __future__ import annotations

import contextlib
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from golden_haproxy import needs_haproxy
from proxying import Running, ask, running

pytestmark = needs_haproxy

HEAD = '[[service]]\nname = "{}"\nvip = "198.18.1.100:{}"\nmode = "proxy"\nscheduler = "rr"\n'
SERVER = '[[service.backend]]\nname = "{0}"\naddress = "198.18.1.{1}"\n'
THREE = "".join(SERVER.format(f"rs{number}", number) for number in (1, 2, 3))
ODD = 'it\'s \\"#1\\" \\\\ $HOME %[src]'  # as TOML writes it

ROUTES = f"""
[service.proxy]
layer = 7
[[service.route]]
host = ["api.example.com", "*.api.example.com"]
path = ["/v1", "/v2/"]
group = "api"
[[service.route]]
path = "/gone"
redirect = "https://www.example.com/new%20place"
[[service.route]]
path = "/moved"
method = ["GET", "POST"]
redirect = "https://other.example.com"
[[service.route]]
path = "/moved/later"
group = "static"
[[service.route]]
pattern = '\\.(png|css)$'
group = "static"
[[service.route]]
header = "X-Say: {ODD}"
group = "static"
[[service.route]]
header = "X-Beta"
method = "GET"
group = "api"
{SERVER.format("rest", 1)}
{SERVER.format("api", 2)}group = "api"
{SERVER.format("static", 3)}group = "static"
"""
TEXT = (
    HEAD.format("plain", 80) + "[service.proxy]\nlayer = 7\n" + THREE
    + HEAD.format("connections", 81) + "".join(SERVER.format(f"c{number}", number) for number in (1, 2, 3))
    + HEAD.format("routes", 82) + ROUTES
    + HEAD.format("trusting", 83) + '[service.proxy]\nlayer = 7\nforwarded = "both"\ntrust_forwarded = true\n'
    + SERVER.format("t1", 7)
    + HEAD.format("both", 84) + '[service.proxy]\nlayer = 7\nforwarded = "both"\n' + SERVER.format("b1", 8)
    + HEAD.format("off", 85) + '[service.proxy]\nlayer = 7\nforwarded = "off"\n' + SERVER.format("o1", 9)
    + HEAD.format("redirect", 86) + '[service.proxy]\nlayer = 7\nredirect = "https"\n'
    + HEAD.format("moved", 88) + '[service.proxy]\nlayer = 7\n'
    + '[[service.route]]\npath = "/a"\nredirect = "https://a.example.com/x"\n'
    + '[[service.route]]\npath = "/"\nredirect = "https://b.example.com"\n'
    + HEAD.format("sticky", 87) + '[service.proxy]\nlayer = 7\nsticky = "SRV"\n'
    + '[[service.route]]\npath = "/x"\ngroup = "x"\n'
    + "".join(SERVER.format(f"s{number}", 10 + number) for number in (1, 2, 3))
    + "".join(SERVER.format(f"x{number}", 20 + number) + 'group = "x"\n' for number in (1, 2))
)  # fmt: skip


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(TEXT, tmp_path_factory.mktemp("proxy")) as it:
        yield it


def test_300_requests_of_one_connection_are_spread_over_three_servers_within_one(proxy: Running) -> None:
    with contextlib.closing(proxy.connect("plain")) as connection:
        servers = Counter(ask(connection).server for _ in range(300))
    assert len(servers) == 3 and max(servers.values()) - min(servers.values()) <= 1


def test_without_layer_7_they_all_go_to_one(proxy: Running) -> None:
    with contextlib.closing(proxy.connect("connections")) as connection:
        assert len({ask(connection).server for _ in range(30)}) == 1


@pytest.mark.parametrize(
    ("path", "headers", "server"),
    [
        ("/", {}, "rest"),
        ("/v1", {"Host": "api.example.com"}, "api"),
        ("/v1/x?y=/", {"Host": "API.example.com:8080"}, "api"),
        ("/v2/", {"Host": "a.b.api.example.com"}, "api"),
        ("/v2", {"Host": "api.example.com"}, "api"),
        ("/v10", {"Host": "api.example.com"}, "rest"),
        ("/v1", {"Host": "xapi.example.com"}, "rest"),
        ("/v1", {"Host": "example.com"}, "rest"),
        ("/x/v1", {"Host": "api.example.com"}, "rest"),
        ("/a.png", {}, "static"),
        ("/a.png?b", {}, "static"),
        ("/a.pngx", {}, "rest"),
        ("/", {"X-Say": 'it\'s "#1" \\ $HOME %[src]'}, "static"),
        ("/", {"X-Say": "it's"}, "rest"),
        ("/", {"X-Beta": "whatever"}, "api"),
    ],
)
def test_a_request_goes_to_the_group_of_the_first_route_that_fits(
    proxy: Running, path: str, headers: dict[str, str], server: str
) -> None:
    assert proxy.ask("routes", path, **headers).server == server


def test_a_method_that_a_route_does_not_name_does_not_fit_it(proxy: Running) -> None:
    assert proxy.ask("routes", "/", "POST", **{"X-Beta": "1"}).server == "rest"


@pytest.mark.parametrize(
    ("path", "method", "status", "location"),
    [
        ("/gone", "GET", 301, "https://www.example.com/new%20place"),
        ("/gone/deep?a=b", "POST", 308, "https://www.example.com/new%20place"),
        ("/moved/x?a=%20b", "GET", 301, "https://other.example.com/moved/x?a=%20b"),
        ("/moved/later", "POST", 308, "https://other.example.com/moved/later"),
    ],
)
def test_a_route_that_redirects_has_its_turn_among_the_others(
    proxy: Running, path: str, method: str, status: int, location: str
) -> None:
    answer = proxy.ask("routes", path, method)
    assert (answer.status, answer.headers["location"]) == (status, location)


def test_what_the_redirect_does_not_take_goes_to_the_route_after_it(proxy: Running) -> None:
    assert proxy.ask("routes", "/moved/later", "PUT").server == "static"


def test_a_service_that_redirects_sends_every_request_to_https_without_a_server(proxy: Running) -> None:
    answer = proxy.ask("redirect", "/a?b=c", Host="www.example.com:8080")
    assert (answer.status, answer.headers["location"]) == (301, "https://www.example.com/a?b=c")
    assert proxy.ask("redirect", "/", "POST", Host="x").status == 308
    with contextlib.closing(proxy.connect("redirect")) as connection:
        connection.putrequest("GET", "/", skip_host=True)
        connection.endheaders()
        assert connection.getresponse().status == 400


def test_a_service_of_which_all_routes_redirect_needs_no_server_either(proxy: Running) -> None:
    for path, location in (("/a/b", "https://a.example.com/x"), ("/b?c", "https://b.example.com/b?c")):
        assert proxy.ask("moved", path).headers["location"] == location


# ----------------------------------------------------------------------------- who asks

CLAIMS = {
    "X_Forwarded_For": "203.0.113.1",
    "X_Forwarded_Proto": "https",
    "X_Forwarded_Host": "evil.example.com",
    "Forwarded": "for=203.0.113.1",
    "X_Real_IP": "203.0.113.1",
    "X_SSL_Client_DN": "/CN=admin",
}


def said(proxy: Running, service: str, **headers: str) -> dict[str, list[str]]:
    answer = proxy.ask(service, **headers)
    names = (*(name.replace("_", "-") for name in CLAIMS),)
    return {name: answer.got(name) for name in names if answer.got(name)}


def test_servers_are_told_the_client_and_not_what_it_claims_to_be(proxy: Running) -> None:
    assert said(proxy, "plain", **CLAIMS) == {
        "X-Forwarded-For": ["127.0.0.1"],
        "X-Forwarded-Proto": ["http"],
    }
    assert said(proxy, "both", **CLAIMS) == {
        "X-Forwarded-For": ["127.0.0.1"],
        "X-Forwarded-Proto": ["http"],
        "Forwarded": ["for=127.0.0.1;proto=http"],
    }
    assert said(proxy, "off", **CLAIMS) == {}


LOOK_ALIKES = (
    "x_forwarded_for", "X_Forwarded-For", "X-FORWARDED_FOR", "x.forwarded.for", "X-Forwarded-Client_Port",
    "X_Real_IP", "X_Real-IP", "x-real_ip",
    "X_SSL_Client_DN", "X_SSL-Client-DN", "X-SSL_Client-DN", "X-SSL-Client_DN", "x-ssl-client-s_dn",
)  # fmt: skip


@pytest.mark.parametrize("service", ["plain", "off", "trusting"])
def test_a_field_whose_name_is_joined_otherwise_is_a_claim_too_even_a_trusted_proxy_s(
    proxy: Running, service: str
) -> None:
    """Servers that hand fields on as variables, as CGI does, do not tell them apart."""
    with contextlib.closing(proxy.connect(service)) as connection:
        connection.request("GET", "/", headers={**dict.fromkeys(LOOK_ALIKES, "203.0.113.1"), "X_Own": "kept"})
        said = connection.getresponse().read()
    assert b"203.0.113.1" not in said and b"kept" in said


def test_what_a_proxy_that_is_trusted_says_is_kept_and_added_to(proxy: Running) -> None:
    assert said(proxy, "trusting", **CLAIMS) == {
        "X-Forwarded-For": ["203.0.113.1", "127.0.0.1"],
        "X-Forwarded-Proto": ["https"],
        "X-Forwarded-Host": ["evil.example.com"],
        "Forwarded": ["for=203.0.113.1", "for=127.0.0.1;proto=http"],
        "X-Real-IP": ["203.0.113.1"],
        "X-SSL-Client-DN": ["/CN=admin"],
    }


# ----------------------------------------------------------------------------- cookies, retries, WebSocket


def test_a_cookie_brings_a_client_back_to_its_server_in_each_group(proxy: Running) -> None:
    cookies: list[str] = []
    for path, name in (("/", "SRV"), ("/x", "SRV-x")):
        first = proxy.ask("sticky", path)
        cookie, *attributes = first.headers["set-cookie"].split("; ")
        assert cookie.startswith(f"{name}=") and {"HttpOnly", "SameSite=Lax"} <= set(attributes)
        assert first.server not in cookie and "127.0.0.1" not in cookie
        cookies.append(cookie)
        again = [proxy.ask("sticky", path, Cookie="; ".join(cookies)) for _ in range(6)]
        assert {one.server for one in again} == {first.server}
        assert all("set-cookie" not in one.headers for one in again)
        assert [one.got("Cookie") for one in again] == [[]] * 6 or len(cookies) > 1  # it is not the server's
    assert len({proxy.ask("sticky").server for _ in range(6)}) == 3


def test_a_request_that_is_safe_is_tried_again_and_no_other(proxy: Running) -> None:
    for method, status in (("GET", 200), ("OPTIONS", 200), ("POST", 502), ("PUT", 502)):
        for server in proxy.servers.values():
            server.dies = True
            server.requests.clear()
        assert proxy.ask("both", "/die", method).status == status, method
        assert proxy.servers["b1"].requests == ["/die"] * (2 if status == 200 else 1)


def test_a_websocket_carries_both_ways(proxy: Running) -> None:
    with socket.create_connection(("127.0.0.1", proxy.ports["plain"]), 10) as sock:
        sock.sendall(
            b"GET /socket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += sock.recv(1)
        assert head.startswith(b"HTTP/1.1 101") and b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
        for piece in (b"\x81\x85abcd\x09\x07\x0f\x08\x0e", b"\x00" * 1000):
            sock.sendall(piece)
            got = b""
            while len(got) < len(piece):
                got += sock.recv(4096)
            assert got == piece


@pytest.mark.parametrize(("word", "layer"), [("reject", 7), ("reject", 4), ("drop", 7), ("drop", 4)])
def test_without_a_server_a_client_is_refused_or_not_answered(tmp_path: Path, word: str, layer: int) -> None:
    text = HEAD.format("web", 80) + f'on_all_down = "{word}"\n[service.proxy]\nlayer = {layer}\n' + THREE
    with running(text, tmp_path, all_down=True) as it, socket.socket() as sock:
        sock.settimeout(0.5)
        sock.connect(("127.0.0.1", it.ports["web"]))
        if layer == 7:  # by connection, what comes after the end of one would be told of it by the kernel
            sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        if word == "drop":
            with pytest.raises(TimeoutError):
                sock.recv(100)
        else:
            with contextlib.suppress(ConnectionError):
                assert sock.recv(100).startswith(b"HTTP/1.1 503" if layer == 7 else b"")


def test_the_folder_of_the_tests_is_not_all_that_a_path_is_quoted_for(tmp_path: Path) -> None:
    """A name of a file with a space, a quote and a hash mark is one word to HAProxy."""
    odd = tmp_path / "it's #1"
    odd.mkdir()
    text = (
        HEAD.format("tls", 443) + f'[service.proxy]\ncertificates = "{odd}/www.pem"\n' + SERVER.format("a", 1)
    )
    (odd / "www.pem").write_bytes((Path(__file__).parents[1] / "certificate/server.pem").read_bytes())
    with running(text, tmp_path) as it:
        assert it.ports["tls"]
