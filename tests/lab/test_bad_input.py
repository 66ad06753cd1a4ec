"""Is every bad input refused in one clear sentence, and is nothing left behind?

Refusals run in a fork of this process, inside the balancer's namespace: the same command from its first
line to its exit code, without importing everything anew some hundred times.
"""

from __future__ import annotations

import codecs
import logging
import os
import struct
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import scapy.utils  # noqa: F401  replay imports it late: once here, not in each fork
from lab_wire import GUEST_MAC, TEST_PREFIX, enter

from dsrlb.cli import main
from dsrlb.lab.topology import Lab, inside, mac, run

VIP, RS1, RS2 = "198.18.1.100", "198.18.1.11", "198.18.1.12"
VIP6, RS1_6 = "2001:db8:1::100", "2001:db8:1::11"
USAGE, CONFIG, HOST = 2, 3, 4
NOBODY = 65534
DEADLINE_S = 60
RS1_WITH_MAC = f"{RS1},mac={mac('rs1')}"

Run = Callable[..., "Refused"]


@dataclass(frozen=True)
class Refused:
    """What a command that ended has said."""

    code: int
    stdout: str
    stderr: str

    def because(self, code: int, *words: str) -> None:
        """Require an exit code and one sentence with these words on stderr, and nothing else anywhere."""
        assert self.code == code, self
        assert "Traceback" not in self.stderr and self.stdout == "", self
        told = self.stderr.splitlines()
        assert len(told) == 1 and told[0].startswith("dsrlb: "), self
        missing = [word for word in words if word not in told[0]]
        assert not missing, f"{missing} not said in: {told[0]}"


def flags(
    *more: str,
    vip: str = f"{VIP}:80",
    backends: tuple[str, ...] = (RS1,),
    interface: str = "e0",
    mode: str = "l2dsr",
) -> list[str]:
    """Return a command line of ``dsrlb serve`` that works as long as nothing in it is replaced."""
    behind = [word for backend in backends for word in ("--backend", backend)]
    return ["serve", "--mode", mode, "--interface", interface, "--vip", vip, *behind, *more]


def in_a_fork(namespace: str, arguments: list[str], uid: int, out: int, err: int) -> None:
    """Become the dsrlb command; never returns."""
    try:
        with Path("/run/netns", namespace).open() as there:
            enter(there)
        codecs.lookup("ascii")  # a file, which nobody might not be allowed to read here
        if uid:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        logging.getLogger().handlers.clear()  # pytest's own
        sys.argv = ["dsrlb", *arguments]
        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # what python itself would print
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@pytest.fixture
def refused(lab: Lab, tmp_path: Path) -> Run:
    def command(*arguments: str, role: str = "lb", uid: int = 0) -> Refused:
        with (tmp_path / "out").open("w+") as out, (tmp_path / "err").open("w+") as err:
            pid = os.fork()
            if pid == 0:
                in_a_fork(lab.namespace(role), [*arguments], uid, out.fileno(), err.fileno())
            _, status = os.waitpid(pid, 0)
            out.seek(0)
            err.seek(0)
            return Refused(os.waitstatus_to_exitcode(status), out.read(), err.read())

    return command


LOOK = (
    "ip rule; ip -6 rule; ip addr; ip link; ip route; ip -6 route; grep dsrlb /proc/net/unix; "
    "grep -r . /proc/sys/net/ipv4 /proc/sys/net/ipv6 /proc/sys/net/core 2>/dev/null | sort"
)


def traces(lab: Lab, role: str = "lb") -> dict[str, str]:
    """Return everything on a node that a command could have left behind."""
    namespace = lab.namespace(role)
    done = subprocess.run(
        inside(namespace, "sh", "-c", LOOK), capture_output=True, text=True, check=True, timeout=DEADLINE_S
    )
    return {"host": done.stdout, "processes": run(["ip", "netns", "pids", namespace])}


@pytest.fixture(scope="module")
def untouched(lab: Lab) -> dict[str, str]:
    return traces(lab)


@pytest.fixture(autouse=True)
def nothing_left_behind(lab: Lab, untouched: dict[str, str]) -> Iterator[None]:
    """After each test the balancer's host is as it was before the first one."""
    yield
    now = traces(lab)
    assert now["host"].splitlines() == untouched["host"].splitlines()
    assert now["processes"] == untouched["processes"]


