"""What mode proxy stands on here: HAProxy, and the files that are named.  Looks; changes nothing."""

from __future__ import annotations

from collections.abc import Iterator

from dsrlb.config import Config
from dsrlb.engines.haproxy import patterns
from dsrlb.engines.haproxy.program import program
from dsrlb.errors import ConfigError, HostError
from dsrlb.host import certificates
from dsrlb.proxying import ProxyOptions

Found = tuple[str, str, bool]  # the path or pattern that it is about, a sentence, whether it may stay so


def proxy_findings(config: Config) -> Iterator[Found]:
    """Yield what keeps this host from serving the services of mode proxy."""
    several = _options(config)
    if not several:
        return
    for options in several:
        yield from certificates.faults(options, certificates.now())
    written = list(dict.fromkeys(one.pattern for options in several for one in options.routes if one.pattern))
    try:
        refused = patterns.refused(program(), written)
    except (ConfigError, HostError) as error:
        yield "", str(error), False
        return
    for pattern, why in refused.items():
        yield pattern, f"pattern {pattern!r}: HAProxy's regular expressions do not have that ({why}).", False


def proxy_warnings(config: Config) -> Iterator[str]:
    """Yield what may be meant so, or is going to be wrong soon."""
    for options in _options(config):
        yield from certificates.warnings(options, certificates.now())


def _options(config: Config) -> list[ProxyOptions]:
    return [one.proxy for one in config.proxied if one.proxy is not None]
