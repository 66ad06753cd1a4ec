"""Whatever words the schema takes: do they mean themselves to HAProxy, and nothing else?

Words in strong quotes are to HAProxy what they are to a shell, so a shell's rules read them back here.
"""

from __future__ import annotations

import contextlib
import shlex
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from golden_haproxy import complaints, needs_haproxy, rendered
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dsrlb.config.proxy_words import (
    parse_cookie,
    parse_file,
    parse_method,
    parse_pattern,
    parse_redirect,
    parse_route_header,
    parse_route_host,
    parse_route_path,
    parse_server_name,
)
from dsrlb.config.words import parse_address, parse_name
from dsrlb.engines.haproxy.names import quoted
from dsrlb.errors import UsageError
from dsrlb.model import Backend, Service
from dsrlb.proxying import DEFAULT_GROUP, ProxyOptions, Route

NASTY = "'\"\\#$%[]{}()|*?!,;: \t\n\r\0üa/b.-_~^&<>=+@`"
KEYWORDS = {
    "global", "stats", "hard-stop-after", "defaults", "option", "frontend", "backend", "mode", "bind",
    "timeout", "acl", "use_backend", "default_backend", "http-request", "balance", "hash-type", "retries",
    "retry-on", "server", "cookie", "ssl-default-bind-ciphers", "ssl-default-bind-ciphersuites",
    "ssl-default-bind-options", "ssl-default-server-ciphers", "ssl-default-server-ciphersuites",
    "ssl-default-server-options", "ssl-load-extra-del-ext", "tune.ssl.default-dh-param",
    "close-spread-time", "mworker-max-reloads", "source",
}  # fmt: skip


def words(head: str, parse: Callable[[str], Any]) -> st.SearchStrategy[Any]:
    """Return what a parser makes of texts that begin so: odd ones if it takes them, else the beginning."""

    def parsed(tail: str) -> Any:
        with contextlib.suppress(UsageError):
            return parse(head + tail)
        return parse(head)

    visible = st.text(alphabet=st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=6)
    return (st.text(alphabet=NASTY, max_size=4) | visible).map(parsed)


GROUPS = ("api", "static-1")
ROUTES = st.builds(
    Route,
    hosts=st.lists(words("h", parse_route_host), max_size=2).map(tuple),
    paths=st.lists(words("/a", parse_route_path), max_size=2).map(tuple),
    pattern=st.just("") | words("^/", parse_pattern),
    header=st.none() | words("X-", parse_route_header) | words("X-A: v", parse_route_header),
    methods=st.lists(words("G", parse_method), max_size=2).map(tuple),
    group=st.sampled_from(GROUPS),
    redirect=st.just("") | words("https://www.example.com/", parse_redirect),
)
OPTIONS = st.builds(
    ProxyOptions,
    layer=st.just(7),
    accept_proxy=st.booleans(),
    send_proxy=st.sampled_from(["off", "v1", "v2"]),
    transparent=st.booleans(),
    server_protocol=st.sampled_from(["http/1.1", "h2"]),
    forwarded=st.sampled_from(["x-forwarded-for", "forwarded", "both", "off"]),
    trust_forwarded=st.booleans(),
    sticky=st.just("") | words("C", parse_cookie),
    server_tls=st.booleans(),
    server_name=st.just("") | words("s", parse_server_name),
    routes=st.lists(ROUTES, max_size=4).map(tuple),
)
LABELS = words("n", parse_name)


def service(options: ProxyOptions, label: str, server: str) -> Service:
    """Return a service with a server in each group."""
    names = {DEFAULT_GROUP: server, "api": f"{server}a"[-60:], "static-1": ""}
    backends = tuple(
        Backend(parse_address(f"198.18.1.{11 + number}", "backend"), 1, label=name, groups=(group,))
        for number, (group, name) in enumerate(names.items())
    )
    vip = parse_address("198.18.1.100", "VIP")
    return Service(vip, 80, "tcp", "proxy", "wrr", backends, label=label, proxy=options)


def tokens(configuration: str) -> list[list[str]]:
    """Return the words of each line that has any."""
    split = (shlex.split(line, comments=True) for line in configuration.splitlines())
    return [line for line in split if line]


def meant(options: ProxyOptions) -> set[str]:
    """Return the words that have to be there as they are."""
    found: set[str] = set()
    for route in options.routes:
        found |= {one for one in route.paths if one != "/" and "/" not in route.paths}
        found |= {one.removeprefix("*") for one in route.hosts}
        found |= {route.pattern, *(route.header or ())[1:]} - {""}
    return found


@given(OPTIONS, LABELS, LABELS)
def test_each_word_stands_there_as_itself_and_no_line_is_any_but_ours(
    options: ProxyOptions, label: str, server: str
) -> None:
    lines = tokens(rendered([service(options, label, server)]))
    assert {line[0] for line in lines} <= KEYWORDS
    assert meant(options) <= {word for line in lines for word in line}


@needs_haproxy
@settings(max_examples=60)
@given(OPTIONS, LABELS, LABELS)
def test_haproxy_takes_whatever_the_schema_takes(options: ProxyOptions, label: str, server: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        said = complaints(rendered([service(options, label, server)]), Path(folder))
    assume("regex" not in said or "is invalid" not in said)  # its PCRE differs, which is asked before
    assert said == ""


@given(st.text(max_size=20) | st.text(alphabet=NASTY, max_size=20))
def test_a_quoted_word_is_one_word_and_itself_or_refused(text: str) -> None:
    if text.isprintable():
        assert shlex.split(quoted(text), comments=True) == [text]
    else:
        with pytest.raises(ValueError, match="cannot stand"):
            quoted(text)


@given(st.text(max_size=30))
def test_no_path_of_a_file_has_what_would_end_a_line(text: str) -> None:
    with contextlib.suppress(UsageError):
        assert shlex.split(quoted(parse_file(f"/{text}"))) == [f"/{text}"]
