"""The structs of ``bpf/xdp/layout.h`` as NumPy types: same names, same offsets, same sizes.

What stands in packets stays bytes in network order (``S``-less ``u1`` arrays, ``>u2``, ``>u4``); all else is
in the machine's own order, as the program reads it.  A test compares every member with the type
information of the compiled object.
"""

from __future__ import annotations

from enum import IntFlag
from types import MappingProxyType

import numpy as np

from dsrlb.sampling import BUCKETS
from dsrlb.schedulers.base import Cursor

LAYOUT = 2
CACHE_LINE = 64

FRONT_WAYS, VIP_WAYS = 2, 4
INTERFACES = 1024
SLOTS_A_LINE = 32
FLOWS_A_BUCKET = 8
FLOW_LOCKS = 1024
NO_HOP = 0xFF
TEMPLATES_REFUSED = 61
RECORDS_REFUSED = 62  # place in the map `reasons`, behind those of model.Reason

MODES = ("l2dsr", "l3dsr", "inline")  # enum mode, by place
ENCAPS = ("ipip", "gue", "gue1")  # enum encap
CURSORS = MappingProxyType(
    {Cursor.FLOW_HASH: 0, Cursor.CLIENT_HASH: 1, Cursor.COUNTER: 2, Cursor.LEAST: 3}
)  # enum cursor
RUNS = (Cursor.LEAST,)  # cursors that go through a list of targets

# Maps that outlive the process, pinned under their names.  What is in others is of no use a second later.
KEPT = (
    *("setup", "front", "vips", "services", "current", "slots", "targets", "loads", "races", "sources"),
    *("interfaces", "counts", "reasons", "flows", "flow_marks", "flow_locks", "templates", "fragments"),
    *("members", "servers", "answering", "replies", "stand_ins", "rings", "arcs", "reply_fragments"),
    *("own_addresses", "cells", "handshakes"),
)
PASSING = (
    *("steps", "jobs", "seens", "courses", "namings", "retellings"),
    *("sweeps", "credits", "allowances", "budget", "told_networks"),
)

# enum step: the programs that are reached by tail calls, by place in the map `steps`.
STEPS = (
    *("classify", "own", "forward", "begin", "piece", "message", "reply", "tell"),
    *("l2dsr", "l3dsr", "inline", "about_request", "about_reply"),
)


class ServiceFlag(IntFlag):
    """Flags of a service."""

    RECORDS_ALL = 0x01
    LOOKS_UP = 0x02
    HAS_FORMER = 0x04
    PERSISTS = 0x08
    CLAMPS_MSS = 0x10
    SNAT = 0x20
    GROWS = 0x40
    HASHES_CLIENT = 0x80
    FORMER_HASHES_CLIENT = 0x100
    REFUSES = 0x200
    SAMPLES = 0x400


class TargetFlag(IntFlag):
    """Flags of a target."""

    WEIGHTED = 0x01
    MEMBER = 0x02
    IS_V4 = 0x04
    HAS_SOURCE = 0x08
    UP = 0x10


class FlowBit(IntFlag):
    """Bits of a flow."""

    HAS_NAME = 0x01
    HAS_PORT = 0x02


_ADDRESS = ("u1", 16)
_MAC = ("u1", 6)

