"""The arithmetic of the benchmark of mode proxy, and that both contenders are what HAProxy takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from golden_haproxy import complaints, needs_haproxy

from dsrlb.bench import proxy
from dsrlb.bench.proxy import Turn, Turns


def turns(dsrlb: list[int], hand: list[int]) -> Turns:
    return {
        "dsrlb": [Turn(count, seconds=2.0, cpu_s=1.0) for count in dsrlb],
        "hand": [Turn(count, seconds=2.0, cpu_s=2.0) for count in hand],
    }


def test_the_ratio_is_the_median_over_rounds_of_the_ratio_within_a_round() -> None:
    found = turns([100, 300, 990], [100, 200, 1000])
    assert proxy.ratio(found) == 1.0
    assert proxy.ratio(found, lambda one: one.per_cpu_s) == 2.0
    assert "dsrlb / hand 1.000 (by CPU time 2.000), at least 0.97: met" in "\n".join(
        proxy.report("http", found)
    )


def test_a_ratio_below_the_bar_is_not_met() -> None:
    assert proxy.is_met(turns([97], [100]))
    assert not proxy.is_met(turns([96], [100]))
    assert "NOT met" in "\n".join(proxy.report("tcp", turns([96], [100])))


@needs_haproxy
@pytest.mark.parametrize("kind", proxy.KINDS)
def test_haproxy_takes_both_without_a_warning_about_what_is_in_them(kind: str, tmp_path: Path) -> None:
    texts = proxy._texts(kind, {"dsrlb": 18_080, "hand": 18_081}, [18_082, 18_083], tmp_path)
    assert set(texts) == set(proxy.CONTENDERS)
    for name, text in texts.items():
        assert complaints(text, tmp_path) == "", name
        assert ("ssl crt" in text) == (kind == "https")
        assert text.count("    server rs") == 2
