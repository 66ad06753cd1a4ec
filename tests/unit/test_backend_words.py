"""Is a wrong word on the command line of `dsrlb backend`, or of the script, one clear sentence?"""

from __future__ import annotations

import re
import shutil
import subprocess
from ipaddress import ip_address
from pathlib import Path

import pytest
from click.testing import CliRunner

from dsrlb.cli.backend import backend
from dsrlb.cli.backend_words import parse_vip
from dsrlb.errors import HostError, UsageError

SCRIPT = Path(__file__).parents[2] / "scripts/backend-setup"
BAD_VIPS = [
    *("198.18.0.10:80", "198.18.0.10:80/tcp", "[2001:db8::10]:80", "198.18.0.10/32", "2001:db8::/64"),
    *("224.0.0.1", "ff02::1", "0.0.0.0", "::", "127.0.0.1", "::1", "255.255.255.255", "fe80::1"),
    *(
        "::ffff:198.18.0.1",
        "::ffff:c612:1",
        "240.0.0.1",
        "0.1.2.3",
        "169.254.0.1",
        "1::198.18.0",
        "2001:db8::1%s0",
        "server.example",
        "*",
        " ",
    ),
    *("198.18.0", "198.18.0.256", "198.18.00.1", "198.18.0.1.1", "198.18.0.-1", ""),
    *("1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8::", "1:2:3:4:5:6:7:8:9"),
    *("1::2::3", "12345::1", ":::", "2001:db8::1:"),
]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("198.18.0.10:80", "give the address alone, 198.18.0.10;"),
        ("198.18.0.10:80/tcp", "give the address alone, 198.18.0.10;"),
        ("198.18.0.10:*", "give the address alone, 198.18.0.10;"),
        ("[2001:db8::10]:80", "give the address alone, 2001:db8::10;"),
        ("[2001:db8::10]", "give the address alone, 2001:db8::10;"),
        ("198.18.0.10/32", "without a prefix length"),
        ("224.0.0.1", "a multicast address"),
        ("ff02::1", "a multicast address"),
        ("0.0.0.0", "an unspecified address"),
        ("::", "an unspecified address"),
        ("127.0.0.1", "a loopback address"),
        ("::1", "a loopback address"),
        ("255.255.255.255", "the broadcast address"),
        ("fe80::1", "is link-local"),
        ("::ffff:198.18.0.10", "an IPv4-mapped address"),
        ("::ffff:c612:a", "an IPv4-mapped address"),
        ("240.0.0.1", "a reserved address"),
        ("0.1.2.3", "an unspecified address"),
        ("198.18.0", "is not an IP address"),
        ("server.example", "is not an IP address"),
        ("", "is not an IP address"),
    ],
)
def test_a_bad_vip_is_a_usage_error_that_says_what_is_wrong(text: str, word: str) -> None:
    with pytest.raises(UsageError, match=re.escape(word)):
        parse_vip(text)
    answer = CliRunner().invoke(backend, ["verify", "--mode", "l2dsr", "--vip", text])
    assert answer.exit_code == 2
    assert word in answer.output


def script(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", SCRIPT, *words], capture_output=True, text=True, timeout=20, check=False)


@pytest.mark.parametrize("text", BAD_VIPS)
def test_the_script_refuses_a_bad_vip_with_the_same_sentence(text: str) -> None:
    flags = ["verify", "--mode", "l2dsr", "--vip", text]
    python, sh = CliRunner().invoke(backend, flags), script(*flags)
    assert (python.exit_code, sh.returncode) == (2, 2)
    sentence = sh.stderr.splitlines()[-1].removeprefix("backend-setup: ")
    assert python.output.splitlines()[-1] == f"Error: {sentence}"


@pytest.mark.skipif(shutil.which("ip") is None, reason="ip is missing: install iproute2")
@pytest.mark.parametrize(
    "text", ["2001:DB8:0:0:1:0:0:1", "2001:db8::0010", "2001:db8:0:1:0:1:0:1", "1:2:3:4:5:6:7::", "::a:b:c"]
)
def test_the_script_spells_an_address_like_python(text: str) -> None:
    sh = script("setup", "--mode", "l2dsr", "--vip", text, "--plan")
    assert sh.stdout == f"ip address add {ip_address(text)}/128 dev lo preferred_lft 0\n"


def test_the_commands_plan_needs_no_root_and_shows_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    answer = CliRunner().invoke(backend, ["setup", "--mode", "l2dsr", "--vip", "2001:DB8:0::10", "--plan"])
    assert answer.exit_code == 0
    assert answer.output == "ip address add 2001:db8::10/128 dev lo preferred_lft 0\n"


@pytest.mark.parametrize("verb", ["setup", "undo"])
def test_without_root_a_change_is_refused_before_anything_happens(
    verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    answer = CliRunner().invoke(backend, [verb, "--mode", "l2dsr", "--vip", "198.18.0.10"])
    assert isinstance(answer.exception, HostError)
    assert "needs root" in str(answer.exception)
