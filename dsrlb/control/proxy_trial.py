"""Services of mode proxy on trial: does HAProxy take what dsrlb would write for it?"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from dsrlb.control.proxy_table import compiled, user
from dsrlb.engines.haproxy import render
from dsrlb.engines.haproxy.process import Places
from dsrlb.engines.haproxy.program import check, program
from dsrlb.model import Service
from dsrlb.standing import ALL_UP


def try_proxy(services: Sequence[Service]) -> None:
    """Raise ConfigError with what HAProxy finds wrong; what runs is not touched."""
    if not services:
        return
    path, states = program(), render.states(services, compiled(services, ALL_UP))
    with tempfile.TemporaryDirectory(prefix="dsrlb-") as folder:
        places = Places(Path(folder))
        places.configuration.write_text(render.configuration(services, states, places.runtime, user()))
        check(path, places.configuration)
