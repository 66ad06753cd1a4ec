"""The keys of a configuration file, as data: the parser follows it, the reference is tested against it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dsrlb import modes, schedulers
from dsrlb.config.check_schema import CHECK
from dsrlb.config.keys import FLAG, PORT, Key, Kind, Table, WrongType, number, one_of, text
from dsrlb.config.limits_schema import LIMITS
from dsrlb.config.proxy_schema import PROXY, ROUTE, several
from dsrlb.config.redirects import NO_SERVER
from dsrlb.config.words import (
    DEFAULT_SCHEDULER,
    MAX_SLOW_START_S,
    MAX_TIMEOUT_S,
    MAX_WEIGHT,
    parse_address,
    parse_folder,
    parse_instance,
    parse_interface,
    parse_mac,
    parse_metrics,
    parse_name,
    parse_persist,
    parse_vip,
)
from dsrlb.engines.choice import (
    ENGINES,
    MAX_FLOWS,
    MAX_NEW_FLOWS,
    MIN_FLOWS,
    ON_EXIT,
    XDP_MODES,
    EngineChoice,
)
from dsrlb.model import ModeOptions, Timeouts
from dsrlb.proxying import DEFAULT_GROUP


def _interfaces(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise WrongType
    return tuple(dict.fromkeys(map(parse_interface, value)))


def _persist(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise WrongType
    return parse_persist(str(value))


def _metrics(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise WrongType
    return parse_metrics(str(value))


NAME = text("a text", "web", parse_name)
_WITHOUT_OPTIONS, _TIMES, _DEFAULT_CHOICE = ModeOptions(), Timeouts(), EngineChoice()


def _timeout(name: str, text: str) -> Key:
    return Key(name, number(1, MAX_TIMEOUT_S, 300), text, str(getattr(_TIMES, f"{name}_s")))


TIMEOUTS = Table(
    "[service.timeouts]",
    (
        _timeout("udp", "Seconds of silence after which a UDP flow is forgotten."),
        _timeout("syn", "The same for a TCP connection of which only the SYN was seen."),
        _timeout("established", "The same for an established TCP connection."),
        _timeout("fin", "The same for one that the client has closed."),
        _timeout("closed", "The same for one that was reset."),
    ),
)

BACKEND = Table(
    "[[service.backend]]",
    (
        Key("name", NAME, "What you call the server."),
        Key(
            "address",
            text("a text", "198.18.1.11", lambda text: parse_address(text, "backend")),
            "The server's own address.",
            is_needed=True,
        ),
        Key("port", PORT, "Where it listens, in modes that translate ports.", "the service's"),
        Key(
            "weight",
            number(0, MAX_WEIGHT, 2),
            "Its share of the load; 0 gives it no new flows and lets it keep those that it has.",
            "1",
        ),
        Key(
            "mac",
            text("a text", "02:00:c6:12:01:11", lambda text: parse_mac(text, "backend")),
            "Its MAC address, where nothing answers ARP or neighbour discovery.",
            "asked for",
        ),
        Key(
            "check",
            replace(CHECK, head="[service.backend.check]"),
            "How this server is checked; keys as of `[service.check]`.",
            "as its service says",
        ),
        Key(
            "group",
            several("a text", '"api"', parse_name),
            "`proxy`: the groups that it is in, to which a `[[service.route]]` leads.",
            DEFAULT_GROUP,
        ),
        Key(
            "max_connections",
            number(1, 1_000_000, 200),
            "`proxy`: how many connections it is given at once; what comes beyond waits for one to end.",
            "no limit",
        ),
    ),
    is_array=True,
)


SERVICE = Table(
    "[[service]]",
    (
        Key("name", NAME, "What you call the service."),
        Key(
            "vip",
            text("a text", "198.18.1.100:80/tcp", parse_vip),
            "Virtual address, port and protocol; `[2001:db8::10]:53/udp` for IPv6; port `*` for every port "
            "that no other service has.",
            is_needed=True,
        ),
        Key("mode", one_of(mode.name for mode in modes.MODES), "How packets are forwarded.", is_needed=True),
        Key(
            "scheduler",
            one_of(scheduler.name for scheduler in schedulers.SCHEDULERS),
            "How the server of a new flow is picked.",
            DEFAULT_SCHEDULER,
        ),
        Key(
            "persist",
            Kind('seconds, or "seconds/prefix"', '"300/24"', _persist),
            "The same client (with a prefix: client network) gets the same server until it was away for "
            "so long.",
            "off",
        ),
        Key(
            "encap",
            one_of(("ipip", "gue", "gue1")),
            "`l3dsr`: how packets are wrapped; `gue` is variant 0 of GUE, `gue1` variant 1.",
            _WITHOUT_OPTIONS.encap,
        ),
        Key(
            "encap_port",
            PORT,
            "`l3dsr` with GUE: the servers' UDP port.",
            str(_WITHOUT_OPTIONS.encap_port),
        ),
        Key(
            "source",
            text("a text", "198.18.1.10", lambda text: parse_address(text, "source")),
            "`l3dsr`: source of the outer header. `inline` with `snat`: the source that servers see.",
            "this host's, on the way to the server",
        ),
        Key("clamp_mss", FLAG, "`l3dsr`: lower a client's TCP MSS to what fits.", "false"),
        Key("snat", FLAG, "`inline`: replace the client's address too.", "false"),
        Key(
            "on_all_down",
            one_of(("keep", "reject", "drop")),
            "When no server can take new flows: `keep` sends to those whose checks fail, `reject` refuses "
            "clients (reset, port unreachable), `drop` does not answer.",
            "keep",
        ),
        Key(
            "slow_start",
            number(1, MAX_SLOW_START_S, 30),
            "Seconds in which the share of a server grows that joins, or takes new flows again.",
            "off",
        ),
        Key(
            "passive",
            FLAG,
            "TCP: whether a server is left whose clients' handshakes fail, unlike those of the others "
            "([passive health](health.md#passive-health)).",
            "where there is a check",
        ),
        Key("check", CHECK, "How the servers are checked ([health.md](health.md)).", "all are taken for up"),
        Key(
            "proxy",
            PROXY,
            "`proxy`: how connections are ended and begun anew ([proxy](modes/proxy.md)).",
        ),
        Key(
            "route",
            ROUTE,
            "`proxy` with `layer = 7`: which requests go to which group of servers, the first that fits.",
            "all go to the group `default`",
        ),
        Key(
            "limits",
            LIMITS,
            "`proxy`: what a client may take of it ([limits](modes/proxy.md#limits)).",
        ),
        Key("timeouts", TIMEOUTS, "When a silent flow is forgotten."),
        Key("backend", BACKEND, "The servers.", is_needed=True, unless=NO_SERVER),
    ),
    is_array=True,
)

TOP = Table(
    "the head of the file",
    (
        Key(
            "interfaces",
            Kind("a list of interface names", '["eth0"]', _interfaces),
            "Where the VIPs' frames come in.",
            "the one of the default route",
        ),
        Key(
            "engine",
            one_of(ENGINES),
            "Who forwards: `packet`, a process; `xdp`, a program in the kernel ([xdp.md](xdp.md)); `auto`, "
            "`xdp` where this host can.",
            _DEFAULT_CHOICE.engine,
        ),
        Key(
            "max_flows",
            number(MIN_FLOWS, MAX_FLOWS, 1_000_000),
            "How many flows can be on record.",
            "262144; `xdp`: 1000000",
        ),
        Key(
            "max_new_flows",
            number(1, MAX_NEW_FLOWS, 20_000),
            "`xdp`: how many records each CPU may begin in a second; more flows go by hash, without one.",
            "no limit",
        ),
        Key(
            "xdp_mode",
            one_of(XDP_MODES),
            "`xdp`: `native`, in the driver; `generic`, behind it; `auto`, `native` where the driver has it.",
            _DEFAULT_CHOICE.xdp_mode,
        ),
        Key(
            "instance",
            text("a text", "web", parse_instance),
            "The name of this dsrlb: of its [admin socket](admin.md); "
            "`xdp`: under which programs and maps are kept in the BPF file system.",
            _DEFAULT_CHOICE.instance,
        ),
        Key(
            "on_exit",
            one_of(ON_EXIT),
            "`xdp`, mode `proxy`: whether a process that stops takes the program (HAProxy) away, or leaves "
            "it at work.",
            "detach; keep under systemd",
        ),
        Key(
            "state_dir",
            text("a text", _DEFAULT_CHOICE.state_dir, parse_folder),
            "What is to hold over restarts: [durable changes](admin.md), [counters](metrics.md), "
            "[configurations](plan.md).",
            _DEFAULT_CHOICE.state_dir,
        ),
        Key(
            "metrics",
            Kind('a port, or "address:port"', "9311", _metrics),
            "Where [metrics](metrics.md) are told over HTTP; a port alone: to this host only.",
            "nowhere",
        ),
        Key("service", SERVICE, "The services.", is_needed=True),
    ),
)
TABLES = (TOP, SERVICE, BACKEND, CHECK, PROXY, ROUTE, LIMITS, TIMEOUTS)
