"""Is every word of mode proxy that cannot work told, at its line, in a sentence?"""

from __future__ import annotations

import pytest

from dsrlb.config import config_in
from dsrlb.errors import ConfigError

HEAD = '[[service]]\nname = "web"\nvip = "198.18.1.100:80"\nmode = "proxy"\n'  # four lines
LAYER_7 = "[service.proxy]\nlayer = 7\n"  # lines 5 and 6
BACKEND = '[[service.backend]]\naddress = "198.18.1.{}"\n'
ONE, TWO = BACKEND.format(11), BACKEND.format(12)
TRANSPARENT = '[service.proxy]\ntransparent = true\nsend_proxy = "v2"\n'  # lines 5 to 7
FORWARDED = '[[service]]\nvip = "198.18.1.101:80"\nmode = "inline"\n' + ONE + "port = {}\n"
API = TWO + 'group = "api"\n'


def route(*lines: str) -> str:
    return "[[service.route]]\n" + "".join(f"{line}\n" for line in lines)


OLD = route('path = "/old"', 'redirect = "https://www.example.com"')
TO_API = route('path = "/api"', 'group = "api"')


def problems(text: str) -> list[str]:
    try:
        config_in(text.encode(), "f.toml")
    except ConfigError as error:
        return list(error.problems)
    return []


