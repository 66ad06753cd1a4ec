"""Does each kind of check name what it finds, also at a server that means harm?"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from check_servers import ask, asked, asked_datagrams, eventually, free_port, says, subject

from dsrlb.health import stream
from dsrlb.health.base import PASSED, Outcome, Unasked, of_error
from dsrlb.health.command import arguments
from dsrlb.health.dns import question
from dsrlb.health.http import request, server_name, unchunked

SOON_S = 0.2
IS_LATE = Outcome("no_answer", "none within 0.2 s")
OKAY = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


async def silent(reader: Any, writer: Any) -> None:
    await reader.read()


async def babbling(reader: Any, writer: Any) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(bytes(1 << 16))
        await writer.drain()


async def dripping(reader: Any, writer: Any) -> None:
    while True:
        writer.write(b"X")
        await writer.drain()
        await asyncio.sleep(0.02)


# ----------------------------------------------------------------------------- tcp


def test_tcp_passes_where_somebody_listens_and_is_refused_where_nobody_does() -> None:
    assert asked("tcp", silent) == PASSED
    assert asyncio.run(ask("tcp", free_port())) == Outcome("refused")


def test_a_connection_that_never_comes_about_ends_with_the_time_out_and_is_forgotten() -> None:
    async def asked_both() -> list[Outcome]:
        return [await ask("tcp", port, timeout_s=SOON_S) for port in (full, free, full, free)]

    with ExitStack() as sockets:
        listeners = [sockets.enter_context(socket.create_server(("127.0.0.1", 0), backlog=n)) for n in (0, 9)]
        full, free = (one.getsockname()[1] for one in listeners)
        for _ in range(4):  # more than it lets wait: from now on it is silent
            waiting = sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", full))
        assert asyncio.run(asked_both()) == [IS_LATE, PASSED, IS_LATE, PASSED]


def test_tcp_sends_and_awaits_an_answer_in_whatever_pieces() -> None:
    fields: dict[str, Any] = {"send": b"PING\r\n", "expect": b"+PONG"}
    assert asked("tcp", says(b"+PO", b"NG\r\n"), **fields) == PASSED
    assert asked("tcp", says(b"-ERR"), **fields) == Outcome("bad_answer", "4 bytes without what is expected")
    assert asked("tcp", silent, timeout_s=SOON_S, **fields) == IS_LATE


def test_an_endless_answer_is_read_to_a_bound() -> None:
    assert asked("tcp", babbling, expect=b"never").word == "bad_answer"
    assert asked("http", babbling, body="never").word == "bad_body"
    kept = f"{stream.MOST_BYTES} bytes without what is expected"
    assert asked("tcp", babbling, send=b"?", expect=b"never").detail == kept


# ----------------------------------------------------------------------------- http, https


@pytest.mark.parametrize(
    ("said", "fields", "outcome"),
    [
        ([OKAY], {}, PASSED),
        ([OKAY[:20], OKAY[20:50], OKAY[50:]], {"body": "hello"}, PASSED),
        ([OKAY], {"body": "bye"}, Outcome("bad_body", "5 bytes without what is expected")),
        ([b"HTTP/1.0 503 Busy\r\n\r\n"], {}, Outcome("bad_status", "503")),
        ([b"HTTP/1.0 401 No\r\n\r\n"], {"status": ((200, 299), (401, 401))}, PASSED),
        ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"],
         {"body": "hello"}, PASSED),
        ([b"HTTP/1.1 200 OK\r\n\r\nhello"], {"body": "hello"}, PASSED),
        ([b"SSH-2.0-OpenSSH\r\n"], {}, Outcome("bad_answer", "not HTTP")),
        ([b"HTTP/1.1 200 OK\r\n"], {}, Outcome("bad_answer", "not HTTP")),
        ([b""], {}, Outcome("bad_answer", "closed without an answer")),
        ([b"HTTP/1.1 200 OK\r\nX: " + bytes(1 << 17)], {}, Outcome("bad_answer", "not HTTP")),
    ],
)  # fmt: skip
def test_http_says_what_is_wrong(said: list[bytes], fields: dict[str, Any], outcome: Outcome) -> None:
    assert asked("http", says(*said), **fields) == outcome


def test_a_header_or_a_body_that_drips_ends_with_the_time_out() -> None:
    began = time.monotonic()
    assert asked("http", dripping, timeout_s=SOON_S) == IS_LATE
    assert asked("https", dripping, timeout_s=SOON_S).word in ("no_answer", "bad_tls")
    assert time.monotonic() - began < 5


def test_a_request_carries_the_host_and_the_headers_that_are_given() -> None:
    check = subject("http", 80, path="/health?x=1", host="www", headers=(("User-Agent", "me"),)).check
    lines = request(check, subject("http", 80).vip).decode().split("\r\n")
    assert lines[0] == "GET /health?x=1 HTTP/1.1" and "Host: www" in lines
    assert "User-Agent: me" in lines and "User-Agent: dsrlb-check" not in lines
    assert "Host: 198.18.1.100" in request(subject("http", 80).check, subject("http", 80).vip).decode()


def test_an_address_is_no_name_for_tls() -> None:
    def of(**fields: Any) -> str:
        return server_name(subject("https", 443, **fields).check)

    assert (of(), of(host="198.18.1.1:443"), of(host="[2001:db8::1]")) == ("", "", "")
    assert (of(host="www:8443"), of(host="www", sni="other")) == ("www", "other")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    folder = Path(__file__).parents[1] / "certificate"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context


def test_https_passes_by_tls_with_the_name_that_is_asked_for(certificate: ssl.SSLContext) -> None:
    names: list[str | None] = []
    certificate.sni_callback = lambda _tls, name, _context: names.append(name)
    assert asked("https", says(OKAY), certificate, body="hello", host="www.example.com") == PASSED
    assert asked("https", says(b"HTTP/1.1 500 Oh\r\n\r\n"), certificate) == Outcome("bad_status", "500")
    assert asked("https", silent, certificate, timeout_s=SOON_S) == IS_LATE
    assert names == ["www.example.com", None, None]


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """``trusted()``: this host trusts whoever signed the server's certificate."""
    stream._verifying.cache_clear()

    def trust() -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(Path(__file__).parents[1] / "certificate" / "server.pem"))
        stream._verifying.cache_clear()

    yield trust
    stream._verifying.cache_clear()


