"""The pages: a moment as text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from dsrlb.metrics.families import families
from dsrlb.metrics.moment import Moment

TEXT = "text/plain; charset=utf-8"
# Not OpenMetrics, where a counter x_total and a gauge x cannot both be.
KEPT_WITHIN_S = 3.0  # the control loop sets it sooner
EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"


class Page(NamedTuple):
    """An answer."""

    status: int
    body: bytes
    kind: str = TEXT


class _Of(Collector):
    """Collects one moment, and what the kernel says of this process."""

    _process = ProcessCollector(registry=None)

    def __init__(self, moment: Moment) -> None:
        self._moment = moment

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        yield from families(self._moment)
        yield from self._process.collect()


def metrics(moment: Moment) -> Page:
    """Return every metric in Prometheus's text format."""
    registry = CollectorRegistry()
    registry.register(_Of(moment))
    text = generate_latest(registry)
    moment.kept.wait(KEPT_WITHIN_S)
    return Page(200, text, EXPOSITION)


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