@pytest.fixture
def configure(lab: Lab) -> Iterator[Callable[..., None]]:
    """Do an ``ip … add …`` in a namespace, and its ``del`` after the test."""
    done: list[list[str]] = []

    def add(namespace: str, *words: str) -> None:
        run(["ip", "-n", namespace, *words])
        done.append(["ip", "-n", namespace, *("del" if word == "add" else word for word in words)])

    yield add
    for command in reversed(done):
        run([word for word in command if word != "nodad"])


# ----------------------------------------------------------------------------- the command line


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


# ----------------------------------------------------------------------------- the configuration


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


# ----------------------------------------------------------------------------- the host


def test_an_interface_that_does_not_exist_is_named_with_those_that_do(refused: Run) -> None:
    refused(*flags(interface="eth77")).because(CONFIG, "eth77", "e0")


def test_an_interface_without_a_name_is_refused(refused: Run) -> None:
    refused(*flags(interface="")).because(USAGE, "--interface", "no name")


@pytest.mark.parametrize("name", ["e0 ", "e0/x", "x" * 300, "e0\n", "\N{GREEK SMALL LETTER ALPHA}"])
def test_an_interface_whose_name_is_nonsense_is_refused(name: str, refused: Run) -> None:
    found = refused(*flags(interface=name))
    assert found.code == CONFIG and "interface" in found.stderr and "Traceback" not in found.stderr, found


def test_the_loopback_interface_is_refused(refused: Run) -> None:
    refused(*flags(interface="lo")).because(CONFIG, "lo", "not an Ethernet interface")


def test_an_interface_that_is_down_is_refused(lab: Lab, refused: Run, configure: Callable[..., None]) -> None:
    configure(lab.namespace("lb"), "link", "add", "d0", "type", "veth", "peer", "name", "d1")
    refused(*flags(interface="d0")).because(CONFIG, "d0", "down", "ip link set d0 up")


def test_an_interface_without_a_carrier_is_refused(
    lab: Lab, refused: Run, configure: Callable[..., None]
) -> None:
    configure(lab.namespace("lb"), "link", "add", "d0", "type", "veth", "peer", "name", "d1")
    run(["ip", "-n", lab.namespace("lb"), "link", "set", "d0", "up"])
    refused(*flags(interface="d0")).because(CONFIG, "d0", "down")


def test_a_second_interface_that_does_not_exist_is_refused(refused: Run) -> None:
    refused(*flags("--interface", "eth77")).because(CONFIG, "eth77")


def test_no_interface_and_no_default_route_is_refused(lab: Lab, refused: Run) -> None:
    line = flags()
    at = line.index("--interface")
    # The switch has no route at all.
    refused(*line[:at], *line[at + 2 :], role="switch").because(CONFIG, "no default route", "--interface")


@pytest.mark.parametrize(("vip", "address"), [(f"{VIP}:80", f"{VIP}/32"), (f"[{VIP6}]:80", f"{VIP6}/128")])
def test_a_vip_that_another_machine_owns_is_refused_with_its_mac(
    vip: str, address: str, guest: str, refused: Run, configure: Callable[..., None]
) -> None:
    configure(guest, "addr", "add", address, "dev", "e0", *(["nodad"] if ":" in address else []))
    refused(*flags(vip=vip, backends=(RS1, RS1_6))).because(CONFIG, address.partition("/")[0], GUEST_MAC)


@pytest.mark.parametrize("device", ["lo", "e0"])
@pytest.mark.parametrize(("vip", "address"), [(f"{VIP}:80", f"{VIP}/32"), (f"[{VIP6}]:80", f"{VIP6}/128")])
def test_a_vip_configured_on_the_balancer_itself_is_refused(
    vip: str, address: str, device: str, lab: Lab, refused: Run, configure: Callable[..., None]
) -> None:
    configure(lab.namespace("lb"), "addr", "add", address, "dev", device)
    refused(*flags(vip=vip)).because(CONFIG, "configured on this host", f"ip addr del {address} dev {device}")


def test_a_vip_configured_as_an_address_of_its_network_is_to_be_taken_off_as_just_that(
    lab: Lab, refused: Run, configure: Callable[..., None]
) -> None:
    configure(lab.namespace("lb"), "addr", "add", f"{VIP}/24", "dev", "e0")
    refused(*flags()).because(CONFIG, "configured on this host", f"ip addr del {VIP}/24 dev e0")