def test_https_takes_a_right_certificate_only_where_that_is_asked_for(
    certificate: ssl.SSLContext, trusted: Callable[[], None]
) -> None:
    def of(**fields: Any) -> Outcome:
        return asked("https", says(OKAY), certificate, verify=True, **fields)

    assert (of(host="localhost").word, of(host="localhost").detail[:11]) == ("bad_tls", "self-signed")
    trusted()
    assert of(host="localhost") == of(sni="localhost") == PASSED
    assert (of(host="other").word, "mismatch" in of(host="other").detail) == ("bad_tls", True)
    assert "mismatch" in of().detail, "without a name it must be the VIP's"


def test_https_reads_no_more_of_an_endless_body_than_its_bound(certificate: ssl.SSLContext) -> None:
    assert asked("https", babbling, certificate, body="never").word == "bad_body"


def test_a_server_that_speaks_no_tls_or_leaves_in_the_middle_is_bad_tls() -> None:
    assert asked("https", says(b"HTTP/1.1 400 Bad\r\n\r\n")).word == "bad_tls"
    assert asked("https", says(b"")) == Outcome("bad_tls", "closed in the middle")
    assert asked("https", silent, timeout_s=SOON_S) == IS_LATE


def test_chunks_that_are_broken_give_what_came_before() -> None:
    assert unchunked(b"3\r\nabc\r\nzz\r\n") == b"abc"
    assert unchunked(b"FFFFFFFF\r\nabc") == b"abc"
    assert unchunked(b"") == b""


# ----------------------------------------------------------------------------- udp, dns


