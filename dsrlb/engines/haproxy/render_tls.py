"""TLS in a configuration of HAProxy: towards clients, and towards servers.

All listeners have one cache of sessions, and a session that is resumed asks for no certificate.  So there is
no cache where one of them does: what was begun at another would let a client in without.

*Source*: HAProxy 2.6 configuration manual, sections 3.1, 5.1 and 5.2; Mozilla's intermediate recommendation,
version 5.7 (wiki.mozilla.org/Security/Server_Side_TLS).
"""

from __future__ import annotations

from collections.abc import Iterator

from dsrlb.engines.haproxy.names import quoted
from dsrlb.proxying import ProxyOptions

CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
    "DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384:DHE-RSA-CHACHA20-POLY1305"
)
CIPHERSUITES = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"


def global_lines(*, asks_clients: bool) -> Iterator[str]:
    """Yield what holds for every connection of TLS; asks_clients: some are to show a certificate."""
    yield "    # TLS: Mozilla's intermediate recommendation"
    for side in ("bind", "server"):
        yield f"    ssl-default-{side}-ciphers {CIPHERS}"
        yield f"    ssl-default-{side}-ciphersuites {CIPHERSUITES}"
        yield f"    ssl-default-{side}-options ssl-min-ver TLSv1.2 no-tls-tickets"
    yield "    ssl-load-extra-del-ext   # www.crt has its key in www.key, its OCSP answer in www.ocsp"
    yield "    tune.ssl.default-dh-param 2048"
    if asks_clients:
        yield "    tune.ssl.cachesize 0   # a session of one service would stand for a certificate at another"


def bind_words(options: ProxyOptions) -> str:
    """Return what a listener is told of TLS."""
    if not options.certificates:
        return ""
    words = " ssl " + " ".join(f"crt {quoted(path)}" for path in options.certificates)
    if options.client_ca:
        words += f" ca-file {quoted(options.client_ca)} verify {options.client_certificate}"
    return words + (" alpn h2,http/1.1" if options.layer == 7 else "")


def server_words(options: ProxyOptions) -> str:
    """Return what the connection to a server is told of TLS, and of the protocol in it."""
    is_h2 = options.layer == 7 and options.server_protocol == "h2"
    if not options.server_tls:
        return " proto h2" if is_h2 else ""
    words = " ssl"
    if options.server_ca:
        words += f" verify required ca-file {quoted(options.server_ca)}"
        words += f" verifyhost {options.server_name}" if options.server_name else ""
    else:
        words += " verify none"
    words += f" sni str({options.server_name})" if options.server_name else ""
    return words + (" alpn h2" if is_h2 else "")
