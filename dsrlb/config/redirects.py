"""When a service needs no server: it redirects every request, or each of its routes does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dsrlb.config.keys import Unless


def redirects_all(service: Mapping[str, Any]) -> bool:
    """Return whether a service, as a file or a reader of it has it, sends nothing to a server.

    Whether its routes leave something over is another question.
    """
    proxy, routes = service.get("proxy"), service.get("route")
    if isinstance(proxy, Mapping) and "redirect" in proxy:
        return True
    several = routes if isinstance(routes, list | tuple) else ()
    return bool(several) and all(isinstance(one, Mapping) and "redirect" in one for one in several)


NO_SERVER = Unless("`redirect` under `[service.proxy]`, or in all its routes", redirects_all)