def test_udp_awaits_an_answer_with_what_is_expected() -> None:
    assert asked_datagrams("udp", lambda got: [got.upper()], send=b"ping", expect=b"PING") == PASSED
    assert asked_datagrams("udp", lambda got: [got], send=b"ping") == PASSED
    wrong = asked_datagrams("udp", lambda got: [got], send=b"ping", expect=b"PING")
    assert wrong == Outcome("bad_answer", "4 bytes without what is expected")
    assert asked_datagrams("udp", lambda got: [], timeout_s=SOON_S) == IS_LATE
    assert asyncio.run(ask("udp", free_port(socket.SOCK_DGRAM))) == Outcome("refused")


def dns_answer(question: bytes, rcode: int) -> bytes:
    return question[:2] + (0x8180 | rcode).to_bytes(2, "big") + question[4:]


def test_dns_goes_by_the_response_code() -> None:
    def of(code: int, **fields: Any) -> Outcome:
        return asked_datagrams("dns", lambda got: [dns_answer(got, code)], query="example.com", **fields)

    assert of(0) == of(3, rcode="NXDOMAIN") == PASSED
    assert of(2) == Outcome("bad_answer", "SERVFAIL")
    assert of(9) == Outcome("bad_answer", "response code 9")


def test_dns_takes_no_answer_to_another_question_and_nothing_that_is_no_dns() -> None:
    def late(got: bytes) -> list[bytes]:
        return [bytes((got[0] ^ 1, got[1])) + got[2:], dns_answer(got, 0)]

    assert asked_datagrams("dns", late, query="example.com") == PASSED
    assert asked_datagrams("dns", lambda got: [got], query="example.com") == Outcome("bad_answer", "not DNS")
    assert asked_datagrams("dns", lambda got: [got[:2]], query="a").word == "bad_answer"


def test_a_question_is_spelt_as_rfc_1035_says() -> None:
    wire = bytes.fromhex("1234 0100 0001 0000 0000 0000 07 6578616d706c65 03 636f6d 00 001c 0001")
    assert question("example.com.", "AAAA", 0x1234) == wire
    assert question(".", "NS", 1)[12:] == b"\0" + bytes((0, 2, 0, 1))


# ----------------------------------------------------------------------------- icmp, command


@pytest.mark.skipif(os.geteuid() != 0, reason="raw sockets need root")
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_icmp_passes_where_an_echo_comes_back(address: str) -> None:
    assert asyncio.run(ask("icmp", 0, address=ip_address(address))) == PASSED


def command(script: str, *more: str, **fields: Any) -> Outcome:
    return asyncio.run(ask("command", 80, command=(sys.executable, "-c", script, *more), **fields))


def test_a_command_passes_with_exit_code_0() -> None:
    assert command("") == PASSED
    assert command("raise SystemExit(7)") == Outcome("exit_code", "7")
    missing = asyncio.run(ask("command", 80, command=("/no/such/program",)))
    assert missing == Outcome("not_run", "/no/such/program: no such file or directory")


def test_a_command_is_told_the_server_and_no_shell_sees_its_arguments() -> None:
    words = ("probe", "{address}:{port}", "; exit 1", "$HOME", "{vip}")
    told = arguments(subject("command", 80, command=words))
    assert told == ["probe", "127.0.0.1:80", "; exit 1", "$HOME", "198.18.1.100"]


def test_a_command_that_hangs_is_killed_with_what_it_started(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    script = (
        "import subprocess, sys, pathlib, time;"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        "pathlib.Path(sys.argv[1]).write_text(str(child.pid)); time.sleep(60)"
    )
    assert command(script, str(note), timeout_s=1.0).word == "no_answer"
    stat = Path(f"/proc/{note.read_text()}/stat")

    def is_gone() -> bool:
        return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"

    assert eventually(is_gone), "what the command started is still there"


# ----------------------------------------------------------------------------- errors of sockets


def test_what_this_host_lacks_is_no_failure_of_a_server() -> None:
    for number in (24, 105, 99):  # EMFILE, ENOBUFS, EADDRNOTAVAIL
        with pytest.raises(Unasked):
            of_error(OSError(number, os.strerror(number)))


def test_each_error_has_its_word() -> None:
    words = {111: "refused", 104: "reset", 110: "no_answer", 113: "unreachable", 101: "unreachable"}
    assert {number: of_error(OSError(number, os.strerror(number))).word for number in words} == words