@pytest.mark.parametrize(
    "text",
    [
        HEAD + ONE,
        HEAD + LAYER_7 + TO_API + ONE + API,
        HEAD + LAYER_7 + TO_API + route('path = "/"', 'group = "api"') + API,
        HEAD + LAYER_7 + TO_API + route('group = "api"') + API,
        HEAD + LAYER_7 + TO_API + ONE + 'group = ["default", "api"]\n',
        HEAD + LAYER_7 + route('path = "/api/open"', 'group = "default"') + TO_API + ONE + API,
        HEAD + LAYER_7 + 'redirect = "https"\n',
        HEAD + LAYER_7 + OLD + route('path = "/"', 'redirect = "https"'),
        HEAD + LAYER_7 + OLD + route('redirect = "https"'),
        HEAD + LAYER_7 + route('host = "old.example.com"', 'redirect = "https://www.example.com"') + ONE,
        HEAD + LAYER_7 + 'server_tls = true\nserver_ca = "/a.pem"\nserver_name = "app"\n' + ONE,
        HEAD + LAYER_7 + 'certificates = "/a.pem"\nclient_ca = "/b.pem"\nsticky = "S"\n' + ONE,
        HEAD + '[service.proxy]\ncertificates = "/a.pem"\n' + ONE,
        HEAD + TRANSPARENT + ONE,
        HEAD + TRANSPARENT + ONE + FORWARDED.format(8080),
    ],
)
def test_what_can_work_is_taken(text: str) -> None:
    assert problems(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            HEAD + TRANSPARENT + ONE + '[[service.backend]]\naddress = "2001:db8::1"\n',
            "11: service web: backend 2001:db8::1 is IPv6, and clients are IPv4, so it cannot be asked from "
            "their addresses; give it an IPv4 address, or leave transparent out",
        ),
        (
            HEAD + TRANSPARENT + ONE + FORWARDED.format(80),
            "9: service web: backend 198.18.1.11 port 80 is of mode inline too, which takes its answers; "
            "give it another port, or leave transparent out",
        ),
        (
            HEAD + LAYER_7 + route('path = "/api"', 'group = "apis"') + ONE + API,
            "9: service web: route 1 leads to group 'apis', which no backend is in; there are api",
        ),
        (
            HEAD + LAYER_7 + TO_API + ONE,
            "9: service web: route 1 leads to group 'api', which no backend is in; give its servers",
        ),
        (
            HEAD + LAYER_7 + ONE + API,
            "11: service web: no route leads to group 'api', so its servers would get nothing",
        ),
        (
            HEAD + LAYER_7 + TO_API + API,
            "1: service web: every backend is in a group, so none takes the requests that fit no route",
        ),
        (
            HEAD + LAYER_7 + TO_API + route('path = "/api/v1"', 'group = "api"') + ONE + API,
            "10: service web: route 2 can never match, since route 1 before it takes all of it",
        ),
        (
            HEAD + LAYER_7 + route('pattern = "^api/"', 'group = "api"') + ONE + API,
            "7: service web: route 1 can never match: paths begin with a slash, and its pattern does",
        ),
        (HEAD + LAYER_7 + route('path = "/x"') + ONE, "7: service web: route 1 leads nowhere"),
        (
            HEAD + LAYER_7 + route('group = "api"', 'redirect = "https"') + API,
            "7: service web: route 1 has both group and redirect",
        ),
        (HEAD + TO_API + ONE + API, "5: service web: routes are by HTTP request; add layer = 7"),
        (HEAD + "[service.proxy]\nlayer = 4\nsticky = 'S'\n" + ONE, "7: service web: sticky is about HTTP"),
        (HEAD + "[service.proxy]\nforwarded = 'both'\n" + ONE, "6: service web: forwarded is about HTTP"),
        (
            HEAD + LAYER_7 + 'client_ca = "/a.pem"\n' + ONE,
            "7: service web: client_ca is of use with certificates only; add it",
        ),
        (
            HEAD + LAYER_7 + 'server_tls = false\nserver_ca = "/a.pem"\n' + ONE,
            "8: service web: server_ca is of use with server_tls only",
        ),
        (
            HEAD + LAYER_7 + 'certificates = "/a.pem"\nredirect = "https"\n',
            "8: service web: it has certificates, so what it is asked comes by https already",
        ),
        (
            HEAD + LAYER_7 + 'certificates = "/a.pem"\n' + route('redirect = "https"') + ONE,
            "9: service web: route 1 redirects to https what came by https",
        ),
        (HEAD + LAYER_7 + 'redirect = "https"\n' + ONE, "7: service web: redirect answers every request, so"),
        (
            HEAD + LAYER_7 + 'redirect = "https"\n' + route('redirect = "https://a.b"'),
            "8: service web: redirect answers every request before any route",
        ),
        (
            HEAD + LAYER_7 + ONE + TWO + 'name = "198.18.1.11"\n',
            "11: service web: backend name '198.1",
        ),
        (HEAD.replace("proxy", "l2dsr") + ONE + 'group = "a"\n', "7: service web: group is of use with mode"),
        (HEAD.replace("proxy", "l2dsr") + route("group = 'a'") + ONE, "5: service web: route is of use with"),
        (HEAD.replace("proxy", "l2dsr") + LAYER_7 + ONE, "5: service web: proxy is of use with mode proxy"),
        (HEAD + LAYER_7, "1: backend is missing in [[service]]"),
        (HEAD + LAYER_7 + OLD, "1: service web: it has no backend, so none takes the requests that fit no"),
        (
            HEAD + LAYER_7 + OLD + route('path = "/"', 'group = "default"'),
            "1: backend is missing in [[service]]",
        ),
        (
            HEAD + LAYER_7 + OLD + 'group = "api"\n' + route('redirect = "https"') + API,
            "7: service web: route 1 has both group and redirect",
        ),
        (
            HEAD + LAYER_7 + 'redirect = "https"\n' + OLD,
            "8: service web: redirect answers every request before",
        ),
        (HEAD.replace(":80", ":80/udp") + ONE, "3: service web: mode proxy serves one TCP port"),
        (HEAD + "passive = true\n" + ONE, "5: service web: passive looks at clients' handshakes"),
        (
            HEAD + 'scheduler = "response"\n' + ONE,
            "5: service web: by connection, response goes by the times of checks",
        ),
        (HEAD + "persist = 300\n" + ONE, "5: service web: mode proxy knows no persist; take scheduler hash"),
        (
            HEAD + ONE + HEAD.replace("web", "dsr").replace("proxy", "l2dsr").replace(":80", ":81") + TWO,
            "3: service web: VIP 198.18.1.100 is this host's own address in mode proxy",
        ),
    ],
)
def test_what_cannot_work_is_told_once_at_its_line(text: str, expected: str) -> None:
    (problem,) = problems(text)
    assert problem.startswith(f"f.toml:{expected}"), problem
    assert "; " in problem, "it does not say what to do"


def test_a_malformed_route_has_no_problem_but_its_own() -> None:
    text = HEAD + LAYER_7 + route('path = "api"', 'group = "api"') + TO_API + ONE + API
    (problem,) = problems(text)
    assert problem.startswith("f.toml:8: path 'api' is not a path like /api")


def test_a_group_that_is_malformed_leads_to_no_further_problems() -> None:
    (problem,) = problems(HEAD + LAYER_7 + route('group = "a b"') + ONE + API)
    assert problem.startswith("f.toml:8: name 'a b' is not up to 63 letters")


def test_a_key_beside_one_that_is_malformed_has_no_problem_of_its_own() -> None:
    (problem,) = problems(HEAD + LAYER_7 + 'certificates = "www.pem"\nclient_ca = "/ca.pem"\n' + ONE)
    assert problem.startswith("f.toml:7: 'www.pem' is no absolute path")
