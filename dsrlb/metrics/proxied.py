"""The metrics of mode proxy: what HAProxy counts, by service and by server.

*Source*: HAProxy 2.6 management guide, section 9.1 (columns of ``show stat``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dsrlb.control.proxy_seen import HaproxySeen
from dsrlb.metrics.moment import Moment
from dsrlb.metrics.text import Family
from dsrlb.model import person_backend
from dsrlb.standing import key_of, named

Counts = Mapping[str, int]

# What is told of a service: metric, help text, label, and the column of each of its values.
DENIED = {"connections": "dcon", "requests": "dreq", "responses": "dresp"}
FAILED = {"connect": "econ", "response": "eresp", "retried": "wretr", "redispatched": "wredis"}
CLASSES = {word: f"hrsp_{word}" for word in ("1xx", "2xx", "3xx", "4xx", "5xx", "other")}
SENT = {"in": "bin", "out": "bout"}


def proxied_families(moment: Moment) -> Iterator[Family]:
    """Yield the metrics of HAProxy and of the services of mode proxy; none where there is no such service."""
    seen = moment.haproxy
    if seen is not None:
        yield from _of_haproxy(seen)
        yield from _of_services(moment, seen)
        yield from _of_servers(moment, seen)


def _of_haproxy(seen: HaproxySeen) -> Iterator[Family]:
    info = Family("dsrlb_haproxy_info", "gauge", "Version of HAProxy; always 1.", ("version",))
    info.add((seen.version,), 1)
    serving = Family("dsrlb_haproxy_up", "gauge", "Whether HAProxy runs and takes connections.")
    serving.add((), seen.is_serving)
    reloads = Family("dsrlb_haproxy_reloads_total", "counter", "Reloads of HAProxy by this process.")
    reloads.add((), seen.reloads)
    restarts = Family(
        "dsrlb_haproxy_restarts_total", "counter", "Starts of HAProxy after it had ended by itself."
    )
    restarts.add((), seen.restarts)
    yield from (info, serving, reloads, restarts)


def _of_services(moment: Moment, seen: HaproxySeen) -> Iterator[Family]:
    one = ("service",)
    now = Family("dsrlb_proxy_connections", "gauge", "Connections of clients, now.", one)
    begun = Family("dsrlb_proxy_connections_total", "counter", "Connections of clients that were taken.", one)
    requests = Family("dsrlb_proxy_requests_total", "counter", "HTTP requests.", one)
    wrong = Family("dsrlb_proxy_bad_requests_total", "counter", "HTTP requests that are none.", one)
    octets = Family(
        "dsrlb_proxy_bytes_total", "counter", "Bytes from clients (in) and to them (out).", (*one, "way")
    )
    denied = Family("dsrlb_proxy_denied_total", "counter", "What rules have refused.", (*one, "what"))
    for service in moment.config.proxied:
        counts, name = seen.services.get(key_of(service), {}), service.name
        now.add((name,), counts.get("scur", 0))
        begun.add((name,), counts.get("conn_tot", 0))
        requests.add((name,), counts.get("req_tot", 0))
        wrong.add((name,), counts.get("ereq", 0))
        _add_all(octets, (name,), SENT, counts)
        _add_all(denied, (name,), DENIED, counts)
    yield from (now, begun, requests, wrong, octets, denied)


def _of_servers(moment: Moment, seen: HaproxySeen) -> Iterator[Family]:
    both = ("service", "backend")
    queue = Family("dsrlb_proxy_queue", "gauge", "Requests or connections that wait for a server.", both)
    failed = Family(
        "dsrlb_proxy_failures_total",
        "counter",
        "What went wrong with a server, and what was done.",
        (*both, "what"),
    )
    answers = Family("dsrlb_proxy_responses_total", "counter", "HTTP responses, by class.", (*both, "class"))
    for service in moment.config.proxied:
        for names, _ in named(service):
            counts, labels = seen.backends.get(names, {}), (service.name, person_backend(names[1]))
            queue.add(labels, counts.get("qcur", 0))
            _add_all(failed, labels, FAILED, counts)
            _add_all(answers, labels, CLASSES, counts)
    yield from (queue, failed, answers)


def _add_all(family: Family, labels: tuple[str, ...], columns: Mapping[str, str], counts: Counts) -> None:
    for word, column in columns.items():
        family.add((*labels, word), counts.get(column, 0))
