"""Do the metrics say what holds, by names that Prometheus takes?"""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import balancer
import pytest
from moments import large, moment
from packets import BACKENDS, VIP
from prometheus_client.parser import text_string_to_metric_families

from dsrlb.config import Config
from dsrlb.control.proxy_seen import HaproxySeen
from dsrlb.metrics import page
from dsrlb.metrics.moment import Moment
from dsrlb.metrics.text import Family
from dsrlb.model import Reason
from dsrlb.proxying import NO_PROXY
from dsrlb.standing import key_of, named
from dsrlb.table import compile_table

ROOT = Path(__file__).parents[2]
SERVICE = f"{VIP}:80/tcp"
A, B, C = map(str, BACKENDS[:3])
LABELS = ("service", "backend", "state", "name", "mode", "scheduler", "reason", "interface")


def samples(of: Moment) -> dict[tuple[str, ...], float]:
    """Return what Prometheus would read: by name and values of labels."""
    text = page.metrics(of).body.decode()
    return {
        (one.name, *(one.labels[label] for label in LABELS if label in one.labels)): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def test_what_backends_were_sent_and_how_they_stand_are_metrics() -> None:
    said = samples(moment(clients=6))
    for backend in (A, B, C):
        assert said["dsrlb_backend_packets_total", SERVICE, backend] == 2
        assert said["dsrlb_backend_flows_total", SERVICE, backend] == 2
        assert said["dsrlb_backend_flow_records", SERVICE, backend, "inactive"] == 2
        assert said["dsrlb_backend_flow_records", SERVICE, backend, "active"] == 0
        assert said["dsrlb_backend_bytes_total", SERVICE, backend] > 0
        assert said["dsrlb_backend_up", SERVICE, backend] == 1
        assert said["dsrlb_backend_expected_ratio", SERVICE, backend] == pytest.approx(1 / 3)
    times = {key: value for key, value in said.items() if key[0] == "dsrlb_backend_response_seconds"}
    assert times == {("dsrlb_backend_response_seconds", SERVICE, A): 0.0025}  # of the others it is not known
    assert said["dsrlb_frames_total", "forwarded"] == 6
    assert said["dsrlb_flow_records",] == 6 and said["dsrlb_flow_records_limit",] == 1000
    assert said["dsrlb_service_info", SERVICE, "web", "l2dsr", "wrr"] == 1
    assert said["dsrlb_backend_info", SERVICE, A, "rs1"] == 1
    assert said["dsrlb_interface_up", "e0"] == 1


@pytest.mark.parametrize(
    ("standing", "name", "value"),
    [
        ({"up": False}, "dsrlb_backend_up", 0),
        ({"enabled": False}, "dsrlb_backend_enabled", 0),
        ({"ejected": True}, "dsrlb_backend_ejected", 1),
        ({"drained": True}, "dsrlb_backend_weight", 0),
        ({"weight": 7}, "dsrlb_backend_weight", 7),
        ({"weight": 7}, "dsrlb_backend_configured_weight", 1),
        ({"weight": 2}, "dsrlb_backend_expected_ratio", 0.5),
        ({"up": False}, "dsrlb_backend_expected_ratio", 0),
    ],
)
def test_a_standing_changes_the_metrics_of_its_backend_alone(
    standing: dict[str, Any], name: str, value: float
) -> None:
    said, plain = samples(moment(**standing)), samples(moment())
    assert said[name, SERVICE, A] == value
    if name != "dsrlb_backend_expected_ratio":
        assert said[name, SERVICE, B] == plain[name, SERVICE, B]


def test_what_is_not_counted_is_left_out() -> None:
    said = samples(moment(scheduler="maglev", clients=3))
    assert not [key for key in said if key[0] == "dsrlb_backend_flow_records"]
    assert sum(value for key, value in said.items() if key[0] == "dsrlb_backend_flows_total") == 3


def test_every_reason_is_there_before_it_happens() -> None:
    said = samples(moment())
    assert {key[1] for key in said if key[0] == "dsrlb_frames_total"} == {
        one.word for one in Reason if one is not Reason.FRAGMENT_HELD
    }
    assert said["dsrlb_fragments_held",] == 0


def test_names_and_help_are_as_prometheus_has_them() -> None:
    text = page.metrics(moment(clients=1)).body.decode()
    ours = re.findall(r"^# TYPE (dsrlb_\w+) (\w+)$", text, re.MULTILINE)
    assert len(ours) == len(set(ours)) > 20
    assert len({name.removesuffix("_total") for name, _ in ours}) == len(ours)  # OpenMetrics drops it
    for name, kind in ours:
        assert (kind == "counter") == name.endswith("_total")
        assert re.search(rf"^# HELP {name} [A-Z].*[.1]$", text, re.MULTILINE)


def families_in(text: str) -> set[str]:
    return set(re.findall(r"\bdsrlb_[a-z_]+", text))


def refusing() -> Moment:
    """A moment in which limits of mode proxy have refused something, and which has a certificate."""
    one = moment(clients=1)
    refused = {(SERVICE, "denied", False): 7, (SERVICE, "too_many_requests", True): 8}
    expiries = {(SERVICE, "/etc/dsrlb/www.pem"): datetime(2033, 5, 18, 3, 33, 20, tzinfo=timezone.utc)}
    return replace(one, counters=one.counters._replace(refused=refused), expiries=expiries)


def proxied() -> Moment:
    """A moment of a service of mode proxy, whose first server has failed three times."""
    one = moment()
    service = replace(one.config.services[0], mode="proxy", proxy=NO_PROXY)
    names = next(names for names, _ in named(service))
    haproxy = HaproxySeen(
        version="2.6.12",
        pid=7,
        since_s=0.0,
        is_serving=True,
        reloads=2,
        restarts=1,
        services={key_of(service): {"scur": 5, "req_tot": 70, "dreq": 4, "bout": 900}},
        backends={names: {"econ": 3, "qcur": 2, "hrsp_5xx": 6}},
    )
    return replace(one, config=replace(one.config, services=(service,)), haproxy=haproxy)


def test_what_haproxy_counts_is_told_by_service_and_server() -> None:
    text = page.metrics(proxied()).body.decode()
    for line in (
        'dsrlb_haproxy_info{version="2.6.12"} 1',
        "dsrlb_haproxy_up 1",
        "dsrlb_haproxy_reloads_total 2",
        "dsrlb_haproxy_restarts_total 1",
        f'dsrlb_proxy_connections{{service="{SERVICE}"}} 5',
        f'dsrlb_proxy_requests_total{{service="{SERVICE}"}} 70',
        f'dsrlb_proxy_denied_total{{service="{SERVICE}",what="requests"}} 4',
        f'dsrlb_proxy_bytes_total{{service="{SERVICE}",way="out"}} 900',
        f'dsrlb_proxy_failures_total{{backend="{A}",service="{SERVICE}",what="connect"}} 3',
        f'dsrlb_proxy_failures_total{{backend="{B}",service="{SERVICE}",what="connect"}} 0',
        f'dsrlb_proxy_queue{{backend="{A}",service="{SERVICE}"}} 2',
        f'dsrlb_proxy_responses_total{{backend="{A}",class="5xx",service="{SERVICE}"}} 6',
    ):
        assert f"\n{line}\n" in text, line
    assert "dsrlb_backend_packets_total{" not in text and "dsrlb_flow_records 0\n" in text
    assert "dsrlb_haproxy" not in page.metrics(moment()).body.decode()


def told() -> set[str]:
    return {key[0] for one in (refusing(), proxied()) for key in samples(one) if key[0].startswith("dsrlb_")}


def test_what_limits_refused_is_told_by_reason_apart_from_what_they_only_counted() -> None:
    text = page.metrics(refusing()).body.decode()
    assert f'dsrlb_proxy_refused_total{{reason="denied",service="{SERVICE}",shadow="false"}} 7' in text
    assert f'{{reason="too_many_requests",service="{SERVICE}",shadow="true"}} 8' in text


def test_the_expiry_of_a_certificate_is_told_in_seconds_since_1970() -> None:
    said = page.metrics(refusing()).body.decode()
    of = f'file="/etc/dsrlb/www.pem",service="{SERVICE}"'
    assert f"dsrlb_certificate_expires_timestamp_seconds{{{of}}} 2000000000.0" in said


def test_a_service_that_needs_no_backend_takes_new_flows() -> None:
    bare = moment()
    (web,) = bare.config.services
    only = replace(bare, config=Config((replace(web, backends=()),)))
    table = compile_table(only.config.services, {}, {})
    assert page.ready(replace(only, table=table)).status == 200


def test_every_metric_that_the_dashboard_names_exists() -> None:
    dashboard = json.loads((ROOT / "docs/grafana-dashboard.json").read_text())
    asked = [one["expr"] for panel in dashboard["panels"] for one in panel.get("targets", ())]
    asked += [one["query"]["query"] for one in dashboard["templating"]["list"] if one["type"] == "query"]
    named_there = families_in(" ".join(asked))
    assert len(asked) > 10 and len(named_there) > 10
    assert named_there <= told()


def test_the_page_on_metrics_explains_every_one_and_no_other() -> None:
    documented = families_in(" ".join(re.findall(r"`([^`]*)`", (ROOT / "docs/metrics.md").read_text())))
    assert documented == told()


def test_a_thousand_services_are_told_in_a_second() -> None:
    many = large()
    begun_s = time.thread_time()
    body = page.metrics(many).body
    assert time.thread_time() - begun_s < 1
    assert body.count(b"dsrlb_backend_packets_total{") == 4000


# ------------------------------------------------------------------------- pages


def test_ready_is_who_has_a_backend_for_new_flows() -> None:
    assert page.ready(moment()).status == 200
    bare = moment()
    none = compile_table(bare.config.services, {}, {balancer.IFINDEX: balancer.BALANCER})
    refused = page.ready(replace(bare, table=none))
    assert refused.status == 503 and refused.body == b"0 of 1 services have a backend for new flows\n"


def test_whatever_stands_in_a_name_prometheus_reads_the_same() -> None:
    odd = 'a "quoted" \\ name\nof two lines, with = and }'
    family = Family("dsrlb_backend_info", "gauge", "Odd.", ("service", "name"))
    family.add(("s", odd), True)
    family.add(("s", ""), 0.25)
    (read,) = text_string_to_metric_families(family.text())
    assert [(one.labels["name"], one.value) for one in read.samples] == [(odd, 1), ("", 0.25)]
