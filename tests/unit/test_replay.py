"""Does a replay do in every mode what the live engine would?"""

from __future__ import annotations

from pathlib import Path

import packets as p
from click.testing import CliRunner, Result

from dsrlb.cli import cli
from dsrlb.frameio.pcap import read_pcap, write_pcap

FAR = f"{p.FAR},mac={p.ROUTER_MAC}"


def replay(tmp_path: Path, frames: list[p.Packet], *flags: str) -> tuple[Result, list[bytes]]:
    source, target = tmp_path / "in.pcap", tmp_path / "out.pcap"
    write_pcap(source, [(1.0 + number, bytes(frame)) for number, frame in enumerate(frames)])
    done = CliRunner().invoke(cli, ["replay", *flags, str(source), str(target)])
    return done, [frame for _, frame in read_pcap(target)] if target.exists() else []


def test_l3dsr_wraps_with_the_source_given_and_tells_who_sends_too_much(tmp_path: Path) -> None:
    flags = ["--mode", "l3dsr", "--vip", f"{p.VIP}:80", "--backend", FAR, "--source", p.BALANCER_IP]
    big = (
        p.ether()
        / p.IP(src=p.CLIENT, dst=p.VIP, flags="DF")
        / p.TCP(dport=80, flags="A")
        / p.Raw(bytes(1441))
    )
    done, (wrapped, told) = replay(tmp_path, [p.tcp("S"), big], *flags)
    assert done.exit_code == 0
    outer = p.IP(src=p.BALANCER_IP, dst=p.FAR, id=0, flags="DF", proto=4)
    assert wrapped == bytes(p.ether(p.BALANCER_MAC, p.ROUTER_MAC) / outer / p.Raw(bytes(p.tcp("S"))[14:]))
    assert p.Ether(told)[p.ICMP].nexthopmtu == 1480
    assert "too_big_answered" in done.output


def test_l3dsr_without_a_source_is_refused(tmp_path: Path) -> None:
    done, out = replay(tmp_path, [p.tcp()], "--mode", "l3dsr", "--vip", f"{p.VIP}:80", "--backend", FAR)
    assert "add --source" in str(done.exception)
    assert out == []
