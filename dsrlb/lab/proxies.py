"""The proxies of a lab of two tiers: a ``dsrlb serve`` of mode proxy each, with http and https at the VIP.

All of them run by one file, and have one certificate, which nobody has signed but itself.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from dsrlb.errors import DsrlbError
from dsrlb.lab.balancer import serve
from dsrlb.lab.commands import run
from dsrlb.lab.topology import Lab
from dsrlb.model import Address

HTTP, HTTPS = 80, 443
NAME = "www.example.com"

SERVICE = """\
[[service]]
vip = "{vip}:{port}"
mode = "proxy"
scheduler = "rr"

[service.proxy]
layer = 7
{more}
"""
SERVER = """\
[[service.backend]]
name = "{name}"
address = "{address}"
port = 80
"""


def start_all(lab: Lab) -> None:
    """Start the proxies, and return when each is ready."""
    if not lab.proxy_names:
        return
    file = lab.run_directory / "proxy.toml"
    certificate = make_certificate(lab.run_directory, *(f"IP:{vip}" for vip in lab.vips))
    file.write_text("\n".join(_services(lab, certificate)))
    together = [
        serve(
            lab,
            ["--config", str(file), "--instance", instance(lab.prefix, name)],
            role=name,
            ready=False,
            admin=admin(lab, name),
        )
        for name in lab.proxy_names
    ]
    for one in together:
        one.wait_for(r"\bready\b")


def admin(lab: Lab, role: str) -> Path:
    """Return where the admin socket of a proxy is."""
    return lab.run_directory / f"admin-{role}.sock"


def instance(prefix: str, role: str) -> str:
    """Return what a proxy is called: nodes share the file system, so each needs a name of its own."""
    return f"{prefix}{role}"


def make_certificate(folder: Path, *names: str) -> Path:
    """Make a certificate for names (``IP:198.18.1.100``), with its key in the same file; alone beside it."""
    if shutil.which("openssl") is None:
        raise DsrlbError("a certificate is made by openssl, which is not here: apt install openssl")
    file = folder / "proxy.pem"
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    said = ["-subj", f"/CN={NAME}", "-addext", f"subjectAltName={','.join((f'DNS:{NAME}', *names))}"]
    to = ["-days", "30", "-keyout", str(file), "-out", f"{file}.crt"]
    run(["openssl", "req", "-x509", *key, *said, *to])
    with file.open("a") as whole:
        whole.write(Path(f"{file}.crt").read_text())
    return file


def _services(lab: Lab, certificate: Path) -> Iterator[str]:
    yield 'interfaces = ["e0"]\n'
    for vip in lab.vips:
        for port, more in ((HTTP, ""), (HTTPS, f'certificates = "{certificate}"\n')):
            yield SERVICE.format(vip=_host(vip), port=port, more=more)
            for name in lab.server_names:
                yield SERVER.format(name=name, address=lab.address(name, vip.version))


def _host(vip: Address) -> str:
    return f"[{vip}]" if vip.version == 6 else str(vip)
