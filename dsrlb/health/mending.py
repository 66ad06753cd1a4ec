"""What to do about each word that a failed check ends with, by the kind of the check where that matters.

``no_vip``, ``no_decapsulation``, ``rp_filter``, ``not_on_vip`` and ``server_mac`` say it themselves, with the
names of the case.
"""

from __future__ import annotations

from types import MappingProxyType

MENDING = MappingProxyType(
    {
        "refused": "start the service on the server, or let it listen on this address and port",
        "reset": "the service ends connections at once: see its log, and who may connect to it",
        "no_answer": "see whether the server is up (ping), hangs, or drops what this host sends (firewall)",
        "unreachable": "see the route to the server (ip route get) and the log of routers before it",
        "bad_answer": "something else answers on this port, or the service is broken: compare expect",
        "bad_status": "ask for the same page by hand (curl), see the service's log; compare status",
        "bad_body": "ask for the same page by hand (curl), see the service's log; compare body",
        "bad_tls": "the port speaks no TLS of today, the SNI is unknown (compare sni), or verify refuses it",
        "exit_code": "run the command by hand, as the user of dsrlb, to see what it says",
        "not_run": "see that the command is there and may be executed",
        "unresolved": "see whether the server is up and on this network, or its router: ip neigh, ping",
    }
)

# A command has no answer but its end; and these kinds expect no text that could be compared.
_NOT_HTTP = (
    "something else than HTTP answers on this port, TLS perhaps, or the service is broken: see its log"
)
BY_KIND = MappingProxyType(
    {
        ("command", "no_answer"): "run the command by hand, to see how long it takes; compare timeout",
        ("http", "bad_answer"): _NOT_HTTP,
        (
            "https",
            "bad_answer",
        ): "something else than HTTP answers by TLS, or the service is broken: see its log",
        ("dns", "bad_answer"): "ask the same by hand (dig), see the service's log; compare query and rcode",
    }
)


def mending(kind: str, word: str) -> str:
    """Return what to do about a failed check of that kind, empty if there is nothing to say."""
    return BY_KIND.get((kind, word), MENDING.get(word, ""))
