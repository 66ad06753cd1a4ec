"""Whatever limits a service has: does HAProxy take what it is told of them, and refuse nothing in shadow?"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path

from golden_haproxy import complaints, needs_haproxy, rendered
from hypothesis import given, settings
from hypothesis import strategies as st

from dsrlb.model import Backend, Service
from dsrlb.proxying import Limits, ProxyOptions, Rate

REFUSING = ("return status", "deny", "tarpit deny", "silent-drop", "reject")
RATES = st.none() | st.builds(Rate, st.integers(1, 1_000_000), st.integers(1, 86_400))
COUNTS = st.sampled_from([0, 1, 1_000_000])
TIMES = st.sampled_from([0.1, 2.5, 600.0])
NETWORKS = st.lists(
    st.builds(lambda bits, of: IPv4Network((of << (32 - bits), bits)), st.just(16), st.integers(0, 65_535))
    | st.builds(lambda of: IPv6Network((of, 128)), st.integers(1 << 100, (1 << 128) - 1)),
    max_size=40,
).map(tuple)
LIMITS = st.builds(
    Limits,
    requests=RATES,
    new_connections=RATES,
    connections=COUNTS,
    prefix4=st.integers(1, 32),
    prefix6=st.integers(1, 128),
    header_timeout_s=TIMES,
    body_timeout_s=st.just(0.0) | TIMES,
    max_body_bytes=st.sampled_from([0, 1, 1 << 40]),
    max_headers_bytes=st.sampled_from([0, 256, 15_360]),
    allow=NETWORKS,
    deny=NETWORKS,
    answer=st.sampled_from(["429", "deny", "tarpit", "drop"]),
    shadow=st.booleans(),
    queue=COUNTS,
    queue_timeout_s=TIMES,
)
SERVICES = st.builds(
    lambda vip, limits, layer, accepts, most: Service(
        ip_address(vip),
        443,
        "tcp",
        "proxy",
        "rr",
        (Backend(ip_address("198.18.1.11"), max_connections=most),),
        proxy=ProxyOptions(layer=layer, accept_proxy=accepts, limits=limits),
    ),
    st.sampled_from(["198.18.1.100", "2001:db8:1::100"]),
    LIMITS,
    st.sampled_from([4, 7]),
    st.booleans(),
    COUNTS,
)


@needs_haproxy
@settings(max_examples=15, deadline=None)
@given(SERVICES)
def test_haproxy_takes_any_limits_without_a_warning(service: Service) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert complaints(rendered([service]), Path(folder)) == ""


@given(SERVICES)
def test_in_shadow_the_same_is_counted_and_nothing_refused(service: Service) -> None:
    assert service.proxy is not None

    def lines(is_shadow: bool) -> list[str]:
        limits = replace(service.proxy.limits, shadow=is_shadow) if service.proxy else Limits()
        options = replace(service.proxy or ProxyOptions(), limits=limits)
        return [line.strip() for line in rendered([replace(service, proxy=options)]).splitlines()]

    def rules(is_shadow: bool, counting: bool) -> list[str]:
        said = [line for line in lines(is_shadow) if line.startswith(("tcp-request", "http-request"))]
        counts = [line for line in said if "sc-inc-gpc" in line]
        rest = [line for line in said if line not in counts]
        return counts if counting else [line for line in rest if any(word in line for word in REFUSING)]

    assert rules(True, counting=True) == rules(False, counting=True)
    assert rules(True, counting=False) == []
    assert len(rules(False, counting=False)) == len(rules(False, counting=True))
