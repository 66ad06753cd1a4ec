"""Does a file say what flags say, and is it told at which of its lines the host objects?"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from config_lines import BACKEND_LINES, SERVICE_LINES, WHOLE

from dsrlb.config import Config, config_in, located, read_config
from dsrlb.errors import UsageError
from dsrlb.model import Backend, Service, Timeouts


def test_a_file_becomes_the_configuration_that_it_describes() -> None:
    config = config_in(WHOLE.encode(), "f.toml")
    web, dns = config.services
    rs1, rs2 = web.backends
    assert config.interfaces == ("eth0", "eth1")
    assert (web.name, web.label, web.mode, web.scheduler) == ("198.18.1.100:80/tcp", "web", "l2dsr", "wrr")
    assert (web.persist, web.timeouts) == (
        config_in(WHOLE.encode(), "g.toml").services[0].persist,
        Timeouts(established_s=3600),
    )
    assert web.persist is not None and (web.persist.timeout_s, web.persist.ipv4_prefix) == (300, 24)
    assert rs1 == Backend(ip_address("198.18.1.11"), 2, bytes.fromhex("0200c6120111"), label="rs1")
    assert rs2 == Backend(ip_address("2001:db8:1::12"))
    assert (dns.name, dns.scheduler, dns.timeouts) == ("[2001:db8:1::100]:*/udp", "maglev", Timeouts())


def test_the_smallest_file_and_flags_make_the_same_configuration() -> None:
    config = config_in((SERVICE_LINES + BACKEND_LINES).encode(), "f.toml")
    backend = Backend(ip_address("198.18.1.11"))
    assert config == Config((Service(ip_address("198.18.1.100"), 80, "tcp", "l2dsr", "maglev", (backend,)),))
    assert config.origin is not None and config.origin.file == "f.toml"


@pytest.mark.parametrize("name", ["no/such.toml", "", "/", "/etc", "\0", "x" * 5000])
def test_a_file_that_cannot_be_read_is_a_matter_of_usage(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_config(name)


def test_what_the_host_says_is_told_at_the_lines_that_name_it() -> None:
    config = config_in(WHOLE.encode(), "f.toml")
    findings = [("eth1", "eth1 is down"), (ip_address("198.18.1.11"), "off-link"), ("eth7", "unplaced")]
    vip: list[tuple[Any, str]] = [(ip_address("2001:db8:1::100"), "owned")]
    assert located(config, findings + vip) == (
        "f.toml:1: eth1 is down",
        "f.toml:1: unplaced",
        "f.toml:15: off-link",
        "f.toml:24: owned",
        "f.toml:27: off-link",
    )
    assert located(Config(config.services), findings[:2]) == ("eth1 is down", "off-link")
