"""Whatever a file says of mode proxy: can HAProxy be told it, or is it told at its lines what is wrong?"""

from __future__ import annotations

import json
import re
from typing import Any

from golden_haproxy import rendered
from hypothesis import given
from hypothesis import strategies as st

from dsrlb.config import config_in
from dsrlb.config.proxy_schema import PROXY, ROUTE
from dsrlb.errors import ConfigError

WORDS = st.sampled_from(
    [
        "/api", "/", "https", "*.example.com", "www.example.com", "X-A: b", "X-A", "^/api", "GET", "api",
        "default", "both", "h2", "optional", "/etc/dsrlb/a.pem", 7, 4, True, False, 3, 60.5, ["/a", "/api/b"],
        ["GET"], ["default", "api"],
    ]
)  # fmt: skip
VALUES = WORDS | st.text(max_size=4, alphabet=st.characters(max_codepoint=0x7E))
NAMES = {table.head: [key.name for key in table.keys] for table in (PROXY, ROUTE)}
PROXIES = st.dictionaries(st.sampled_from(NAMES[PROXY.head]), VALUES, max_size=6)
ROUTES = st.lists(st.dictionaries(st.sampled_from(NAMES[ROUTE.head]), VALUES, max_size=3), max_size=4)
BACKENDS = st.lists(
    st.fixed_dictionaries(
        {"address": st.sampled_from(["198.18.1.11", "198.18.1.12", "2001:db8::13"])},
        optional={"group": VALUES, "name": VALUES, "port": st.sampled_from([80, 443])},
    ),
    max_size=3,
)


def lines(head: str, table: dict[str, Any]) -> str:
    return f"{head}\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in table.items())


@given(PROXIES, ROUTES, BACKENDS, st.booleans())
def test_any_words_are_a_configuration_or_problems(
    proxy: dict[str, Any], routes: list[dict[str, Any]], backends: list[dict[str, Any]], by_request: bool
) -> None:
    head = {"vip": "198.18.1.100:80", "mode": "proxy"}
    text = lines("[[service]]", head) + lines(PROXY.head, proxy | ({"layer": 7} if by_request else {}))
    text += "".join(lines(ROUTE.head, one) for one in routes)
    text += "".join(lines("[[service.backend]]", one) for one in backends)
    try:
        told = rendered(config_in(text.encode(), "f.toml").proxied)
    except ConfigError as error:
        assert error.problems and all(re.fullmatch(r"f\.toml:\d+: [^\n]+", one) for one in error.problems)
    else:
        assert told.count("\nfrontend ") == 1
