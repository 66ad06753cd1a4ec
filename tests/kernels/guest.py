"""What the virtual machine does: it loads, it serves, it tells the stories; by its serial port it says so.

Its interfaces, eth0 and on, are each put into a namespace of their own, as e0: a balancer each.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import traceback
import xml.etree.ElementTree as xml
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kernels.loading import loaded_objects

PYTESTS = ("tests/parity/test_goldens.py", "tests/lab/test_decap_program.py")
READY_S, STOP_S = 300, 60


def say(**what: Any) -> None:
    """Say something to who booted this machine."""
    print("@" + json.dumps(what), flush=True)


def say_what_breaks(does: Callable[[], None]) -> None:
    """Run what this machine is for; an error that ends it is said as well."""
    try:
        does()
    except BaseException:
        say(broken=traceback.format_exc())
        raise


def stories() -> dict[str, Any]:
    """Run the tests that send frames through the programs; return how many came true, and what did not."""
    report = Path("/tmp/report.xml")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--junitxml={report}", *PYTESTS]
    environment = {**os.environ, "DSRLB_REQUIRE_LAB": "1"}
    ended = subprocess.run(command, stdout=sys.stderr, check=False, env=environment)  # seen on the console
    if ended.returncode not in (0, 1) or not report.exists():  # 1: some failed
        return {"tests": 0, "skipped": 0, "failed": ["pytest did not come to its end; see the console"]}
    suite = next(xml.parse(report).getroot().iter("testsuite"))
    cases = [(one.get("name"), why) for one in suite for why in one if why.tag in ("failure", "error")]
    failed = [f"{name}: {why.get('message', '')[:500]}" for name, why in cases]
    return {"tests": int(suite.get("tests", 0)), "skipped": int(suite.get("skipped", 0)), "failed": failed}


def place(number: int, lab: dict[str, Any]) -> None:
    """Make a balancer's namespace of an interface."""
    name = lab["name"]
    ip = ("ip", "-n", name)
    for words in (
        ("ip", "netns", "add", name),
        ("ip", "link", "set", f"eth{number}", "netns", name, "name", "e0"),
        (*ip, "link", "set", "lo", "up"),
        (*ip, "link", "set", "e0", "up"),
        *((*ip, *line.split()) for line in lab["lines"]),
    ):
        subprocess.run(words, check=True)
    Path(f"/tmp/{name}.toml").write_text(lab["config"])


def serve(name: str, xdp_mode: str) -> dict[str, str]:
    """Serve until told to go on; return what was printed and logged."""
    log, printed = Path("/tmp/err"), Path("/tmp/out")
    command = ["ip", "netns", "exec", name, sys.executable, "-m", "dsrlb", "serve"]
    command += ["--config", f"/tmp/{name}.toml", "--engine", "xdp", "--xdp-mode", xdp_mode]
    command += ["--bpffs", "/bpf", "--admin", "off", "--state-dir", "/tmp/state"]
    with log.open("wb") as err, printed.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=err, stdin=subprocess.DEVNULL)
        end = time.monotonic() + READY_S
        while not re.search(r"\bready\b", log.read_text()) and process.poll() is None:
            if time.monotonic() > end:
                break
            time.sleep(0.05)
        say(ready=log.read_text())
        sys.stdin.readline()
        process.terminate()
        process.wait(STOP_S)
    return {"printed": printed.read_text(), "logged": log.read_text()}


def main() -> None:
    """Do all of it, in the order in which it is awaited."""
    told = json.loads(Path("/told.json").read_text())
    say(kernel=os.uname().release)
    say(loaded=loaded_objects())
    for number, lab in enumerate(told["labs"]):
        place(number, lab)
        for xdp_mode in told["xdp_modes"]:
            say(served=serve(lab["name"], xdp_mode))
    say(stories=stories())


if __name__ == "__main__":
    say_what_breaks(main)