def test_the_balancer_s_own_address_is_refused_as_a_vip(refused: Run) -> None:
    refused(*flags(vip="198.18.1.10:80")).because(CONFIG, "198.18.1.10", "configured on this host")


@pytest.mark.parametrize("backend", ["198.18.1.10", "2001:db8:1::10", f"198.18.1.10,mac={mac('rs1')}"])
def test_the_balancer_s_own_address_is_refused_as_a_backend(backend: str, refused: Run) -> None:
    refused(*flags(backends=(RS1, backend))).because(CONFIG, backend.split(",")[0], "this host itself")


def test_the_balancer_s_own_mac_is_refused_as_a_backend_s(refused: Run) -> None:
    own = mac("lb")
    refused(*flags(backends=(RS2, f"{RS1},mac={own}"))).because(CONFIG, RS1, own, "this host's own", "e0")


@pytest.mark.parametrize("more", ["", f",mac={mac('rs1')}"])
def test_the_broadcast_address_of_the_network_is_refused_as_a_backend(more: str, refused: Run) -> None:
    refused(*flags(backends=(f"198.18.1.255{more}",))).because(CONFIG, "198.18.1.255", "broadcast address")


@pytest.mark.parametrize(("backend", "kind"), [("255.255.255.255", "broadcast"), ("240.0.0.1", "reserved")])
def test_an_address_that_no_server_can_have_is_refused_for_what_it_is(
    backend: str, kind: str, refused: Run
) -> None:
    refused(*flags(backends=(backend,))).because(USAGE, backend, kind)


@pytest.mark.parametrize("backend", ["198.19.5.5", "198.18.0.2", "2001:db8:5::5"])
def test_a_backend_off_link_is_refused_and_told_of_l3dsr(backend: str, refused: Run) -> None:
    refused(*flags(backends=(RS1, backend))).because(CONFIG, backend, "off-link", "l3dsr")


@pytest.mark.parametrize("kind", ["unreachable", "blackhole", "prohibit"])
@pytest.mark.parametrize(
    ("backend", "net"), [("198.19.6.6", "198.19.6.0/24"), ("2001:db8:6::6", "2001:db8:6::/64")]
)
def test_a_backend_without_a_route_is_refused(
    kind: str, backend: str, net: str, lab: Lab, refused: Run, configure: Callable[..., None]
) -> None:
    family = ["-6"] if ":" in net else []
    configure(lab.namespace("lb"), *family, "route", "add", kind, net)
    refused(*flags(backends=(backend,))).because(CONFIG, backend, "unreachable")


def test_backends_of_which_none_answers_are_refused_by_name(refused: Run) -> None:
    silent = ("198.18.1.77", "2001:db8:1::77")
    refused(*flags(backends=silent)).because(CONFIG, "reached", *silent, "--force")


def test_a_second_balancer_of_the_same_vip_is_refused(
    lab: Lab, serve: Callable[..., object], refused: Run
) -> None:
    first = serve()
    during = traces(lab)["host"]
    refused(*flags(backends=(RS2,))).because(CONFIG, VIP, "already serves")
    refused(*flags("--force", backends=(RS2,), vip=f"{VIP}:81")).because(CONFIG, VIP, "already serves")
    assert traces(lab)["host"] == during, "the refused one took something of the first one's"
    assert first.stop() == 0


# ----------------------------------------------------------------------------- not root

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


# ----------------------------------------------------------------------------- replay

ETHERNET = 1


def capture(path: Path, *frames: bytes, linktype: int = ETHERNET) -> Path:
    """Write a pcap file (draft-ietf-opsawg-pcap)."""
    records = b"".join(struct.pack("<IIII", 1, 0, len(frame), len(frame)) + frame for frame in frames)
    path.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, linktype) + records)
    return path


def replay(source: object, target: object, backend: str = RS1_WITH_MAC) -> list[str]:
    line = ["replay", "--mode", "l2dsr", "--vip", f"{VIP}:80", "--backend", backend]
    return [*line, str(source), str(target)]


def test_replay_without_its_input_says_so_and_writes_nothing(tmp_path: Path, refused: Run) -> None:
    refused(*replay(tmp_path / "none.pcap", tmp_path / "o.pcap")).because(
        CONFIG, "none.pcap", "cannot be read"
    )
    assert not (tmp_path / "o.pcap").exists()


