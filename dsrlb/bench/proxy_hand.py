"""The hand-written haproxy.cfg that dsrlb's is measured against: what its manual shows for such a service."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

CIPHERS = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384"

RETRIES = [
    "    retry-on conn-failure empty-response response-timeout",
    "    http-request disable-l7-retry unless METH_GET",
]


def hand_written(kind: str, port: int, behind: Sequence[int], certificate: Path | None) -> str:
    """Return a configuration for a service of this kind."""
    is_http = kind != "tcp"
    proto = "https" if certificate else "http"
    retries = ["    retries 0"] if kind == "no-retries" else RETRIES if is_http else []
    tls = f" ssl crt {certificate} alpn h2,http/1.1" if certificate else ""
    lines = [
        "global",
        f"    ssl-default-bind-ciphers {CIPHERS}",
        "    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets",
        "defaults",
        f"    mode {'http' if is_http else 'tcp'}",
        "    timeout connect 5s",
        "    timeout client 60s",
        "    timeout server 60s",
        *(["    timeout http-request 10s", "    option forwardfor"] if is_http else []),
        "frontend web",
        f"    bind 127.0.0.1:{port}{tls}",
        *([f"    http-request set-header X-Forwarded-Proto {proto}"] if is_http else []),
        "    default_backend web",
        "backend web",
        "    balance roundrobin",
        *retries,
        *(f"    server rs{number} 127.0.0.2:{one}" for number, one in enumerate(behind, 1)),
    ]
    return "\n".join(lines) + "\n"
