"""Do services of different modes go side by side in one file?"""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner
from packets import BACKEND_MACS, BACKENDS, BALANCER_MAC, VIP, VIP6, tcp
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.utils import rdpcap, wrpcap

from dsrlb.cli import cli

TEXT = f"""
[[service]]
name = "near"
vip = "{VIP}:80"
mode = "l2dsr"
backend = [{{ name = "rs1", address = "{BACKENDS[0]}", mac = "{BACKEND_MACS[0]}" }}]

[[service]]
name = "far"
vip = "{VIP}:*"
mode = "l3dsr"
source = "198.18.1.10"
backend = [{{ address = "{BACKENDS[1]}", mac = "{BACKEND_MACS[1]}" }}]

[[service]]
name = "six"
vip = "[{VIP6}]:80"
mode = "l3dsr"
source = "198.18.1.10"
backend = [{{ address = "{BACKENDS[2]}", mac = "{BACKEND_MACS[2]}" }}]
"""


def test_each_service_forwards_in_its_own_mode(tmp_path: Path) -> None:
    (tmp_path / "dsrlb.toml").write_text(TEXT)
    sent = [tcp(dport=80), tcp(dport=81), tcp(dport=80, dst=VIP6)]
    wrpcap(str(tmp_path / "in.pcap"), [Ether(bytes(one)) for one in sent])
    files = [str(tmp_path / name) for name in ("dsrlb.toml", "in.pcap", "out.pcap")]
    done = CliRunner().invoke(cli, ["replay", "--mac", BALANCER_MAC, "--config", *files])
    assert done.exit_code == 0, done
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [(row[1], row[-1]) for row in rows if "/tcp" in "".join(row)] == [
        (BACKENDS[0], "near/rs1"),
        (BACKENDS[1], "far"),
        (BACKENDS[2], "six"),
    ]
    near, far, six = (Ether(bytes(one)) for one in rdpcap(files[2]))
    assert [one.dst for one in (near, far, six)] == list(BACKEND_MACS[:3])
    assert bytes(near)[12:] == bytes(sent[0])[12:]
    for wrapped, inner, server in ((far, sent[1][IP], BACKENDS[1]), (six, sent[2][IPv6], BACKENDS[2])):
        assert (wrapped[IP].src, wrapped[IP].dst) == ("198.18.1.10", server)
        assert bytes(wrapped[IP].payload) == bytes(inner)
