"""What things are called in a configuration of HAProxy, and how words of a person's are quoted there.

*Source*: HAProxy 2.6 configuration manual, section 2.2 (quoting), 4 (names of proxies).
"""

from __future__ import annotations

from dsrlb.model import Address, Backend, Service


def proxy_name(service: Service, group: str = "") -> str:
    """Return what a service is called, or a group of its servers: ``web``, ``web::api``.

    Unambiguous: neither a name nor a group has a colon, and no address with its port has just two in a row.
    """
    name = service.label or f"{service.vip}:{service.port}"
    return f"{name}::{group}" if group else name


def server_name(backend: Backend) -> str:
    """Return what a server is called; behind an IPv6 address, a colon would not tell that a port comes."""
    if backend.label or not backend.port:
        return backend.label or str(backend.address)
    return f"{backend.address}{':' if backend.address.version == 4 else '_'}{backend.port}"


def place(address: Address, port: int) -> str:
    """Return where to listen, or whom to connect to."""
    return f"ipv{address.version}@{address}:{port}"


def milliseconds(seconds: float) -> str:
    """Return a time."""
    return f"{round(seconds * 1000)}ms"


def quoted(word: str) -> str:
    """Return a word that stands for itself: in strong quotes, in which only the quote itself is special.

    It has no control characters; whoever reads a person's words sees to that.
    """
    if not word.isprintable():
        raise ValueError(f"{word!r} cannot stand in a configuration of HAProxy")
    inside = word.replace("'", "'\\''")  # out of the quotes, a quote, into them again
    return f"'{inside}'"
