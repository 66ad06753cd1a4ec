"""Two tiers: does a balancer of packets before dsrlb's own proxies do what the picture says?"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from golden_haproxy import needs_haproxy
from lab_wire import TEST_PREFIX, eventually

from dsrlb.lab import build
from dsrlb.lab.balancer import Balancer, run_dsrlb, serve, serve_flags
from dsrlb.lab.client import Result, ask, begin, result
from dsrlb.lab.lifecycle import standing
from dsrlb.lab.topology import Lab, LinkBytes, link_bytes, run

pytestmark = needs_haproxy
FAST = "tcp,interval=0.3,timeout=0.3,fast_interval=0.1,fall=2,rise=1"


@pytest.fixture(scope="module")
def lab(shared_directories: None) -> Iterator[Lab]:
    with standing(Lab(prefix=f"{TEST_PREFIX}tt-", mode="two-tier", servers=2, proxies=2)) as it:
        yield it
    assert build.present(it.prefix) == []
    assert not list(Path("/run/dsrlb").glob(f"{it.prefix}*"))


@pytest.fixture
def balancer(lab: Lab) -> Iterator[Balancer]:
    it = serve(lab, serve_flags(lab, "--scheduler", "rr", "--check", FAST))
    yield it
    it.stop()


def https(lab: Lab, count: int, path: str = "/", **more: object) -> dict[str, object]:
    """Return how to ask by https, with the certificate looked at."""
    certificate = str(lab.run_directory / "proxy.pem.crt")
    return {"host": lab.vips[0], "port": 443, "count": count, "path": path, "ca": certificate, **more}


def sent_by(lab: Lab, *ends: tuple[str, str]) -> int:
    return sum((link_bytes(lab, *one) for one in ends), LinkBytes(0, 0)).sent


def standing_of(lab: Lab, balancer: Balancer) -> dict[str, str]:
    """Return how the proxies stand at the balancer, for https."""
    said = run_dsrlb(lab, "lb", "show", "backends", "--admin", str(balancer.admin)).stdout
    rows = [re.split(r"\s{2,}", line) for line in said.splitlines() if ":443/" in line]
    return {row[2]: row[3] for row in rows}


def test_answers_go_from_the_proxies_straight_to_the_client(lab: Lab, balancer: Balancer) -> None:
    proxies = [(name, "e0") for name in lab.proxy_names]
    before = [sent_by(lab, one) for one in proxies], sent_by(lab, ("lb", "e0"))
    answers = ask(lab, "requests", **https(lab, 300, "/file/64k", parallel=4))
    assert answers["errors"] == []
    assert answers["bytes"] == 300 << 16
    assert {answers["servers"].count(name) for name in lab.server_names} <= set(range(140, 161))
    by_each = [sent_by(lab, one) - then for one, then in zip(proxies, before[0], strict=True)]
    assert min(by_each) > 140 << 16, "each proxy has answered half of them"
    assert sent_by(lab, ("lb", "e0")) - before[1] < sum(by_each) / 10


@pytest.mark.parametrize("vip", [0, 1])
def test_http_and_both_families_are_served_too(lab: Lab, vip: int) -> None:
    version = lab.vips[vip].version
    it = serve(lab, serve_flags(lab, version=version))
    try:
        answers = ask(lab, "requests", host=lab.vips[vip], count=20)
        secure = ask(lab, "requests", **https(lab, 20, host=lab.vips[vip]))
    finally:
        it.stop()
    assert answers["errors"] == secure["errors"] == []
    assert all(lab_name in answers["servers"] for lab_name in lab.server_names)


def test_a_proxy_that_is_drained_loses_no_request(lab: Lab, balancer: Balancer) -> None:
    client = begin(lab, "requests", **https(lab, 2000, parallel=2))
    before = sent_by(lab, ("px1", "e0"))
    assert eventually(lambda: sent_by(lab, ("px1", "e0")) > before + 10_000, 20)
    for verb in ("drain", "undrain"):
        said = run_dsrlb(lab, "lb", verb, "px1", "--admin", str(balancer.admin))
        assert said.returncode == 0, said.stderr
        assert standing_of(lab, balancer)["px1"] == ("drained" if verb == "drain" else "up")
    run_dsrlb(lab, "lb", "drain", "px1", "--admin", str(balancer.admin))
    assert client.poll() is None, "all of that was while requests came"
    assert result(client)["errors"] == []
    before = sent_by(lab, ("px1", "e0"))
    assert ask(lab, "requests", **https(lab, 50, "/file/64k"))["errors"] == []
    assert sent_by(lab, ("px1", "e0")) - before < 1 << 16, "what is new goes to the other one"


def kill(lab: Lab, role: str) -> None:
    """Kill every program of a node, as if its power were gone; the network is left."""
    for pid in run(["ip", "netns", "pids", lab.namespace(role)]).split():
        os.kill(int(pid), signal.SIGKILL)


def all_answered(lab: Lab) -> bool:
    answers: Result = ask(lab, "requests", **https(lab, 10, lost_max=1))
    return answers["errors"] == []


def test_a_proxy_that_is_killed_is_left_and_the_other_one_breaks_nothing(
    lab: Lab, balancer: Balancer
) -> None:
    said = run_dsrlb(lab, "lb", "drain", "px1", "--admin", str(balancer.admin))
    assert said.returncode == 0, said.stderr
    before = sent_by(lab, ("px2", "e0"))
    long = begin(lab, "requests", **https(lab, 1, "/file/20m", timeout_s=60))
    assert eventually(lambda: sent_by(lab, ("px2", "e0")) - before > 1 << 20, 20)
    run_dsrlb(lab, "lb", "undrain", "px1", "--admin", str(balancer.admin))
    kill(lab, "px1")
    assert eventually(lambda: standing_of(lab, balancer)["px1"] != "up", 10)
    assert eventually(lambda: all_answered(lab), 10)
    answers = ask(lab, "requests", **https(lab, 100, parallel=2))
    assert answers["errors"] == []
    assert result(long)["errors"] == [], "a download through the one that lives"
    kill(lab, "px2")
    assert eventually(lambda: not all_answered(lab), 10), "so the test can fail"


def test_by_l3dsr_proxies_in_networks_of_their_own_answer_past_the_balancer_and_one_may_go() -> None:
    """Requests of 3 kB come wrapped, in segments that fit into the tunnel."""
    with standing(Lab(prefix=f"{TEST_PREFIX}t3-", mode="two-tier-l3dsr", servers=2, proxies=2)) as lab:
        it = serve(lab, serve_flags(lab, "--scheduler", "rr", "--check", FAST))
        try:
            before = sent_by(lab, ("lb", "e0"))
            answers = ask(lab, "requests", **https(lab, 100, "/file/64k", parallel=4))
            assert answers["errors"] == [] and answers["bytes"] == 100 << 16
            assert min(Counter(answers["servers"]).values()) >= 49, "each proxy has them take turns"
            assert sent_by(lab, ("lb", "e0")) - before < (100 << 16) / 10
            assert ask(lab, "requests", **https(lab, 20, "/" + "x" * 3000))["bytes"] > 0
            assert run_dsrlb(lab, "lb", "drain", "px1", "--admin", str(it.admin)).returncode == 0
            kill(lab, "px1")
            assert ask(lab, "requests", **https(lab, 50))["errors"] == []
        finally:
            it.stop()


def test_the_demonstration_loses_nothing_and_says_by_which_way_the_answers_went() -> None:
    words = ["lab", "demo", "--mode", "two-tier", "--proxies", "2", "--prefix", f"{TEST_PREFIX}td-"]
    command = [sys.executable, "-m", "dsrlb", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "requests answered        300 of 300" in done.stdout
    assert "from the servers to the proxies, and from there straight to the client" in done.stdout
    [percent] = re.findall(r"\(([\d.]+)% of the servers' bytes\)", done.stdout)
    assert float(percent) < 10