SERVICE_KEY = np.dtype(
    [("vip", *_ADDRESS), ("port", ">u2"), ("protocol", "u1"), ("zero", "u1"), ("pad", "u4")]
)
FLOW_KEY = np.dtype(
    [
        ("src", *_ADDRESS),
        ("dst", *_ADDRESS),
        ("sport", ">u2"),
        ("dport", ">u2"),
        ("protocol", "u1"),
        ("zero", "u1", 3),
    ]
)
FRONT_ENTRY = np.dtype(
    [
        ("vip", *_ADDRESS),
        ("port", ">u2"),
        ("protocol", "u1"),
        ("zero", "u1"),
        ("service", "u4"),
        ("pad", "u8"),
    ]
)
FRONT_BUCKET = np.dtype([("entry", FRONT_ENTRY, FRONT_WAYS)])
VIP_BUCKET = np.dtype([("vip", "u1", (VIP_WAYS, 16))])
INTERFACE = np.dtype(
    [
        ("ifindex", "u4"),
        ("mac", *_MAC),
        ("mtu_bytes", "u2"),
        ("pad0", "u4"),
        ("vip_filter", "u8", 2),
        ("server_filter", "u8", 2),
        ("pad", "u8", 2),
    ],
    align=True,
)
SERVICE = np.dtype(
    [
        ("slots", "u4"),
        ("slot_count", "u4"),
        ("flags", "u2"),
        ("id", "u2"),
        ("mode", "u1"),
        ("cursor", "u1"),
        ("encap", "u1"),
        ("pad0", "u1"),
        ("timeout_s", "u4", 5),
        ("former", "u4"),
        ("former_count", "u4"),
        ("prefix4", "u1"),
        ("prefix6", "u1"),
        ("former_prefix4", "u1"),
        ("former_prefix6", "u1"),
        ("persist_s", "u4"),
        ("encap_port", ">u2"),
        ("pad1", "u2"),
        ("running", "u4"),
        ("running_count", "u4"),
        ("key", SERVICE_KEY),
        ("source", *_ADDRESS),
        ("share_total", "u4"),
        ("former_until_s", "u4"),
        ("pad2", "u4", 4),
    ],
)
SLOT_LINE = np.dtype([("target", "u2", SLOTS_A_LINE)])
HOP = np.dtype([("ifindex", "u4"), ("dst_mac", *_MAC), ("src_mac", *_MAC)])
TARGET = np.dtype(
    [
        ("hop", HOP, 2),
        ("address", *_ADDRESS),
        ("source4", "u1", 4),
        ("mtu_bytes", "u2"),
        ("outer_sum", "u2"),
        ("service", "u2"),
        ("port", ">u2"),
        ("hop_in_use", "u1"),
        ("flags", "u1"),
        ("source6", "u2"),
    ]
)
LOAD = np.dtype([("active", "i8"), ("inactive", "i8"), ("due", "u8"), ("share", "u4"), ("newcomer", "u4")])
COUNT = np.dtype([("packets", "u8"), ("octets", "u8"), ("flows", "u8"), ("pad", "u8")])
RACE = np.dtype([("lock", "u4"), ("first", "u4"), ("turn", "u8"), ("now", "u8"), ("pad", "u8")])
FLOW = np.dtype(
    [
        ("key", FLOW_KEY),
        ("until_s", "u4"),
        ("target", "u2"),
        ("edition", "u2"),
        ("state", "u1"),
        ("bits", "u1"),
        ("nat_port", ">u2"),
        ("service", "u2"),
        ("stand_in", "u2"),
        ("back", "u8"),
    ]
)
FLOW_MARKS = np.dtype([("of", "u1", FLOWS_A_BUCKET)])
FLOW_BUCKET = np.dtype([("flow", FLOW, FLOWS_A_BUCKET)])
CELL = np.dtype([("tag", "u8"), ("began_us", "u8"), ("target", "u4"), ("again", "u4"), ("pad", "u8")])
HANDSHAKES = np.dtype(
    [
        *((name, "u8") for name in ("opened", "answered", "again", "reset", "silent")),
        ("pad", "u8", 3),
        ("times", "u8", BUCKETS),
    ]
)
TEMPLATE_KEY = np.dtype([("service", "u1", 20), ("network", *_ADDRESS)])
TEMPLATE = np.dtype([("target", "u4"), ("until_s", "u4")])
MEMBER_KEY = np.dtype([("service", "u4"), ("port", ">u2"), ("zero", "u2"), ("address", *_ADDRESS)])
FRAGMENT_KEY = np.dtype([("src", *_ADDRESS), ("dst", *_ADDRESS), ("rest", "u1", 5), ("zero", "u1", 3)])
FRAGMENT_OWNER = np.dtype([("until_s", "u4"), ("service", "u2"), ("target", "u2")])
ALLOWANCE = np.dtype([("second_s", "u4"), ("begun", "u4")])
SETUP = np.dtype(
    [("layout", "u4"), ("inserts_a_second", "u4"), ("has_servers", "u4"), ("now_s", "u4"), ("now_us", "u8")]
)
REASONS = np.dtype([("of", "u8", 64)])
