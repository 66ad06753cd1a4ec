"""Is what makes a set-up last read the same by every shell, and nothing in it as anything else?"""

from __future__ import annotations

import shutil
import subprocess

import pytest

from dsrlb.errors import UsageError
from dsrlb.host.backend_scripts import boot_script, boot_words, setup_script

SHELLS = {"sh": ["sh"], "bash": ["bash", "--posix"], "busybox": ["busybox", "sh"]}
VIPS = ("198.18.254.7", "2001:db8:fe::7")


def run(shell: str, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which(SHELLS[shell][0]) is None:
        pytest.skip(f"{shell} is missing")
    command = [*SHELLS[shell], "-s", "--", *arguments]
    return subprocess.run(command, input=script, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("systemd", ["dsrlb-backend-{}.service", "multi-user.target.wants/dsrlb-backend-{}.service"]),
        ("networkd", ["dsrlb-backend-{}.service", "systemd-networkd.service.wants/dsrlb-backend-{}.service"]),
        ("ifupdown", ["if-up.d/dsrlb-backend-{}"]),
    ],
)
def test_what_is_not_there_is_missing_file_by_file(shell: str, kind: str, names: list[str]) -> None:
    words = boot_words("verify", kind, VIPS, ["--mode", "l2dsr"], plan=False)
    done = run(shell, boot_script(), *words)
    told = [line for line in done.stdout.splitlines() if "dsrlb-backend-" in line]
    assert (done.returncode, done.stderr) == (1, "")
    assert all(line.startswith("missing ") and line.endswith(f"setup with --boot {kind}") for line in told)
    written = [vip.replace(".", "-").replace(":", "_") if kind == "ifupdown" else vip for vip in VIPS]
    wanted = [name.format(vip) for vip in written for name in names]
    assert len(told) == len(wanted) and all(name in line for name, line in zip(wanted, told, strict=True))


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_that_is_left_is_the_one_that_was_sent(shell: str) -> None:
    front = boot_script(("/opt/it's dsrlb",)).partition("#!/bin/sh\n# Make what backend-setup did last")[0]
    done = run(shell, f"{front}\nsetup_script")
    assert done.stdout.strip() == ("#!/bin/sh\n" + setup_script(("/opt/it's dsrlb",))).strip()


@pytest.mark.parametrize("word", ["e0;reboot", "e%n", "a b", "$(x)", "'", "é"])
def test_a_word_that_a_unit_would_read_otherwise_is_refused(word: str) -> None:
    with pytest.raises(UsageError, match="cannot stand in a unit"):
        boot_words("write", "systemd", VIPS, ["--device", word], plan=False)
