"""Is everything that is wrong with files of certificates told before HAProxy is given them?"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsrlb.host.certificates import digests, faults, pair, warnings
from dsrlb.proxying import ProxyOptions, Route
from dsrlb.wire.x509 import Certificate, certificates_in

FOLDER = Path(__file__).parents[1] / "certificate"
PAIR, OTHER_KEY = (FOLDER / "server.pem").read_bytes(), (FOLDER / "other.key").read_bytes()
BLOCK = re.compile(rb"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----\n", re.DOTALL)
KEY, CERTIFICATE = (match.group() for match in BLOCK.finditer(PAIR))
(IT,) = certificates_in(PAIR)
NOW = IT.begins + timedelta(days=1)
ENCRYPTED = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n"

Put = Callable[..., str]


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """Write a file, and return its path."""

    def write(name: str, *content: bytes) -> str:
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"".join(content))
        return str(file)

    return write


def told(now: datetime = NOW, **options: Any) -> list[str]:
    return [fault.sentence for fault in faults(ProxyOptions(**options), now)]


def test_a_certificate_with_its_key_in_any_order_or_beside_is_right(put: Put) -> None:
    several = put("a.pem", PAIR), put("b.pem", CERTIFICATE, KEY), put("c.crt", CERTIFICATE)
    put("c.key", KEY)
    several += (put("d.pem", CERTIFICATE),)
    put("d.pem.key", KEY)
    assert told(certificates=several, client_ca=several[0], server_ca=several[2]) == []


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([b"nothing"], "there is no certificate in it"),
        ([KEY], "there is no certificate in it"),
        ([CERTIFICATE], "there is no private key in it, nor in www.pem.key beside"),
        ([CERTIFICATE, OTHER_KEY], "the private key is not that of the certificate"),
        ([CERTIFICATE, ENCRYPTED], "its private key is under a passphrase"),
        ([CERTIFICATE, KEY[:80], KEY[100:]], "OpenSSL refuses it"),
        ([CERTIFICATE[:200], CERTIFICATE[300:], KEY], "is damaged"),
        ([PAIR, b"x" * (1 << 20)], "it is too large"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_in_one_sentence(
    put: Put, content: list[bytes], says: str
) -> None:
    path = put("www.pem", *content)
    (sentence,) = told(certificates=(path,))
    assert sentence.startswith(f"Certificate {path}: ") and says in sentence and sentence.endswith(".")


def test_a_file_that_is_not_there_or_cannot_be_read_is_told(put: Put, tmp_path: Path) -> None:
    missing, empty = str(tmp_path / "none.pem"), tmp_path / "empty"
    empty.mkdir()
    loop = tmp_path / "loop.pem"
    loop.symlink_to(loop)
    said = told(certificates=(missing, str(empty), str(loop)), client_ca=missing, server_ca=str(empty))
    assert [re.sub(r"^\S+ \S+: ", "", one) for one in said[:2]] == [
        "there is no such file.",
        "the directory has no certificate in it; put a PEM file there.",
    ]
    assert "cannot be read" in said[2]
    assert said[3] == f"client_ca {missing}: there is no such file."
    assert said[4].startswith(f"server_ca {empty}: it cannot be read")


def test_each_file_of_a_directory_is_looked_at_but_those_that_belong_to_another(put: Put) -> None:
    path = str(Path(put("sites/a.pem", PAIR)).parent)
    for name in ("a.pem.ocsp", "a.pem.issuer", ".hidden", "b.key"):
        put(f"sites/{name}", b"nothing")
    assert told(certificates=(path,)) == []
    put("sites/README", b"nothing")
    (sentence,) = told(certificates=(path,))
    assert sentence.startswith(f"Certificate {path}/README: there is no certificate in it")


def test_a_certificate_whose_time_is_over_or_has_not_come_can_stay_but_not_be_new(put: Put) -> None:
    options = ProxyOptions(certificates=(put("www.pem", PAIR),))
    (over,) = faults(options, IT.ends + timedelta(seconds=1))
    assert over.is_old and f"it expired on {IT.ends:%Y-%m-%d}" in over.sentence
    (early,) = faults(options, IT.begins - timedelta(seconds=1))
    assert early.is_old and f"it is not valid before {IT.begins:%Y-%m-%d}" in early.sentence


def test_one_that_expires_soon_or_is_for_no_host_of_a_route_is_warned_of(put: Put) -> None:
    path = put("www.pem", PAIR)
    named = ProxyOptions(certificates=(path,), routes=(Route(hosts=(IT.names[0], "other.example.com")),))
    assert list(warnings(named, NOW)) == [
        "no certificate is for other.example.com, which a route is for: browsers will refuse it"
    ]
    (soon,) = warnings(ProxyOptions(certificates=(path,)), IT.ends - timedelta(days=13))
    assert soon.startswith(f"certificate {path} expires on")
    (over,) = warnings(ProxyOptions(certificates=(path,)), IT.ends)
    assert over.startswith(f"certificate {path} expired on")


def test_the_digests_follow_every_file_that_is_loaded(put: Put, tmp_path: Path) -> None:
    one = put("sites/a.pem", PAIR)
    options = [ProxyOptions(certificates=(str(tmp_path / "sites"),), client_ca=put("ca.pem", CERTIFICATE))]
    seen = [digests(options)]
    assert digests(options) == seen[0]
    for name, content in (
        ("sites/a.pem", KEY),
        ("sites/a.pem.ocsp", b"1"),
        ("sites/b.pem", b""),
        ("ca.pem", b""),
    ):
        put(name, content)
        seen.append(digests(options))
    shutil.rmtree(Path(one).parent)
    seen.append(digests(options))
    assert all(one not in seen[:number] for number, one in enumerate(seen))


def test_a_pair_is_certificates_and_key_of_a_file_and_of_the_one_beside_without_empty_lines(put: Put) -> None:
    both = CERTIFICATE.decode() + KEY.decode()
    assert pair(Path(put("a.pem", b"words\n\n", CERTIFICATE, b"\n\n", KEY))) == both
    put("b.key", KEY)
    assert pair(Path(put("b.crt", CERTIFICATE))) == both
    with pytest.raises(OSError, match=r"c\.pem\.key"):
        pair(Path(put("c.pem", CERTIFICATE)))


# ----------------------------------------------------------------------------- X.509


def test_names_and_times_are_those_that_openssl_tells() -> None:
    (it,) = certificates_in((FOLDER / "names.pem").read_bytes())
    assert it.names == ("www.example.com", "*.api.example.com", "198.18.1.100", "2001:db8::10")
    assert it.begins == datetime(2026, 11, 29, 18, 57, 17, tzinfo=timezone.utc)
    assert it.ends == datetime(2126, 11, 5, 18, 57, 17, tzinfo=timezone.utc)


def test_a_certificate_without_other_names_is_for_its_common_name() -> None:
    assert IT.names == ("localhost",)


@pytest.mark.parametrize(
    ("names", "host", "is_for"),
    [
        (("www.example.com",), "WWW.example.com", True),
        (("*.example.com",), "www.example.com", True),
        (("*.example.com",), "*.example.com", True),
        (("*.example.com",), "a.b.example.com", False),
        (("*.example.com",), "example.com", False),
        (("example.com",), "www.example.com", False),
        (("www.example.com",), "*.example.com", False),
        (("198.18.1.1",), "198.18.1.1", True),
    ],
)
def test_a_certificate_is_for_a_host_by_its_names(names: tuple[str, ...], host: str, is_for: bool) -> None:
    assert Certificate(names, IT.begins, IT.ends).is_for(host) is is_for


@given(st.integers(0, len(CERTIFICATE) - 1), st.binary(max_size=40), st.integers(0, 60))
def test_a_damaged_certificate_is_told_by_a_value_error_and_nothing_else(
    at: int, put_in: bytes, cut: int
) -> None:
    with contextlib.suppress(ValueError):
        certificates_in(CERTIFICATE[:at] + put_in + CERTIFICATE[at + cut :])
