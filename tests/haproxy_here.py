"""Services of mode proxy on this host's loopback, and words that HAProxy does not take."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import pytest

from dsrlb.control import proxy_trial, proxy_written
from dsrlb.engines.haproxy import render
from dsrlb.model import Backend, Service
from dsrlb.proxying import NO_PROXY

HERE = ip_address("127.0.0.1")
DEADLINE_S = 30.0


def service(port: int) -> Service:
    return Service(HERE, port, "tcp", "proxy", "rr", (Backend(HERE, port=port),), proxy=NO_PROXY)


def connects(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex((str(HERE), port)) == 0


@contextmanager
def bad_words(*, is_checked: bool = False) -> Iterator[None]:
    """Write what HAProxy does not take, and do not let it be checked before."""
    right = render.configuration
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(render, "configuration", lambda *words: right(*words) + "    bogus\n")
        if not is_checked:
            patch.setattr(proxy_written, "check", lambda *_: None)
            patch.setattr(proxy_trial, "check", lambda *_: None)
        yield
