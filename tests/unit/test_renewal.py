"""Is a certificate that was renewed noticed, once, and by nothing else than its content?"""

from __future__ import annotations

import os
from ipaddress import ip_address
from pathlib import Path

from golden_haproxy import PROGRAM, needs_haproxy

from dsrlb.control.renewal import LOOK_EVERY_S, Renewal
from dsrlb.engines.haproxy.patterns import refused
from dsrlb.model import Service
from dsrlb.proxying import ProxyOptions


def test_a_renewed_file_is_noticed_until_it_is_loaded(tmp_path: Path) -> None:
    file, renewal = tmp_path / "www.pem", Renewal()
    proxy = ProxyOptions(certificates=(str(file),))
    services = [Service(ip_address("198.18.1.100"), 443, "tcp", "proxy", "rr", (), proxy=proxy)]
    file.write_text("one")
    assert renewal.has_changed(services)  # nothing was loaded yet
    renewal.note(services, 0)
    assert not renewal.has_changed(services)
    os.utime(file, (0, 0))
    assert not renewal.has_changed(services)
    file.write_text("two")
    assert renewal.has_changed(services)
    file.unlink()
    assert renewal.has_changed(services)
    renewal.note(services, 0)
    assert not renewal.has_changed(services)


def test_files_are_looked_at_once_a_minute() -> None:
    renewal = Renewal()
    renewal.note([], 100)
    times = [100, 159, 100 + LOOK_EVERY_S, 161, 219, 221]
    assert [at for at in times if renewal.is_due(at)] == [160, 221]


@needs_haproxy
def test_haproxy_is_asked_which_regular_expressions_it_refuses() -> None:
    assert refused(str(PROGRAM), []) == {}
    assert refused(str(PROGRAM), ["^/a", 'it\'s "#1"', r"\.(png|css)$"]) == {}
    said = refused(str(PROGRAM), ["^/a", "(", "b", r"a\U"])
    assert list(said) == ["(", r"a\U"] and "parenthesis" in said["("]
