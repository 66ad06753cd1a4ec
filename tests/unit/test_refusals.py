"""Are refusals of limits read as HAProxy tells them, and do their totals only grow?"""

from __future__ import annotations

from dsrlb.config import config_in
from dsrlb.engines.haproxy.refusals import REASONS, Refusals, commands, read, refused_table

TEXT = """
[[service]]
name = "web"
vip = "198.18.1.100:80"
mode = "proxy"
[service.limits]
connections = 5
[[service.backend]]
address = "198.18.1.11"
[[service]]
name = "free"
vip = "198.18.1.100:81"
mode = "proxy"
[[service.backend]]
address = "198.18.1.11"
"""
SERVICES = config_in(TEXT.encode(), "f.toml").proxied
HEAD = "# table: web::limits:refused, type: string, size:1, used:1\n"


def said(**counts: int) -> str:
    row = " ".join(f"gpc{place}={counts.get(reason, 0)}" for place, reason in enumerate(REASONS))
    return f"{HEAD}0x55c33ae92090: key=all use=0 exp=0 shard=0 {row}\n\n"


def test_only_services_with_limits_have_a_table_to_ask_for() -> None:
    assert commands(SERVICES) == ["show table web::limits:refused"]


def test_counts_are_read_by_the_place_of_their_reason() -> None:
    other = "# table: other::limits:refused, type: string, size:1, used:0\n"
    tables = read(said(denied=3, queue_full=9) + other)
    assert tables[refused_table("web")]["denied"] == 3
    assert tables[refused_table("web")]["queue_full"] == 9
    assert tables[refused_table("other")] == {}
    assert read("No such table\n") == {}


def test_totals_go_on_when_the_tables_begin_anew() -> None:
    refusals = Refusals()
    for count, total in ((3, 3), (5, 5)):
        refusals.note(SERVICES, said(denied=count))
        assert refusals.totals() == {("198.18.1.100:80/tcp", "denied", False): total}
    refusals.begin_anew()
    refusals.note(SERVICES, HEAD)
    assert list(refusals.totals().values()) == [5]
    refusals.note(SERVICES, said(denied=1, too_many_connections=2))
    assert list(refusals.totals().values()) == [6, 2]


def test_what_cannot_be_read_changes_nothing() -> None:
    refusals = Refusals()
    refusals.note(SERVICES, said(denied=3))
    refusals.note(SERVICES, "Permission denied\n")
    assert list(refusals.totals().values()) == [3]
