"""The pages: a moment as text."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from dsrlb.metrics.families import families
from dsrlb.metrics.moment import Moment

TEXT = "text/plain; charset=utf-8"
# Not OpenMetrics, where a counter x_total and a gauge x cannot both be.
EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"
KEPT_WITHIN_S = 3.0  # the control loop sets it sooner
_PROCESS = CollectorRegistry()  # what the kernel says of this process
ProcessCollector(registry=_PROCESS)


class Page(NamedTuple):
    """An answer."""

    status: int
    body: bytes
    kind: str = TEXT


def metrics(moment: Moment) -> Page:
    """Return every metric in Prometheus's text format."""
    text = "".join(one.text() for one in families(moment)).encode()
    moment.kept.wait(KEPT_WITHIN_S)
    return Page(200, text + generate_latest(_PROCESS), EXPOSITION)


def healthy(_: Moment) -> Page:
    """Say that the control loop answers: it did."""
    return Page(200, b"ok\n")


def ready(moment: Moment) -> Page:
    """Say whether some service has a backend for new flows: without any, nothing is to be sent here."""
    services = moment.config.services
    taking = sum(map(moment.takes_new, services))
    said = f"{taking} of {len(services)} services have a backend for new flows\n"
    return Page(200 if taking else 503, said.encode())


PAGES: dict[str, Callable[[Moment], Page]] = {"/metrics": metrics, "/healthz": healthy, "/readyz": ready}
