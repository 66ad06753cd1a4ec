"""Mode proxy and the programs that people ask by: h2load, wrk, nghttp, openssl; also during reloads."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from golden_haproxy import needs_haproxy
from lab_proxy import HTTP, proxied, vip
from lab_reload import Start, Write, reload

from dsrlb.lab.commands import inside
from dsrlb.lab.topology import Lab

pytestmark = needs_haproxy
FOLDER = Path(__file__).parents[1] / "certificate"
WITHIN_S = 60


@pytest.fixture(scope="module")
def lab(inline_lab: Lab) -> Lab:
    return inline_lab


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return Path(shutil.copy(FOLDER / "server.pem", tmp_path / "www.pem"))


@pytest.fixture
def write(write: Write, certificate: Path, tmp_path: Path, lab: Lab) -> Write:
    """Write a file with http and https; in seconds, what takes a reload of HAProxy if it is another one."""
    state = f'state_dir = "{tmp_path}/state"\n'

    def both(idle_timeout: int = 60) -> None:
        more = f"{HTTP}idle_timeout = {idle_timeout}\n"
        secure = f'{more}certificates = "{certificate}"\n'
        at_80 = proxied(lab, secure, port=443).replace("weight = 1\n", "port = 80\n")
        write(state, proxied(lab, more), at_80)

    return both


def program(lab: Lab, *words: str) -> subprocess.Popen[str]:
    """Begin a program of the client's; skip the test where it is not installed."""
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed")
    command = inside(lab.namespace("client"), *words)
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def said(lab: Lab, *words: str) -> str:
    return program(lab, *words).communicate(timeout=WITHIN_S)[0]


@pytest.mark.parametrize(("protocol", "first"), [("-m4", 0), ("--h1", 1)], ids=["http2", "http1"])
def test_200_connections_lose_nothing_while_configuration_and_certificate_are_loaded_anew(
    lab: Lab, start: Start, write: Write, certificate: Path, protocol: str, first: int
) -> None:
    write()
    running = start()
    load = program(lab, "h2load", "-c", "200", "-D", "4", protocol, f"https://{vip(lab)}/")
    number, reloads = first, 0
    while load.poll() is None:
        if number % 2:
            fresh = (FOLDER / "names.pem").read_bytes() + (FOLDER / "other.key").read_bytes()
            certificate.with_name("new").write_bytes(fresh)
            certificate.with_name("new").replace(certificate)
        else:
            write(61 + number)
        reload(running)
        number, reloads = number + 1, reloads + (load.poll() is None)
    out = load.communicate(timeout=WITHIN_S)[0]
    assert reloads, "one was over while requests came"
    [(done, failed)] = re.findall(r"(\d+) succeeded, (\d+ failed, \d+ errored, \d+ timeout)", out)
    assert failed == "0 failed, 0 errored, 0 timeout" and int(done) > 200, out
    assert f"status codes: {done} 2xx" in out, out


def test_wrk_finds_no_error(lab: Lab, start: Start, write: Write) -> None:
    write()
    start()
    out = said(lab, "wrk", "-t", "1", "-c", "50", "-d", "1s", f"http://{vip(lab)}/")
    assert int(re.findall(r"(\d+) requests in", out)[0]) > 100, out
    assert "Socket errors" not in out and "Non-2xx" not in out, out


def test_streams_beside_each_other_on_one_connection_of_nghttp_are_all_answered(
    lab: Lab, start: Start, write: Write
) -> None:
    write()
    start()
    out = said(lab, "nghttp", "-ans", "-m", "30", "-W", "20", f"https://{vip(lab)}/file/64k")
    rows = re.findall(r"^ *\d+ +\+?\S+ +\+\S+ +\S+ +(\d+) +\S+ /file/64k$", out, re.MULTILINE)
    assert rows == ["200"] * 30, out


def test_openssl_agrees_on_tls_1_3_and_http_2_and_is_shown_the_certificate(
    lab: Lab, start: Start, write: Write
) -> None:
    write()
    start()
    out = said(lab, "openssl", "s_client", "-connect", f"{vip(lab)}:443", "-alpn", "h2,http/1.1")
    assert "ALPN protocol: h2" in out and "TLSv1.3" in out and "CN = localhost" in out.replace("CN=", "CN = ")
