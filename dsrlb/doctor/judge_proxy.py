"""Whether services of mode proxy can serve: certificates, places to listen, HAProxy.  Pure."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from datetime import datetime

from dsrlb.doctor.about import About
from dsrlb.doctor.facts_proxy import ProxyFacts
from dsrlb.doctor.finding import BALANCER, Finding
from dsrlb.host.certificates import SOON

REFUSED = os.strerror(errno.ECONNREFUSED)


def judge_proxy(facts: ProxyFacts) -> Iterator[Finding]:
    """Yield what is to be said of the services of mode proxy."""
    yield from _certificates(facts)
    yield from _names(facts)
    yield from _listeners(facts)
    yield from _servers(facts)
    yield from _haproxy(facts)


def _certificates(facts: ProxyFacts) -> Iterator[Finding]:
    about = About("certificate", BALANCER)
    for sentence in facts.faults:
        says, mend = sentence.rstrip("."), "put a good file there; a running dsrlb takes it by itself"
        yield about.wrong(says, "", mend)
    for file, ends in facts.ends:
        if ends <= facts.now:
            continue  # told already
        seen = f"it is valid until {ends:%Y-%m-%d %H:%M} UTC"
        if ends <= facts.now + SOON:
            says = f"certificate {file} expires soon, {_left(ends, facts.now)}"
            yield about.ok(says, seen, "renew it")
        else:
            yield about.ok(f"certificate {file} can be used", seen)


def _left(ends: datetime, now: datetime) -> str:
    hours = int((ends - now).total_seconds() // 3600)
    return f"in {hours // 24} days" if hours >= 48 else f"in {hours} hours"


def _names(facts: ProxyFacts) -> Iterator[Finding]:
    about = About("certificate_name", BALANCER)
    for service, host in facts.unnamed:
        says = f"{service} has a route for {host}, and no certificate is for that name: browsers refuse it"
        mend = f"add a certificate for {host} to certificates, or take it out of the route's host"
        yield about.wrong(says, "", mend)
    if facts.ends and not facts.unnamed:
        says = "each name that routes are for is in a certificate"
        yield about.ok(says)


def _listeners(facts: ProxyFacts) -> Iterator[Finding]:
    about = About("listener_clash", BALANCER)
    for service, is_free in facts.listening:
        if is_free is False:
            says = f"another program listens at {service}"
            mend = "find it (ss -ltnp), and stop it"
            yield about.wrong(says, "the address is in use", mend)
        else:
            says = f"HAProxy has {service}" if is_free is None else f"{service} is free to listen at"
            yield about.ok(says)


def _servers(facts: ProxyFacts) -> Iterator[Finding]:
    for label, place, why in facts.servers:
        if why:
            name = "no_listener" if why == REFUSED else "unreachable"  # whoever refuses is there
            says, mend = f"it takes no connection from here at {place}", "on it: ss -ltn, ip addr; here: ping"
            yield About(name, label).wrong(says, why, mend)
        else:
            yield About("no_listener", label).ok(f"it takes connections at {place}")


def _haproxy(facts: ProxyFacts) -> Iterator[Finding]:
    about = About("haproxy", BALANCER)
    if not facts.listening or not facts.runs:
        return
    seen = facts.haproxy
    if seen is None or not seen["is_serving"]:
        says = "dsrlb runs, and HAProxy does not serve"
        yield about.wrong(says, "", "dsrlb's log says why; then: dsrlb reload")
        return
    says = f"HAProxy {seen['version']} serves, process {seen['pid']}"
    yield about.ok(says, f"{seen['restarts']} times started again")
