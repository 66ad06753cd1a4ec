"""Does a route that is said never to match never match?"""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsrlb.config.routes import contradiction, covers
from dsrlb.proxying import Route


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        (Route(), Route(paths=("/api",))),
        (Route(paths=("/",)), Route(hosts=("a.example.com",))),
        (Route(paths=("/api",)), Route(paths=("/api",))),
        (Route(paths=("/api",)), Route(paths=("/api/v1",), hosts=("a.example.com",))),
        (Route(paths=("/a", "/b")), Route(paths=("/b/1", "/a"))),
        (Route(paths=("/api",)), Route(pattern="^/api/v[0-9]+$")),
        (Route(hosts=("*.example.com",)), Route(hosts=("a.example.com", "*.b.example.com"))),
        (Route(header=("X-Beta", "")), Route(header=("x-beta", "yes"))),
        (Route(methods=("GET", "POST")), Route(methods=("POST",))),
        (Route(pattern="png"), Route(pattern="png", paths=("/a",))),
    ],
)
def test_what_an_earlier_route_takes_all_of_is_known(earlier: Route, later: Route) -> None:
    assert covers(earlier, later)


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        (Route(paths=("/api",)), Route(paths=("/apis",))),
        (Route(paths=("/api",)), Route()),
        (Route(paths=("/api/v1",)), Route(paths=("/api",))),
        (Route(paths=("/api",), hosts=("a.example.com",)), Route(paths=("/api",))),
        (Route(paths=("/api",)), Route(pattern="^/api/?")),
        (Route(paths=("/api",)), Route(pattern="/api/")),
        (Route(paths=("/api",)), Route(pattern="^/api/|^/x")),
        (Route(paths=("/api",)), Route(pattern="^/api")),
        (Route(hosts=("*.example.com",)), Route(hosts=("example.com",))),
        (Route(hosts=("example.com",)), Route(hosts=("*.example.com",))),
        (Route(header=("X-Beta", "yes")), Route(header=("X-Beta", ""))),
        (Route(methods=("GET",)), Route()),
        (Route(pattern="png"), Route(pattern="css")),
    ],
)
def test_what_may_be_left_over_is_not_refused(earlier: Route, later: Route) -> None:
    assert not covers(earlier, later)


@pytest.mark.parametrize(
    ("route", "says"),
    [
        (Route(pattern="^api/"), "paths begin with a slash"),
        (Route(pattern="^/static/", paths=("/api", "/v1")), "begin with /static/, and its path is another"),
        (Route(pattern="^/static/", paths=("/api", "/static")), ""),
        (Route(pattern="^/a", paths=("/api/v1",)), ""),
        (Route(pattern="^/api/v1/x", paths=("/api",)), ""),
        (Route(pattern="^/?api", paths=("/api",)), ""),
        (Route(pattern="^/b|^/api", paths=("/api",)), ""),
        (Route(pattern="^.api", paths=("/api",)), ""),
        (Route(pattern="^/x", paths=("/",)), ""),
        (Route(paths=("/",)), ""),
    ],
)
def test_a_route_that_contradicts_itself_is_known(route: Route, says: str) -> None:
    assert says in contradiction(route) and bool(says) == bool(contradiction(route))


HOSTS = st.sampled_from(["example.com", "a.example.com", "b.a.example.com", "xexample.com"])
PATHS = st.sampled_from(["/", "/a", "/a/b", "/ab", "/a/b/c", "/b"])
PATTERNS = st.sampled_from(["", "^/a/", "^/a/b?", "b$", "^/a/b|^/b", "^/a/b/.*"])
HEADERS = st.sampled_from([("X", "1"), ("X", "2"), ("Y", "1")])
METHODS = st.sampled_from(["GET", "POST"])
ROUTES = st.builds(
    Route,
    hosts=st.lists(HOSTS | HOSTS.map("*.{}".format), max_size=2).map(tuple),
    paths=st.lists(PATHS, max_size=2).map(tuple),
    pattern=PATTERNS,
    header=st.none() | HEADERS | HEADERS.map(lambda one: (one[0], "")),
    methods=st.lists(METHODS, max_size=2).map(tuple),
)


def fits(route: Route, host: str, path: str, header: tuple[str, str], method: str) -> bool:
    """Return whether a request fits a route, by what the documentation says."""
    below = [one for one in route.hosts if one.startswith("*.") and host.endswith(one[1:])]
    within = [one for one in route.paths if one == "/" or path == one or path.startswith(one + "/")]
    return (
        (not route.hosts or host in route.hosts or bool(below))
        and (not route.paths or bool(within))
        and (not route.pattern or re.search(route.pattern, path) is not None)
        and (route.header is None or header == route.header or (header[0], "") == route.header)
        and (not route.methods or method in route.methods)
    )


@given(ROUTES, ROUTES, HOSTS, PATHS | st.sampled_from(["/a/", "/a/bb", "/a/b/c/d"]), HEADERS, METHODS)
def test_no_request_fits_a_route_that_is_covered_and_not_the_one_that_covers_it(
    earlier: Route, later: Route, host: str, path: str, header: tuple[str, str], method: str
) -> None:
    request = host, path, header, method
    if covers(earlier, later) and fits(later, *request):
        assert fits(earlier, *request)


@given(ROUTES, HOSTS, PATHS, HEADERS, METHODS)
def test_no_request_fits_a_route_that_contradicts_itself(
    route: Route, host: str, path: str, header: tuple[str, str], method: str
) -> None:
    assert not (fits(route, host, path, header, method) and contradiction(route))
