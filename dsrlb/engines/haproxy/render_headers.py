"""What servers are told of the client in header fields, and what is kept of what the client says itself.

Whoever writes X-Forwarded-For can claim any address, so fields of a client that is no proxy of ours go out
first; also X_Forwarded_For, which some servers (by CGI) do not tell from it.  An address of IPv6 is in
brackets and quotes in Forwarded (RFC 7239, section 6).

*Source*: HAProxy 2.6 configuration manual, sections 4.2 (http-request), 7.3.4 and 7.3.5, 8.2.4 (log format).
"""

from __future__ import annotations

from collections.abc import Iterator

from dsrlb.engines.haproxy.names import quoted
from dsrlb.proxying import ProxyOptions

CLAIMS = ("X-Forwarded- -m beg", "X_Forwarded_ -m beg", "Forwarded", "X-Real-IP", "X_Real_IP")
CERTIFICATE_CLAIMS = ("X-SSL-Client- -m beg", "X_SSL_Client_ -m beg")


def header_lines(options: ProxyOptions) -> Iterator[str]:
    """Yield the rules of a frontend."""
    if not options.trust_forwarded:
        yield "    # what clients claim to be"
        yield from (f"    http-request del-header {one}" for one in CLAIMS)
    proto = "https" if options.certificates else "http"
    if options.forwarded in ("x-forwarded-for", "both"):
        yield "    http-request add-header X-Forwarded-For %[src]"
        kept = " unless { req.hdr(X-Forwarded-Proto) -m found }" if options.trust_forwarded else ""
        yield f"    http-request set-header X-Forwarded-Proto {proto}{kept}"
    if options.forwarded in ("forwarded", "both"):
        four, six = f"for=%[src];proto={proto}", f'for="[%[src]]";proto={proto}'
        yield f"    http-request add-header Forwarded {quoted(four)} if {{ src -m ip 0.0.0.0/0 }}"
        yield f"    http-request add-header Forwarded {quoted(six)} unless {{ src -m ip 0.0.0.0/0 }}"
    if options.client_ca:
        yield "    # whom a client's certificate is for: only what was verified here"
        yield from (f"    http-request del-header {one}" for one in CERTIFICATE_CLAIMS)
        yield "    http-request set-header X-SSL-Client-Verify SUCCESS if { ssl_c_used }"
        yield "    http-request set-header X-SSL-Client-DN %{+Q}[ssl_c_s_dn] if { ssl_c_used }"
