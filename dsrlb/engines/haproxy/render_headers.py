"""What servers are told of the client in header fields, and what is kept of what the client says itself.

Whoever writes X-Forwarded-For can claim any address, so fields of a client that is no proxy of ours go out
first.  Servers that hand fields on as variables, as CGI does, make the same of all that is no letter or digit
in their names (RFC 3875, section 4.1.18)::

    X-Forwarded-For   X_Forwarded-For   x.forwarded_for     ──►   HTTP_X_FORWARDED_FOR

so fields are found by what their names become.  Of a proxy of ours only the first of these is kept, for the
others it may have passed on from whom it does not trust.  HAProxy has names in lower case here.

An address of IPv6 is in brackets and quotes in Forwarded (RFC 7239, section 6).

*Source*: HAProxy 2.6 configuration manual, sections 4.2 (http-request), 7.3.4 and 7.3.5, 8.2.4 (log format).
"""

from __future__ import annotations

from collections.abc import Iterator

from dsrlb.engines.haproxy.names import quoted
from dsrlb.proxying import ProxyOptions

NO_LETTER = "[^a-z0-9]"
HYPHENS = "[-a-z0-9]*"


def header_lines(options: ProxyOptions) -> Iterator[str]:
    """Yield the rules of a frontend."""
    keeps = options.trust_forwarded
    yield f"    # {'look-alikes of what proxies tell' if keeps else 'what clients claim to be'}"
    if not keeps:
        yield "    http-request del-header Forwarded"
    yield _without("x forwarded ", keeps_hyphens=keeps)
    yield _without("x real ip", keeps_hyphens=keeps)
    # Whom a certificate is for, is what was verified here, or by a proxy of ours before this one.
    yield _without("x ssl client ", keeps_hyphens=keeps and not options.client_ca)
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
        yield "    http-request set-header X-SSL-Client-Verify SUCCESS if { ssl_c_used }"
        yield "    http-request set-header X-SSL-Client-DN %{+Q}[ssl_c_s_dn] if { ssl_c_used }"


def _without(words: str, *, keeps_hyphens: bool) -> str:
    """Return what deletes fields of these words, however joined; the last is a beginning if a space ends it.

    keeps_hyphens: but for those that are joined by hyphens alone.
    """
    begins = words.endswith(" ")
    but = f"(?!{words.replace(' ', '-')}{HYPHENS if begins else ''}$)" if keeps_hyphens else ""
    pattern = f"^{but}{words.replace(' ', NO_LETTER)}{'' if begins else '$'}"
    return f"    http-request del-header {quoted(pattern)} -m reg"
