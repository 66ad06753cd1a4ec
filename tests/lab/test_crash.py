"""Does the host's own stack stay silent about the VIP while a killed balancer is started again?"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from typing import Any

from lab_wire import eventually

from dsrlb.lab import balancer
from dsrlb.lab.balancer import Balancer
from dsrlb.lab.topology import VIP, Lab, inside, run


def rule_is_set(lab: Lab) -> bool:
    command = ["ip", "-n", lab.namespace("lb"), "rule"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    return f"to {VIP} iif e0 blackhole" in shown.stdout


def test_a_crashed_run_s_rules_stay_in_force_until_the_next_one_is_ready(
    lab: Lab, serve: Callable[..., Balancer], client: Any
) -> None:
    flags = balancer.serve_flags(lab)
    serve(flags=flags).stop(signal.SIGKILL)
    assert rule_is_set(lab)
    switch = lab.namespace("switch")
    run(["ip", "-n", switch, "link", "set", "p-rs3", "down"])  # an unresolved server makes the start long
    run(inside(lab.namespace("lb"), "ip", "neigh", "flush", "dev", "e0"))
    try:
        again = serve(flags=flags, ready=False)
        gaps = []
        assert eventually(lambda: gaps.append(rule_is_set(lab)) or "ready" in again.stderr, 30)
        assert all(gaps), f"the rule was away in {gaps.count(False)} of {len(gaps)} looks"
        assert again.stop() == 0
    finally:
        run(["ip", "-n", switch, "link", "set", "p-rs3", "up"])
    assert not rule_is_set(lab)
