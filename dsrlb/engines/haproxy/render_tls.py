"""TLS in a configuration of HAProxy: towards clients, and towards servers.

*Source*: HAProxy 2.6 configuration manual, sections 3.1, 5.1 and 5.2; Mozilla's intermediate recommendation,
version 5.7 (wiki.mozilla.org/Security/Server_Side_TLS).
"""

from __future__ import annotations

from collections.abc import Iterator

from dsrlb.model import ProxyOptions

CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
    "DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384:DHE-RSA-CHACHA20-POLY1305"
)
CIPHERSUITES = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"


def global_lines() -> Iterator[str]:
    """Yield what holds for every connection of TLS."""
    yield f"    ssl-default-bind-ciphers {CIPHERS}"
    yield f"    ssl-default-bind-ciphersuites {CIPHERSUITES}"
    yield "    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets"


def bind_words(options: ProxyOptions) -> str:
    """Return what a listener is told of TLS."""
    if not options.certificates:
        return ""
    words = " ssl " + " ".join(f"crt {path}" for path in options.certificates)
    return words + (" alpn h2,http/1.1" if options.layer == 7 else "")
