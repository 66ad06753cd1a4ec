"""Is every open file waited for, also where there are many, and is it told when there may be no more?"""

from __future__ import annotations

import fcntl
import resource
import socket
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from dsrlb.errors import HostError
from dsrlb.host import guard
from dsrlb.host.descriptors import allow_most, readable

SELECT_HAS = 1024  # FD_SETSIZE


@pytest.fixture
def limits() -> Iterator[tuple[int, int]]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_descriptor_beyond_those_of_select_is_waited_for(limits: tuple[int, int]) -> None:
    allow_most()
    if limits[1] <= SELECT_HAS:
        pytest.skip(f"this host allows {limits[1]} open files at most")
    one, other = socket.socketpair()
    with one, other, socket.socket(fileno=fcntl.fcntl(one, fcntl.F_DUPFD, SELECT_HAS)) as far:
        assert far.fileno() >= SELECT_HAS
        assert readable([far], 0) == []
        other.send(b".")
        assert readable([far, other], None) == [far]


def test_a_process_has_as_many_open_files_as_it_may(limits: tuple[int, int]) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
    allow_most()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (limits[1], limits[1])


def test_more_vips_than_open_files_are_one_sentence(limits: tuple[int, int]) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
    with pytest.raises(HostError, match=r"ulimit -Hn, or LimitNOFILE="):
        guard.claim(ip_address(0xC6120000 + number) for number in range(300))