@pytest.mark.parametrize("content", [b"", b"x", b"hello, world: this is no capture at all", b"\x00" * 24])
def test_replay_of_what_is_no_capture_says_so_and_writes_nothing(
    content: bytes, tmp_path: Path, refused: Run
) -> None:
    (tmp_path / "i.pcap").write_bytes(content)
    refused(*replay(tmp_path / "i.pcap", tmp_path / "o.pcap")).because(CONFIG, "i.pcap", "not a pcap")
    assert not (tmp_path / "o.pcap").exists()


@pytest.mark.parametrize("cut", [1, 59, 61, 75])
def test_replay_of_a_truncated_capture_says_so(cut: int, tmp_path: Path, refused: Run) -> None:
    whole = capture(tmp_path / "i.pcap", bytes(60), bytes(60))
    whole.write_bytes(whole.read_bytes()[:-cut])
    refused(*replay(whole, tmp_path / "o.pcap")).because(CONFIG, "i.pcap", "ends in the middle")


def test_replay_of_another_link_type_says_so(tmp_path: Path, refused: Run) -> None:
    source = capture(tmp_path / "i.pcap", bytes(60), linktype=113)
    refused(*replay(source, tmp_path / "o.pcap")).because(CONFIG, "link type 113", "Ethernet")


@pytest.mark.parametrize("name", ["i.pcap", "./i.pcap", "link.pcap", "hard.pcap"])
def test_replay_onto_its_own_input_is_refused_and_the_input_is_whole(
    name: str, tmp_path: Path, refused: Run
) -> None:
    source = capture(tmp_path / "i.pcap", bytes(60))
    before = source.read_bytes()
    (tmp_path / "link.pcap").symlink_to(source)
    (tmp_path / "hard.pcap").hardlink_to(source)
    refused(*replay(source, f"{tmp_path}/{name}")).because(CONFIG, name.removeprefix("./"))
    assert source.read_bytes() == before


@pytest.mark.parametrize("target", ["", "no/such/folder/o.pcap"])
def test_replay_to_where_nothing_can_be_written_says_so(target: str, tmp_path: Path, refused: Run) -> None:
    source = capture(tmp_path / "i.pcap", bytes(60))
    refused(*replay(source, tmp_path / target)).because(CONFIG, "cannot be written")


def test_replay_to_a_full_disk_says_so(tmp_path: Path, refused: Run) -> None:
    source = capture(tmp_path / "i.pcap", *[bytes(60)] * 10)
    refused(*replay(source, "/dev/full")).because(CONFIG, "/dev/full", "cannot be written")


def test_replay_of_a_folder_says_so(tmp_path: Path, refused: Run) -> None:
    refused(*replay(tmp_path, tmp_path / "o.pcap")).because(CONFIG, "cannot be read")


def test_replay_needs_a_mac_for_each_backend(tmp_path: Path, refused: Run) -> None:
    source = capture(tmp_path / "i.pcap", bytes(60))
    refused(*replay(source, tmp_path / "o.pcap", RS1)).because(CONFIG, RS1, "mac=")
    assert not (tmp_path / "o.pcap").exists()


@pytest.mark.parametrize(
    "wrong", [["--mac", "ff:ff:ff:ff:ff:ff"], ["--mac", "nonsense"], ["--interface", "e0"]]
)
def test_replay_with_a_wrong_option_is_refused(wrong: list[str], tmp_path: Path, refused: Run) -> None:
    source = capture(tmp_path / "i.pcap", bytes(60))
    refused(*replay(source, tmp_path / "o.pcap"), *wrong).because(USAGE, wrong[0])


def test_replay_of_what_may_not_be_read_says_so(tmp_path: Path, refused: Run) -> None:
    source = capture(tmp_path / "i.pcap", bytes(60))  # in a folder of root's own
    refused(*replay(source, "/dev/null"), uid=NOBODY).because(CONFIG, "i.pcap", "cannot be read")


def test_replay_needs_no_root(refused: Run) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        source = capture(Path(folder, "i.pcap"), bytes(60))
        source.chmod(0o644)
        found = refused(*replay(source, "/dev/null"), uid=NOBODY)
    assert (found.code, found.stderr) == (0, "") and "reason" in found.stdout, found
