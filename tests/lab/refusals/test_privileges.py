"""Is who lacks a privilege told which, and is the rest of the command line told before?"""

from __future__ import annotations

import subprocess
import sys

import pytest
from lab_refusals import DEADLINE_S, HOST, NOBODY, USAGE, VIP, Refused, Run, flags
from lab_wire import TEST_PREFIX

from dsrlb.lab.topology import Lab, inside

NEED_ROOT = {
    "serve": flags(),
    "lab up": ["lab", "up", "--prefix", f"{TEST_PREFIX}n-"],
    "lab demo": ["lab", "demo", "--prefix", f"{TEST_PREFIX}n-"],
    "lab down": ["lab", "down", "--prefix", f"{TEST_PREFIX}n-"],
    "backend setup": ["backend", "setup", "--mode", "l2dsr", "--vip", "198.18.1.200"],
    "backend undo": ["backend", "undo", "--mode", "l2dsr", "--vip", "198.18.1.200"],
}


@pytest.mark.parametrize("command", NEED_ROOT)
def test_who_is_not_root_is_told_so(command: str, refused: Run) -> None:
    refused(*NEED_ROOT[command], uid=NOBODY).because(HOST, "root", "sudo")


def test_root_without_the_capability_for_packet_sockets_is_told_which(lab: Lab) -> None:
    bare = ["setpriv", "--bounding-set", "-net_raw", "--inh-caps", "-net_raw"]
    command = inside(lab.namespace("lb"), *bare, sys.executable, "-m", "dsrlb", *flags())
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    Refused(done.returncode, done.stdout, done.stderr).because(HOST, "CAP_NET_RAW")


def test_a_malformed_line_is_told_before_the_lack_of_root(refused: Run) -> None:
    refused(*flags(vip=f"{VIP}:70000"), uid=NOBODY).because(USAGE, "70000")


def test_who_is_not_root_may_still_look_at_the_plan(refused: Run) -> None:
    found = refused(*NEED_ROOT["backend setup"], "--plan", uid=NOBODY)
    assert found.code == 0 and "ip addr" in found.stdout and found.stderr == "", found
