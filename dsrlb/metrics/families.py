"""The metrics: what a moment comes to, by name and label.

*Source* of the names: Prometheus, "Metric and label naming": base units, ``_total`` for what only grows,
``_info`` for words about a thing, ratios from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from dsrlb import __version__
from dsrlb.admin.shown import counts_flows, counts_packets, records_all
from dsrlb.flows import BackendCount
from dsrlb.metrics.moment import Moment
from dsrlb.metrics.proxied import proxied_families
from dsrlb.metrics.text import Family
from dsrlb.model import Backend, Reason, Service, person_backend
from dsrlb.standing import Names, Standing, key_of
from dsrlb.table import CompiledService

_NOTHING = BackendCount()
_OF_A_BACKEND = ("service", "backend")
_person = lru_cache(maxsize=65_536)(person_backend)


def families(moment: Moment) -> Iterator[Family]:
    """Yield every metric of a moment, whether it has samples or not."""
    yield from _of_the_whole(moment)
    yield from _of_the_flow_table(moment)
    yield from _of_services(moment)
    yield from Backends(moment).families()
    yield from proxied_families(moment)


def _gauge(name: str, text: str, *labels: str) -> Family:
    return Family(name, "gauge", text, labels)


def _counter(name: str, text: str, *labels: str) -> Family:
    return Family(f"{name}_total", "counter", text, labels)


def _one(family: Family, value: float) -> Family:
    """Return a metric without labels, with its value."""
    family.add((), value)
    return family


def _of_the_whole(moment: Moment) -> Iterator[Family]:
    build = _gauge("dsrlb_build_info", "Version of dsrlb; always 1.", "version")
    build.add((__version__,), 1)
    engine = _gauge("dsrlb_engine_info", "Which engine forwards, under which name; always 1.",
                    "engine", "name")  # fmt: skip
    engine.add((moment.engine, moment.instance), 1)
    frames = _counter("dsrlb_frames", "Frames, by what became of them and why.", "reason")
    for reason in Reason:
        if reason is not Reason.FRAGMENT_HELD:
            frames.add((reason.word,), moment.counters.reasons[reason])
    held = moment.counters.reasons[Reason.FRAGMENT_HELD]
    yield _one(_gauge("dsrlb_fragments_held", "Pieces of datagrams that wait for their first one."), held)
    links = _gauge("dsrlb_interface_up", "Whether an interface of clients has a link.", "interface")
    for link in moment.links:
        links.add((link.name,), link.up)
    yield from (build, engine, frames, links)


def _of_the_flow_table(moment: Moment) -> Iterator[Family]:
    counted = moment.counters
    proxied = {key_of(service) for service in moment.config.proxied}  # HAProxy has those
    on_record = sum(
        one.active + one.inactive for (key, _), one in counted.backends.items() if key not in proxied
    )
    yield _one(_gauge("dsrlb_flow_records", "Flows on record."), on_record)
    yield _one(_gauge("dsrlb_flow_records_limit", "How many flows can be on record."), moment.max_flows)
    records = _counter("dsrlb_flow_records_refused", "Packets that found no room for a flow's record.")
    yield _one(records, counted.flows_refused)
    clients = _counter("dsrlb_persistence_records_refused", "Clients that found no room for their record.")
    yield _one(clients, counted.templates_refused)


def _of_services(moment: Moment) -> Iterator[Family]:
    info = _gauge("dsrlb_service_info", "What is configured of a service; always 1.",
                  "service", "name", "mode", "scheduler")  # fmt: skip
    takes = _gauge("dsrlb_service_takes_new_flows", "Whether some backend of it gets new flows.", "service")
    for one in moment.config.services:
        info.add((one.name, one.label, one.mode, one.scheduler), 1)
        takes.add((one.name,), moment.takes_new(one))
    yield from (info, takes, _refused(moment), _expiries(moment))


def _expiries(moment: Moment) -> Family:
    words = "When a certificate of a service of mode proxy expires, in seconds since 1970."
    ends = _gauge("dsrlb_certificate_expires_timestamp_seconds", words, "service", "file")
    for (service, file), at in moment.expiries.items():
        ends.add((service, file), at.timestamp())
    return ends


def _refused(moment: Moment) -> Family:
    words = "Connections and requests that limits of mode proxy refused, or only counted (shadow)."
    refused = _counter("dsrlb_proxy_refused", words, "service", "reason", "shadow")
    for (service, reason, is_shadow), count in moment.counters.refused.items():
        refused.add((service, reason, str(is_shadow).lower()), count)
    return refused


class Backends:
    """The metrics of all backends, filled in one pass."""

    def __init__(self, moment: Moment) -> None:
        self._moment = moment
        both = _OF_A_BACKEND
        self.info = _gauge("dsrlb_backend_info", "What a backend is called; always 1.", *both, "name")
        self.up = _gauge("dsrlb_backend_up", "Whether it passes its checks; 1 without any.", *both)
        self.ejected = _gauge(
            "dsrlb_backend_ejected", "Whether it is left as its clients' handshakes fail.", *both
        )
        self.enabled = _gauge("dsrlb_backend_enabled", "Whether the operator has not disabled it.", *both)
        self.resolved = _gauge(
            "dsrlb_backend_resolved", "Whether the way to it and its MAC are known.", *both
        )
        self.weight = _gauge("dsrlb_backend_weight", "The weight that holds; 0 while it is drained.", *both)
        self.configured = _gauge("dsrlb_backend_configured_weight", "The weight as configured.", *both)
        self.expected = _gauge(
            "dsrlb_backend_expected_ratio", "Its part of the service's new flows, as they are shared.", *both
        )
        self.response = _gauge(
            "dsrlb_backend_response_seconds", "How long it takes to answer, where that is known.", *both
        )
        self.packets = _counter("dsrlb_backend_packets", "Packets that clients sent it.", *both)
        self.octets = _counter("dsrlb_backend_bytes", "Bytes of these packets.", *both)
        self.begun = _counter("dsrlb_backend_flows", "Flows that began, where they are counted.", *both)
        self.flows = _gauge(
            "dsrlb_backend_flow_records", "Flows that it has now, where all are on record.", *both, "state"
        )

    def families(self) -> Iterator[Family]:
        """Fill them and yield them."""
        for service in self._moment.config.services:
            compiled = self._moment.compiled(service)
            for names, backend, standing in self._moment.backends(service):
                labels = (service.name, _person(names[1]))
                self._add_standing(labels, names, backend, standing, compiled)
                self._add_counts(labels, names, service, compiled)
            self._add_expected(service.name, compiled)
        yield from (
            self.info,
            self.up,
            self.ejected,
            self.enabled,
            self.resolved,
            self.weight,
            self.configured,
        )
        yield from (self.expected, self.response, self.packets, self.octets, self.begun, self.flows)

    def _add_standing(
        self,
        labels: tuple[str, str],
        names: Names,
        backend: Backend,
        standing: Standing,
        compiled: CompiledService | None,
    ) -> None:
        target = compiled.by_key.get(names[1]) if compiled is not None else None
        self.info.add((*labels, backend.label), 1)
        self.up.add(labels, standing.up)
        self.ejected.add(labels, standing.ejected)
        self.enabled.add(labels, standing.enabled)
        self.resolved.add(labels, target is not None and target.hop is not None)
        self.weight.add(labels, standing.weight_of(backend))
        self.configured.add(labels, backend.weight)
        if (time_us := self._moment.times_us.get(names)) is not None:
            self.response.add(labels, time_us / 1e6)

    def _add_counts(
        self, labels: tuple[str, str], names: Names, service: Service, compiled: CompiledService | None
    ) -> None:
        count = self._moment.counters.backends.get(names, _NOTHING)
        if counts_packets(service):
            self.packets.add(labels, count.packets)
        self.octets.add(labels, count.octets)
        if counts_flows(service, compiled):
            self.begun.add(labels, count.flows)
        if records_all(compiled):
            self.flows.add((*labels, "active"), count.active)
            self.flows.add((*labels, "inactive"), count.inactive)

    def _add_expected(self, service: str, compiled: CompiledService | None) -> None:
        if compiled is None:
            return
        whole = sum(compiled.shares) or 1
        for target, share in zip(compiled.targets, compiled.shares, strict=True):
            self.expected.add((service, _person(target.key)), share / whole)
