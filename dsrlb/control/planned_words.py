"""What differs between two services, or two backends, in the words of the configuration file.  Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from dsrlb import modes
from dsrlb.model import Backend, Persist, Service, person_mac
from dsrlb.remote.jobs import needs_setup

# Fields that have another name in the file, and those that are told by others or not at all.
_CALLED = {"label": "name", "slow_start_s": "slow_start"}
_ASIDE = {"vip", "port", "protocol", "backends", "address", "options", "timeouts"}
_WHOLE = {"check", "proxy"}  # tables of the file: that they differ is said, not how


def service_words(before: Service, after: Service) -> Iterator[str]:
    """Yield what is another in a service, but for its backends."""
    yield from _differing(before, after)
    yield from _differing(before.options, after.options)
    yield from _differing(before.timeouts, after.timeouts, "timeouts.")


def backend_words(before: Backend, after: Backend) -> Iterator[str]:
    """Yield what is another in a backend."""
    yield from _differing(before, after)


def is_same_way(before: Service, after: Service) -> bool:
    """Return whether packets of flows under way go on in the same way, as far as the configuration says."""
    one, other = before.options, after.options
    # Where replies come back by dsrlb, servers know the flows by what stands in for clients.
    is_inline = modes.BY_NAME[before.mode].sees_replies
    is_same_client = (one.snat, one.source) == (other.snat, other.source)
    return before.mode == after.mode and (is_same_client or not is_inline)


def needs_set_up(before: Service, after: Service) -> bool:
    """Return whether servers that stay are to be set up, or in another way."""
    if not needs_setup(after):
        return False
    one, other = before.options, after.options
    is_tunnel = "encap" in modes.BY_NAME[after.mode].options
    is_another_tunnel = is_tunnel and (one.encap, one.encap_port) != (other.encap, other.encap_port)
    return before.mode != after.mode or not needs_setup(before) or is_another_tunnel


def _differing(before: Any, after: Any, head: str = "") -> Iterator[str]:
    for field in fields(before):
        old, new = getattr(before, field.name), getattr(after, field.name)
        if field.name in _ASIDE or old == new:
            continue
        name = head + _CALLED.get(field.name, field.name.removesuffix("_s"))
        yield _told(name, old, new, is_whole=field.name in _WHOLE)


def _told(name: str, old: Any, new: Any, *, is_whole: bool) -> str:
    if is_whole:
        return f"{name} {'removed' if new is None else 'added' if old is None else 'changed'}"
    return f"{name} {_person(new)}, before {_person(old)}"


def _person(value: Any) -> str:
    """Return a value as a person writes it."""
    match value:
        case None | "":
            return "none"
        case bool():
            return str(value).lower()
        case bytes():
            return person_mac(value)
        case tuple():
            return ", ".join(map(str, value))
        case Persist():
            return f"{value.timeout_s}/{value.ipv4_prefix} (IPv6 /{value.ipv6_prefix})"
        case _:
            return str(value)
