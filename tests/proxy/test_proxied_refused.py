"""Is all as it was where HAProxy does not take what it is told, and is that told in its own words?"""

from __future__ import annotations

import pytest
from check_servers import free_port
from golden_haproxy import needs_haproxy
from haproxy_here import bad_words, connects, service

from dsrlb.control.proxied import Proxied
from dsrlb.control.proxy_left import end_left
from dsrlb.control.proxy_trial import try_proxy
from dsrlb.errors import ConfigError, HostError
from dsrlb.standing import ALL_UP

pytestmark = needs_haproxy


def test_a_reload_that_haproxy_refuses_changes_nothing_and_the_next_one_is_taken(
    proxied: Proxied,
) -> None:
    first, second, third = (service(free_port()) for _ in range(3))
    proxied.prepare([first])
    proxied.change_to([first], "lo", ALL_UP)
    text = proxied.places.configuration.read_text()
    with bad_words(), pytest.raises(HostError, match=r"goes on as before \(unknown keyword 'bogus'") as told:
        proxied.change_to([first, second], "lo", ALL_UP)
    assert "\n" not in str(told.value)
    assert proxied.places.configuration.read_text() == text and proxied.services == (first,)
    assert connects(first.port) and not connects(second.port)
    proxied.change_to([first, third], "lo", ALL_UP)
    assert connects(first.port) and connects(third.port)


def test_a_haproxy_that_does_not_start_is_told_in_its_words_and_leaves_nothing(proxied: Proxied) -> None:
    one = service(free_port())
    with bad_words(), pytest.raises(HostError, match=r"HAProxy does not start \(unknown keyword 'bogus'"):
        proxied.change_to([one], "lo", ALL_UP)
    assert proxied.process is None and not connects(one.port)


def test_what_haproxy_refuses_to_check_is_told_before_anything_is_touched(proxied: Proxied) -> None:
    with bad_words(is_checked=True), pytest.raises(ConfigError, match="unknown keyword 'bogus'"):
        proxied.prepare([service(free_port())])
    assert not proxied.places.configuration.exists()


def test_what_would_be_written_is_tried_without_touching_what_runs(proxied: Proxied) -> None:
    try_proxy([service(free_port())])
    with bad_words(is_checked=True), pytest.raises(ConfigError, match="unknown keyword 'bogus'"):
        try_proxy([service(free_port())])
    assert not proxied.places.folder.exists()


def test_one_that_was_left_stays_as_it_was_where_it_does_not_take_the_next_configuration(
    proxied: Proxied,
) -> None:
    first, second = service(free_port()), service(free_port())
    left = Proxied(proxied.places.folder, keeps=True)
    left.change_to([first], "lo", ALL_UP)
    text = proxied.places.configuration.read_text()
    left.close()
    with bad_words(), pytest.raises(HostError, match="goes on as before"):
        proxied.change_to([second], "lo", ALL_UP)
    proxied.close()
    assert connects(first.port) and proxied.places.configuration.read_text() == text
    assert end_left(proxied.places.folder) and not connects(first.port)
