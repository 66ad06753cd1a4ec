"""Is every malformed word of the command line refused in one clear sentence?"""

from __future__ import annotations

import pytest
from lab_refusals import RS1, RS1_6, USAGE, VIP, VIP6, Run, flags


@pytest.mark.parametrize(
    "vip",
    [
        "", ":", ":80", "80", VIP, f"{VIP}:", f"{VIP}:80:80", f"{VIP}:80/", f"{VIP}:80 ", f" {VIP}:80",
        f"{VIP}:80,", f"{VIP}/32:80", f"{VIP}:80/tcp/udp", f"{VIP}:80\n", "198.18.1:80", "198.18.1.1000:80",
        "198.018.1.100:80", "0xc6.18.1.100:80", "3323068772:80", "host.example:80", "localhost:80",
        VIP6, f"{VIP6}:80", f"[{VIP6}]", f"[{VIP6}]:", f"[{VIP6}]80", f"[{VIP6}:80", f"{VIP6}]:80", "[]:80",
        f"[{VIP}]:80", f"[[{VIP6}]]:80", f"[{VIP6}%e0]:80", f"[{VIP6}/64]:80", "[2001:db8::1::2]:80",
        "[::ffff:198.18.1.100]:80", "[host]:80", "\N{FULLWIDTH DIGIT ONE}98.18.1.100:80",
    ],
)  # fmt: skip
def test_a_malformed_vip_is_refused(vip: str, refused: Run) -> None:
    refused(*flags(vip=vip)).because(USAGE, "--vip")


@pytest.mark.parametrize(
    ("vip", "kind"),
    [
        ("224.0.0.1:80", "multicast"), ("239.255.255.255:80", "multicast"), ("[ff02::1]:80", "multicast"),
        ("127.0.0.1:80", "loopback"), ("127.1.2.3:80", "loopback"), ("[::1]:80", "loopback"),
        ("0.0.0.0:80", "unspecified"), ("0.1.2.3:80", "unspecified"), ("[::]:80", "unspecified"),
        ("255.255.255.255:80", "broadcast"), ("240.0.0.1:80", "reserved"),
    ],
)  # fmt: skip
def test_a_vip_that_no_machine_can_own_is_refused(vip: str, kind: str, refused: Run) -> None:
    refused(*flags(vip=vip)).because(USAGE, "VIP", kind)


@pytest.mark.parametrize(
    "port",
    ["0", "70000", "65536", "-1", "abc", "http", "+80", "8 0", "80.0", "**", "0x50", "\N{SUPERSCRIPT TWO}",
     "9" * 5000],
)  # fmt: skip
def test_a_port_that_is_none_is_refused(port: str, refused: Run) -> None:
    refused(*flags(vip=f"{VIP}:{port}")).because(USAGE, "port", "65535")


@pytest.mark.parametrize("protocol", ["sctp", "TCP", "tcp ", "6", ""])
def test_an_unknown_protocol_is_refused(protocol: str, refused: Run) -> None:
    refused(*flags(vip=f"{VIP}:80/{protocol}")).because(USAGE, "protocol", "/tcp or /udp")


@pytest.mark.parametrize(
    "weight", ["-1", "abc", "", "1.5", "1e3", "65536", "9" * 5000, " 1", "+1", "\N{SUPERSCRIPT TWO}"]
)
def test_a_weight_that_is_none_is_refused(weight: str, refused: Run) -> None:
    refused(*flags(backends=(f"{RS1},weight={weight}",))).because(USAGE, "weight", "65535")


@pytest.mark.parametrize(
    "given",
    [
        "",
        "02",
        "02:00:c6:12:01",
        "02:00:c6:12:01:11:22",
        "02:00:c6:12:01:1g",
        "0200c6120111",
        "2:0:c6:12:1:11",
    ],
)
def test_a_malformed_mac_is_refused(given: str, refused: Run) -> None:
    refused(*flags(backends=(f"{RS1},mac={given}",))).because(USAGE, "MAC", RS1)


@pytest.mark.parametrize(
    "given", ["01:00:5e:00:00:01", "33:33:00:00:00:01", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00"]
)
def test_a_mac_of_no_single_machine_is_refused(given: str, refused: Run) -> None:
    refused(*flags(backends=(f"{RS1},mac={given}",))).because(USAGE, "MAC", "unicast")


@pytest.mark.parametrize(
    "backend",
    [
        "", ",", "host.example", f"{RS1}:0", f"[{RS1_6}]:", f"[{RS1}]:80", "198.18.1", f"{RS1}/24", f"{RS1} ",
        f"{RS1},", f"{RS1},1", f"{RS1},weight", f"{RS1};weight=1", f"{RS1},wieght=1",
        f"{RS1},weight=1,weight=2", f"{RS1},weight=1,",
        "224.0.0.1", "127.0.0.1", "0.0.0.0", "255.255.255.255", "::", "::1", "ff02::1",
        f"{RS1_6}%e0", "::ffff:198.18.1.11",
    ],
)  # fmt: skip
def test_a_malformed_backend_is_refused(backend: str, refused: Run) -> None:
    refused(*flags(backends=(backend,))).because(USAGE, "backend")


@pytest.mark.parametrize(
    ("more", "word"),
    [
        (["--scheduler", "lottery"], "maglev"),
        (["--engine", "warp"], "packet"),
        (["--bogus"], "--bogus"),
        (["stray"], "stray"),
        (["--vip"], "--vip"),
        (["--persist", "forever"], "300"),
        (["--encap", "gre"], "ipip"),
        (["--encap-port", "http"], "--encap-port"),
        (["--source", "here"], "198.18"),
    ],
)
def test_an_unknown_option_or_value_is_refused(more: list[str], word: str, refused: Run) -> None:
    refused(*flags(*more)).because(USAGE, word)


def test_an_unknown_mode_is_refused(refused: Run) -> None:
    refused(*flags(mode="l4dsr")).because(USAGE, "--mode", "l2dsr")


@pytest.mark.parametrize("option", ["--mode", "--vip", "--backend"])
def test_an_option_that_is_needed_and_missing_is_named(option: str, refused: Run) -> None:
    line = flags()
    at = line.index(option)
    refused(*line[:at], *line[at + 2 :]).because(USAGE, "Missing option", option)
