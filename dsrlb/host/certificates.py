"""Files of certificates: are they there, can they be used, and have they changed?

HAProxy takes a PEM file with certificate, chain and key, or one with the key in a file beside; of a
directory, each file but those that belong to another one::

    www.pem   certificate, chain, key           www.crt   certificate, chain
    www.pem.ocsp   OCSP answer                  www.key, www.ocsp

*Source*: HAProxy 2.6 configuration manual, section 5.1 (crt, ca-file), 3.1 (ssl-load-extra-files,
ssl-load-extra-del-ext).
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, timezone
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from dsrlb.proxying import ProxyOptions
from dsrlb.wire.x509 import Certificate, certificates_in

BESIDE = (".key", ".ocsp", ".issuer", ".sctl")
SOON = timedelta(days=14)
MOST_BYTES = 1 << 20
_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----[^-]*-----END \1-----")
_KEY = re.compile(rb"-----BEGIN ([A-Z0-9 ]*)PRIVATE KEY-----\s+(Proc-Type: 4,ENCRYPTED)?")


class Fault(NamedTuple):
    """What is wrong with a file, or a directory, that a person has named."""

    path: str  # as it was named
    sentence: str
    is_old: bool = False  # what was served before can be served on


class _Unusable(Exception):
    """A file cannot be used; the message ends a sentence that begins with its name."""


def faults(options: ProxyOptions, now: datetime) -> Iterator[Fault]:
    """Yield what keeps the files of a service from being used."""
    for path, file, leaf in _certificates(options):
        if isinstance(leaf, _Unusable):
            yield Fault(path, f"Certificate {file}: {leaf}.")
        elif leaf.ends <= now:
            yield Fault(path, f"Certificate {file}: it expired on {_person(leaf.ends)}; renew it.", True)
        elif leaf.begins > now:
            begins = _person(leaf.begins)
            yield Fault(path, f"Certificate {file}: it is not valid before {begins}; renew it.", True)
    for name, path in (("client_ca", options.client_ca), ("server_ca", options.server_ca)):
        try:
            if path:
                _require_authorities(Path(path))
        except _Unusable as error:
            yield Fault(path, f"{name} {path}: {error}.")


def warnings(options: ProxyOptions, now: datetime) -> Iterator[str]:
    """Yield what may be meant so, or is going to be a fault soon."""
    known = [(file, leaf) for _, file, leaf in _certificates(options) if not isinstance(leaf, _Unusable)]
    for file, leaf in known:
        if leaf.ends <= now + SOON:
            when = "expired" if leaf.ends <= now else "expires"
            yield f"certificate {file} {when} on {_person(leaf.ends)}; renew it"
    for host in unnamed(options):
        yield f"no certificate is for {host}, which a route is for: browsers will refuse it"


def unnamed(options: ProxyOptions) -> list[str]:
    """Return the hosts that a route is for and no certificate is; none where no certificate can be used."""
    leaves = [leaf for _, _, leaf in _certificates(options) if not isinstance(leaf, _Unusable)]
    asked = dict.fromkeys(host for route in options.routes for host in route.hosts)
    return [host for host in asked if leaves and not any(one.is_for(host.strip("[]")) for one in leaves)]


def _certificates(options: ProxyOptions) -> Iterator[tuple[str, Path, Certificate | _Unusable]]:
    """Yield each file of certificates: as what it was named, its own path, and its certificate or why not."""
    for path in options.certificates:
        try:
            several = _bundles(Path(path))
        except _Unusable as error:
            yield path, Path(path), error
            continue
        for file in several:
            try:
                yield path, file, _leaf(file)
            except _Unusable as error:
                yield path, file, error


def ends(options: ProxyOptions) -> Iterator[tuple[str, datetime]]:
    """Yield each file with a certificate that can be used, and when that expires."""
    for _, file, leaf in _certificates(options):
        if not isinstance(leaf, _Unusable):
            yield str(file), leaf.ends


def digests(several: Iterable[ProxyOptions]) -> dict[str, bytes]:
    """Return each file that HAProxy reads for these services, with what changes when its content does."""
    found: dict[str, bytes] = {}
    for file in dict.fromkeys(file for options in several for file in _files(options)):
        try:
            found[str(file)] = blake2b(file.read_bytes(), digest_size=16).digest()
        except OSError:
            continue
    return found


def _files(options: ProxyOptions) -> Iterator[Path]:
    for file in bundles(options):
        yield file
        yield from (_beside(file, extension) for extension in BESIDE)
    yield from (Path(one) for one in (options.client_ca, options.server_ca) if one)


def bundles(options: ProxyOptions) -> Iterator[Path]:
    """Yield the files with certificates of a service, whether they are there or not."""
    for path in map(Path, options.certificates):
        try:
            yield from _bundles(path)
        except _Unusable:
            yield path


def pair(file: Path) -> str:
    """Return the certificates and the key of a file, or the key beside it, and nothing else.

    OSError, ValueError: they cannot be read.
    """
    content, beside = file.read_text("ascii"), _beside(file, ".key")
    if "PRIVATE KEY" not in content:
        content += "\n" + beside.read_text("ascii")
    return "".join(f"{match.group()}\n" for match in _BLOCK.finditer(content))


def key_beside(file: Path) -> Path:
    """Return where the key of a certificate may be that is not in its file."""
    return _beside(file, ".key")


def _bundles(path: Path) -> list[Path]:
    """Return the files with certificates: this one, or those in this directory."""
    try:
        if not path.is_dir():
            return [path]
        inside = sorted(one for one in path.iterdir() if not one.name.startswith(".") and one.is_file())
    except OSError as error:
        raise _Unusable(_why(error)) from None
    several = [one for one in inside if one.suffix not in BESIDE]
    if not several:
        raise _Unusable("the directory has no certificate in it; put a PEM file there")
    return several


def _leaf(file: Path) -> Certificate:
    """Return the certificate of a file, which has its key."""
    content = _content(file)
    try:
        found = certificates_in(content)
    except ValueError:
        raise _Unusable("a certificate in it is damaged; put the PEM file there again") from None
    if not found:
        raise _Unusable("there is no certificate in it; it is to be a PEM file with certificate and key")
    beside = _beside(file, ".key")
    key = _KEY.search(content)
    if key is None and beside.exists():
        key = _KEY.search(_content(beside))
    if key is None:
        raise _Unusable(f"there is no private key in it, nor in {beside.name} beside; add it")
    if key[1].startswith(b"ENCRYPTED") or key[2]:
        raise _Unusable("its private key is under a passphrase, which nobody can enter here; take that off")
    _require_pair(file, None if _KEY.search(content) else beside)
    return found[0]


def _require_pair(file: Path, key: Path | None) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(file, key, password=lambda: "")
    except ssl.SSLError as error:
        if "MISMATCH" in (error.reason or ""):
            raise _Unusable(
                "the private key is not that of the certificate; put the right one there"
            ) from None
        raise _Unusable(
            f"OpenSSL refuses it ({(error.reason or str(error)).lower().replace('_', ' ')})"
        ) from None
    except (OSError, ValueError) as error:
        raise _Unusable(f"it cannot be used ({error})") from None


def _require_authorities(file: Path) -> None:
    content = _content(file)
    try:
        if not certificates_in(content):
            raise _Unusable("there is no certificate in it; it is to be a PEM file")
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
    except (ssl.SSLError, OSError, ValueError):
        raise _Unusable("a certificate in it is damaged; put the PEM file there again") from None


def _content(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            content = opened.read(MOST_BYTES + 1)
    except OSError as error:
        raise _Unusable(_why(error)) from None
    if len(content) > MOST_BYTES:
        raise _Unusable("it is too large for certificates")
    return content


def _why(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    return f"it cannot be read ({error.strerror})"


def _person(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _beside(file: Path, extension: str) -> Path:
    """Return the file beside a certificate's that has what belongs to it."""
    return file.with_suffix(extension) if file.suffix == ".crt" else file.with_name(file.name + extension)


def now() -> datetime:
    """Return the time, as certificates have it."""
    return datetime.now(timezone.utc)
