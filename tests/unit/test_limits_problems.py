"""Is every limit that cannot work told, at its line, in a sentence?"""

from __future__ import annotations

import pytest

from dsrlb.config import config_in
from dsrlb.errors import ConfigError
from dsrlb.proxying import Limits, Rate

HEAD = '[[service]]\nname = "web"\nvip = "198.18.1.100:80"\nmode = "proxy"\n'  # four lines
SEVEN = "[service.proxy]\nlayer = 7\n"
BACKEND = '[[service.backend]]\naddress = "198.18.1.11"\n'
WAITING = BACKEND + "max_connections = 10\n"


def limits(*lines: str) -> str:
    return "[service.limits]\n" + "".join(f"{line}\n" for line in lines)


def problems(text: str) -> list[str]:
    try:
        config_in(text.encode(), "f.toml")
    except ConfigError as error:
        return list(error.problems)
    return []


def test_limits_are_read() -> None:
    said = limits(
        'requests = "100/10"', "max_body = 5", "max_headers = 300", "header_timeout = 0.5", "shadow = true"
    )
    (service,) = config_in((HEAD + SEVEN + said + WAITING).encode(), "f.toml").services
    assert service.proxy is not None
    assert service.proxy.limits == Limits(
        requests=Rate(100, 10), max_body_bytes=5, max_headers_bytes=300, header_timeout_s=0.5, shadow=True
    )
    assert service.backends[0].max_connections == 10


@pytest.mark.parametrize(
    "text",
    [
        HEAD + limits() + BACKEND,
        HEAD + limits('new_connections = "1/86400"', "connections = 1", 'answer = "drop"') + BACKEND,
        HEAD + limits('deny = ["198.18.0.0/16"]', 'allow = ["198.18.1.0/24", "2001:db8::1"]') + BACKEND,
        HEAD + limits('deny = ["0.0.0.0/0", "::/0"]', 'allow = ["198.18.1.7"]') + BACKEND,
        HEAD + SEVEN + limits('requests = "1/1"', 'answer = "tarpit"', "prefix6 = 48") + BACKEND,
        HEAD + limits("queue = 5", "queue_timeout = 2", "shadow = true") + WAITING,
    ],
)
def test_what_can_work_is_taken(text: str) -> None:
    assert problems(text) == []


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ('requests = "1/1"', "6: service web: requests is about HTTP requests; add layer = 7"),
        ("header_timeout = 5", "6: service web: header_timeout is about HTTP requests; add"),
        ("max_body = 5", "6: service web: max_body is about HTTP requests; add layer = 7"),
        ('new_connections = "0/10"', "6: rate '0/10' is not a number and seconds, such as 100/10; write"),
        ('connections = "many"', "6: connections is the text 'many', and must be a whole number"),
        ('new_connections = "5/s"', "6: rate '5/s' is not a number and seconds, such as 100/10; write"),
        ('deny = ["198.18.0.1/16"]', "6: network '198.18.0.1/16' begins elsewhere; write 198.18.0.0/16"),
        ('deny = ["all"]', "6: network 'all' is none; write"),
        ('deny = "198.18.0.0/16"', "6: deny is the text '198.18.0.0/16', and must be a list of up to"),
        ("prefix4 = 24", "6: service web: prefix4 is of use with requests, new_connections or connections"),
        ("shadow = true", "6: service web: shadow is of use with requests, new_connections, connections,"),
        ('allow = ["198.18.0.0/16"]', "6: service web: allow is of use with requests,"),
        ("queue = 5", "6: service web: queue is of use with max_connections of a backend only; give"),
        ("queue_timeout = 5", "6: service web: queue_timeout is of use with max_connections of a backend"),
        (
            'new_connections = "5/1"\nanswer = "429"',
            "7: service web: answer 429 is for HTTP requests; take deny or drop, or add layer = 7",
        ),
        (
            'deny = ["198.18.1.0/24"]\nallow = ["198.18.0.0/16"]',
            "6: service web: deny 198.18.1.0/24 can never match, since allow 198.18.0.0/16 comes first",
        ),
    ],
)
def test_what_cannot_work_is_told_once_at_its_line(said: str, expected: str) -> None:
    (problem,) = problems(HEAD + limits(said) + BACKEND)
    assert problem.startswith(f"f.toml:{expected}"), problem
    assert "; " in problem, "it does not say what to do"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (limits("connections = 5") + BACKEND, "5: service web: limits are of use with mode proxy only"),
        (WAITING, "7: service web: max_connections is of use with mode proxy only"),
    ],
)
def test_other_modes_have_no_limits(words: str, expected: str) -> None:
    (problem,) = problems(HEAD.replace("proxy", "l2dsr") + words)
    assert problem.startswith(f"f.toml:{expected}"), problem
