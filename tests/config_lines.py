"""Configuration files to begin from, one more line in a table of one, and what is told of it by line."""

from __future__ import annotations

import re

from dsrlb import health
from dsrlb.config import config_in
from dsrlb.config.check_schema import CHECK
from dsrlb.config.limits_schema import LIMITS
from dsrlb.config.proxy_schema import PROXY, ROUTE
from dsrlb.config.schema import BACKEND, SERVICE, TIMEOUTS, TOP
from dsrlb.errors import ConfigError

WHOLE = """interfaces = ["eth0", "eth1"]

[[service]]
name = "web"
vip = "198.18.1.100:80/tcp"
mode = "l2dsr"
scheduler = "wrr"
persist = "300/24"

[service.timeouts]
established = 3600

[[service.backend]]
name = "rs1"
address = "198.18.1.11"
weight = 2
mac = "02:00:c6:12:01:11"

[[service.backend]]
address = "2001:db8:1::12"
port = 80

[[service]]
vip = "[2001:db8:1::100]:*/udp"
mode = "l2dsr"
persist = 60
backend = [{ address = "198.18.1.11" }]
"""
SERVICE_LINES = '[[service]]\nvip = "198.18.1.100:80"\nmode = "l2dsr"\n'  # three lines
BACKEND_LINES = '[[service.backend]]\naddress = "198.18.1.11"\n'  # two more


def problems_in(text: str) -> dict[int, str]:
    """Return what is told of a file, by line; several on one line are joined."""
    try:
        config_in(text.encode(), "f.toml")
    except ConfigError as error:
        told: dict[int, str] = {}
        for problem in error.problems:
            match = re.fullmatch(r"f\.toml:(\d+): (.+)", problem)
            assert match is not None, problem
            told[int(match[1])] = told.get(int(match[1]), "") + match[2]
        assert list(told) == sorted(told)
        return told
    return {}


NEEDED = {"query": '"example.com"', "command": '["true"]'}


def with_line(table: str, line: str) -> tuple[str, int]:
    """Return a whole file with one more line in a table, and the number of that line."""
    name = line.partition(" =")[0]
    service, backend = SERVICE_LINES, BACKEND_LINES
    if table == SERVICE.head:
        service = "".join(one for one in service.splitlines(True) if not one.startswith(f"{name} ="))
    elif table == BACKEND.head:
        backend = "".join(one for one in backend.splitlines(True) if not one.startswith(f"{name} ="))
    if table == TOP.head:
        head = f"{line}\n"
        return head if name == "service" else head + service + backend, 1
    if table == SERVICE.head:
        tail = "" if name == "backend" else backend
        return f"{service}{line}\n{tail}", service.count("\n") + 1
    if table == CHECK.head and name != "kind":
        kind = next(one.name for one in health.KINDS if name in one.options or one.name == "tcp")
        needed = "".join(f"{one} = {NEEDED[one]}\n" for one in health.BY_NAME[kind].needed if one != name)
        service += f'{table}\nkind = "{kind}"\n{needed}'
        return f"{service}{line}\n{backend}", service.count("\n") + 1
    if table in (PROXY.head, ROUTE.head, LIMITS.head):
        return with_line_of_proxy(table, name, line)
    if table in (CHECK.head, TIMEOUTS.head):
        return f"{service}{table}\n{line}\n{backend}", 5
    return f"{service}{backend}{line}\n", (service + backend).count("\n") + 1


def with_line_of_proxy(table: str, name: str, line: str) -> tuple[str, int]:
    """Return a file of mode proxy with one more line in a table of it, and the number of that line."""
    service = SERVICE_LINES.replace("l2dsr", "proxy") + BACKEND_LINES + "[service.proxy]\n"
    service += "layer = 7\n" if name != "layer" else ""
    if table == LIMITS.head:
        service += f"[[service.backend]]\naddress = '198.18.1.99'\nmax_connections = 5\n{table}\n"
        service += "" if name == "connections" else "connections = 5\n"
    if table == ROUTE.head:
        service += f"{table}\n" + ("" if name in ("group", "redirect") else 'redirect = "https"\n')
    return f"{service}{line}\n", service.count("\n") + 1
