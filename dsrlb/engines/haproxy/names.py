"""What things are called in a configuration of HAProxy, and how words of a person's are quoted there.

*Source*: HAProxy 2.6 configuration manual, section 2.2 (quoting), 4 (names of proxies), 4.2 (bind: several
addresses between commas; variables in them).
"""

from __future__ import annotations

from pathlib import PurePath

from dsrlb.errors import ConfigError
from dsrlb.model import Address, Backend, Service
from dsrlb.proxying import DEFAULT_GROUP

NOT_IN_SOCKETS = ",$"  # after a comma there is another address, after a dollar sign a variable


def proxy_name(service: Service, group: str = DEFAULT_GROUP) -> str:
    """Return what a service and its default group are called, or another group: ``web``, ``web::api``.

    Unambiguous: neither a name nor a group has a colon, and no address with its port has just two in a row.
    """
    name = service.label or f"{service.vip}:{service.port}"
    return name if group == DEFAULT_GROUP else f"{name}::{group}"


def server_name(backend: Backend) -> str:
    """Return what a server is called; behind an IPv6 address, a colon would not tell that a port comes."""
    if backend.label or not backend.port:
        return backend.label or str(backend.address)
    return f"{backend.address}{':' if backend.address.version == 4 else '_'}{backend.port}"


def entries(service: Service, backend: Backend) -> list[tuple[str, str]]:
    """Return the names of proxy and server by which a backend is in HAProxy: once for each of its groups."""
    return [(proxy_name(service, group), server_name(backend)) for group in backend.groups]


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


def socket_words(path: PurePath) -> str:
    """Return where to listen for commands.  ConfigError: HAProxy takes no socket of that name."""
    name = str(path)
    if not name.isprintable() or any(one in name for one in NOT_IN_SOCKETS):
        raise ConfigError(
            f"{name!r} cannot be a socket of HAProxy's, for it has a comma, a dollar sign, or what is not "
            "printable; give the admin socket, beside which that is, another name (--admin)."
        )
    return quoted(name)
