"""Is a HAProxy that ends by itself started again, and one that lost its files too?"""

from __future__ import annotations

import shutil

import pytest
from check_servers import eventually, free_port
from golden_haproxy import needs_haproxy
from haproxy_here import DEADLINE_S, connects, service

from dsrlb.control.proxied import Proxied
from dsrlb.errors import HostError
from dsrlb.standing import ALL_UP

pytestmark = needs_haproxy


def test_one_that_has_ended_is_started_again_by_the_same_words(proxied: Proxied) -> None:
    one = service(free_port())
    proxied.change_to([one], "lo", ALL_UP)
    end(proxied)
    assert eventually(lambda: is_back(proxied), DEADLINE_S) and connects(one.port)


def end(proxied: Proxied) -> None:
    """Kill the HAProxy."""
    assert proxied.process is not None and proxied.process._child is not None
    proxied.process._child.kill()


def is_back(proxied: Proxied) -> bool:
    proxied.tend()
    return proxied.revival.count == 1 and not proxied.revival.is_at_work


def test_what_it_said_long_before_its_end_is_not_why_it_ended(
    proxied: Proxied, caplog: pytest.LogCaptureFixture
) -> None:
    proxied.change_to([service(free_port())], "lo", ALL_UP)
    with proxied.places.log.open("a") as log:
        log.write("[ALERT]    (7) : config : of a reload that was refused\n")
    for _ in range(9):
        proxied.tend()
    end(proxied)
    assert eventually(lambda: is_back(proxied), DEADLINE_S)
    assert "HAProxy has ended by itself" in caplog.text and "a reload that was refused" not in caplog.text


def test_one_whose_folder_vanishes_serves_on_says_so_and_is_healed_by_its_end(
    proxied: Proxied, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = service(free_port()), service(free_port())
    proxied.change_to([one], "lo", ALL_UP)
    shutil.rmtree(proxied.places.folder)
    for ask in (
        proxied.text,
        lambda: proxied.prepare([one, other]),
        lambda: proxied.change_to([one, other], "lo", ALL_UP),
    ):
        with pytest.raises(HostError, match=r"are gone\. HAProxy \(process \d+\) serves on as it is; end it"):
            ask()
    shutil.rmtree(proxied.places.folder)
    proxied.tend()
    assert connects(one.port)
    end(proxied)
    assert eventually(lambda: is_back(proxied), DEADLINE_S) and connects(one.port)
    proxied.change_to([one, other], "lo", ALL_UP)
    assert connects(other.port) and "bind ipv4@127.0.0.1" in proxied.text()
    assert caplog.text.count("not answered for") <= 1
