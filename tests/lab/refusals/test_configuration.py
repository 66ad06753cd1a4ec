"""Is what no host could do refused, each problem in a sentence of its own?"""

from __future__ import annotations

import pytest
from lab_refusals import CONFIG, RS1, RS1_6, RS2, VIP, VIP6, Run, flags


@pytest.mark.parametrize(
    ("vip", "again"), [(f"{VIP}:80", f"{VIP}:80/tcp"), (f"[{VIP6}]:53/udp", "[2001:DB8:1:0::100]:53/udp")]
)
def test_a_vip_given_twice_is_refused(vip: str, again: str, refused: Run) -> None:
    refused(*flags("--vip", again, vip=vip)).because(CONFIG, "VIP", vip, "given 2 times")


def test_a_backend_listed_twice_is_refused(refused: Run) -> None:
    refused(*flags(backends=(RS1, RS2, f"{RS1},weight=3"))).because(CONFIG, RS1, "listed 2 times")


def test_a_backend_listed_twice_in_two_spellings_is_refused(refused: Run) -> None:
    backends = (RS1_6, "2001:DB8:1:0:0::11")
    refused(*flags(backends=backends, vip=f"[{VIP6}]:80")).because(CONFIG, RS1_6, "listed 2 times")


@pytest.mark.parametrize(("vip", "backend"), [(f"{VIP}:80", VIP), (f"[{VIP6}]:80", VIP6)])
def test_a_backend_that_is_the_vip_is_refused(vip: str, backend: str, refused: Run) -> None:
    refused(*flags(vip=vip, backends=(backend, RS1))).because(CONFIG, backend, "VIP itself")


def test_a_backend_that_is_another_service_s_vip_is_refused(refused: Run) -> None:
    line = flags("--vip", f"{VIP}:80", vip="198.18.1.101:80", backends=(RS1, "198.18.1.101"))
    found = refused(*line)
    assert found.code == CONFIG and "Traceback" not in found.stderr
    assert all("198.18.1.101 is a VIP itself" in one for one in found.stderr.splitlines())


@pytest.mark.parametrize("weights", [("0",), ("0", "0"), ("00", "0")])
def test_weights_that_are_all_0_are_refused(weights: tuple[str, ...], refused: Run) -> None:
    backends = tuple(f"{where},weight={w}" for where, w in zip((RS1, RS2), weights, strict=False))
    refused(*flags(backends=backends)).because(CONFIG, "all weights are 0")


@pytest.mark.parametrize(
    ("more", "word"),
    [
        (["--backend", f"{RS2}:8080"], f"{RS2}:8080"),
        (["--backend", f"[{RS1_6}]:8080"], f"[{RS1_6}]:8080"),
        (["--encap", "gue"], "encap"),
        (["--source", "198.18.1.10"], "source"),
        (["--clamp-mss"], "clamp_mss"),
        (["--snat"], "snat"),
    ],
)
def test_an_option_that_the_mode_does_not_know_is_refused(more: list[str], word: str, refused: Run) -> None:
    refused(*flags(*more)).because(CONFIG, word, "mode l2dsr", "leave")


def test_a_persist_prefix_that_is_too_long_is_refused(refused: Run) -> None:
    refused(*flags("--persist", "300/33")).because(CONFIG, "persist prefix /33", "1 to 32")


def test_every_problem_is_told_at_once_each_in_a_sentence_of_its_own(refused: Run) -> None:
    found = refused(*flags("--vip", f"{VIP}:80", backends=(f"{VIP},weight=0", f"{RS1},weight=0", RS1)))
    told = found.stderr.splitlines()
    assert found.code == CONFIG and len(told) == len(set(told)) == 3, found
    assert all(one.startswith("dsrlb: ") for one in told)
