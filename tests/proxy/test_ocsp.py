"""OCSP through HAProxy as dsrlb configures it: is one beside a certificate sent, and only a good one?"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from golden_haproxy import needs_haproxy
from proxying import running

pytestmark = [
    needs_haproxy,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed"),
]

TEXT = """[[service]]
name = "web"
vip = "198.18.1.100:443"
mode = "proxy"
[service.proxy]
layer = 7
certificates = "/etc/dsrlb/sites"
[[service.backend]]
name = "rs1"
address = "198.18.1.1"
"""
CA_KEY = ["-CA", "ca.crt", "-CAkey", "ca.key"]


def openssl(at: Path, *words: str, send: str = "") -> str:
    done = subprocess.run(
        ["openssl", *words], cwd=at, input=send, capture_output=True, text=True, check=True, timeout=30
    )
    return done.stdout


def made(at: Path, authority: str) -> Path:
    """Make an authority, a certificate, and its answer that this is good; return the folder of the site."""
    sites, key = at / "sites", ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    sites.mkdir()
    openssl(at, "req", "-x509", *key, "-subj", "/CN=CA", "-days", "9", "-keyout", "ca.key", "-out", "ca.crt")
    openssl(at, "req", *key, "-subj", "/CN=www.example.com", "-keyout", "www.key", "-out", "www.csr")
    openssl(
        at, "x509", "-req", "-in", "www.csr", *CA_KEY, "-set_serial", "4711", "-days", "9", "-out", "www.crt"
    )
    (at / "index.txt").write_text(
        "V\t341231235959Z\t\t1267\tunknown\t/CN=www.example.com\n"
    )  # 0x1267 is 4711
    asked = ["-issuer", "ca.crt", "-cert", "www.crt", "-no_nonce", "-reqout", "request"]
    openssl(at, "ocsp", *asked)
    signed = ["-index", "index.txt", "-CA", "ca.crt", "-rsigner", "ca.crt", "-rkey", "ca.key", "-ndays", "7"]
    openssl(at, "ocsp", *signed, "-reqin", "request", "-respout", "sites/www.pem.ocsp")
    chain = "ca.crt" if authority == "in the chain" else ""
    if not chain:
        shutil.copy(at / "ca.crt", sites / "www.pem.issuer")
    parts = [at / one for one in ("www.crt", chain, "www.key") if one]
    (sites / "www.pem").write_text("".join(one.read_text() for one in parts))
    return sites


def shown(at: Path) -> str:
    """Return what a client is shown of the certificate's state that asks for it."""
    with running(TEXT, at) as it:
        to = ["-connect", f"127.0.0.1:{it.ports['web']}", "-servername", "www.example.com"]
        said = openssl(at, "s_client", *to, "-status")
    assert "CN = www.example.com" in said or "CN=www.example.com" in said
    return said


@pytest.mark.parametrize("authority", ["in the chain", "beside"])
def test_the_answer_beside_a_certificate_is_sent_along(tmp_path: Path, authority: str) -> None:
    made(tmp_path, authority)
    said = shown(tmp_path)
    assert "OCSP Response Status: successful" in said and "Cert Status: good" in said


@pytest.mark.parametrize("what", ["damaged", "stale"])
def test_one_that_is_stale_or_damaged_is_left_out_and_the_certificate_is_shown(
    tmp_path: Path, what: str
) -> None:
    answer = made(tmp_path, "in the chain") / "www.pem.ocsp"
    is_time = re.compile(rb"20[0-9]{12}Z")
    assert is_time.search(answer.read_bytes()), "the times in it can be told"
    old = is_time.sub(b"20200101000000Z", answer.read_bytes())
    answer.write_bytes(old if what == "stale" else answer.read_bytes()[:-9])
    assert "OCSP response: no response sent" in shown(tmp_path)
