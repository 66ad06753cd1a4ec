"""Where BPF programs are attached: the tc ingress hook of a device, and XDP.

A tc filter holds its program until it is removed, whoever made it; an XDP link lives as long as its
file descriptor, or its pin.
"""

from __future__ import annotations

import ctypes
import errno
import os
from dataclasses import dataclass
from typing import Literal, NamedTuple

from dsrlb.host import libbpf
from dsrlb.host.bpf_maps import ask_info

_INGRESS, _EGRESS = 1, 2  # libbpf.h, enum bpf_tc_attach_point
_REPLACE = 1  # libbpf.h, BPF_TC_F_REPLACE
_ATTACH_XDP = 37  # linux/bpf.h, enum bpf_attach_type
_LINK_TYPE_XDP = 6  # linux/bpf.h, enum bpf_link_type
_GENERIC = 2  # linux/if_link.h, XDP_ATTACHED_SKB
_XDP_FLAGS = {"native": 4, "generic": 2}  # linux/if_link.h, XDP_FLAGS_DRV_MODE and _SKB_MODE


class XdpLink(NamedTuple):
    """A link that holds a program on XDP of a device; ifindex 0: the device is gone."""

    fd: int
    id: int
    program_id: int
    ifindex: int


class OnXdp(NamedTuple):
    """The program on XDP of a device, whoever put it there."""

    program_id: int
    mode: Literal["native", "generic"]


@dataclass(frozen=True)
class TcPlace:
    """A place for a filter on the ingress hook of a device."""

    ifindex: int
    priority: int
    handle: int


def make_clsact(ifindex: int) -> bool:
    """Give a device the ingress and egress hooks; say whether they were missing."""
    hook = _hook(ifindex, _INGRESS)
    what = "add qdisc clsact"
    answer = libbpf.call(what, "bpf_tc_hook_create", ctypes.byref(hook), allowed=(errno.EEXIST,))
    return answer == 0


def remove_clsact(ifindex: int) -> None:
    """Take the hooks of a device away, and every filter on them."""
    hook = _hook(ifindex, _INGRESS | _EGRESS)
    gone = (errno.ENOENT, errno.EINVAL, errno.ENODEV)
    libbpf.call("remove qdisc clsact", "bpf_tc_hook_destroy", ctypes.byref(hook), allowed=gone)


def attach_tc(place: TcPlace, program_fd: int, replace: bool = False) -> None:
    """Attach a program as a direct-action filter.  The device must have its hooks (``make_clsact``)."""
    options = _options(place)
    options.prog_fd, options.flags = program_fd, _REPLACE if replace else 0
    hook = _hook(place.ifindex, _INGRESS)
    libbpf.call("attach the tc filter", "bpf_tc_attach", ctypes.byref(hook), ctypes.byref(options))


def detach_tc(place: TcPlace) -> None:
    """Remove the filter at a place; it is no error when there is none."""
    hook, options = _hook(place.ifindex, _INGRESS), _options(place)
    gone = (errno.ENOENT, errno.EINVAL, errno.ENODEV)
    what = "remove the tc filter"
    libbpf.call(what, "bpf_tc_detach", ctypes.byref(hook), ctypes.byref(options), allowed=gone)


def attached_tc(place: TcPlace) -> int | None:
    """Return the id of the program at a place, or None."""
    hook, options = _hook(place.ifindex, _INGRESS), _options(place)
    none = (errno.ENOENT, errno.EINVAL, errno.ENODEV)
    what = "look for the tc filter"
    answer = libbpf.call(what, "bpf_tc_query", ctypes.byref(hook), ctypes.byref(options), allowed=none)
    return None if answer < 0 else int(options.prog_id)


def attach_xdp(ifindex: int, program_fd: int, mode: Literal["native", "generic"]) -> int:
    """Attach a program to XDP by a link; return the link's file descriptor."""
    options = libbpf.LinkOptions(size=ctypes.sizeof(libbpf.LinkOptions), flags=_XDP_FLAGS[mode])
    call = ("bpf_link_create", program_fd, ifindex, _ATTACH_XDP, ctypes.byref(options))
    return libbpf.call(f"attach the program to XDP ({mode})", *call)


def xdp_link(link_fd: int) -> XdpLink:
    """Return what the kernel says of a link."""
    info = libbpf.LinkInfo()
    ask_info(link_fd, info)
    return XdpLink(link_fd, info.id, info.prog_id, info.ifindex)


def on_xdp(ifindex: int) -> OnXdp | None:
    """Return the program on XDP of a device; None: there is none."""
    query = libbpf.XdpQuery(size=ctypes.sizeof(libbpf.XdpQuery))
    libbpf.call("look for a program on XDP", "bpf_xdp_query", ifindex, 0, ctypes.byref(query))
    if not query.attach_mode:
        return None
    generic = query.generic_id or (query.prog_id if query.attach_mode == _GENERIC else 0)
    if generic:
        return OnXdp(generic, "generic")
    return OnXdp(query.native_id or query.offloaded_id or query.prog_id, "native")


def replace_in_link(link_fd: int, program_fd: int) -> None:
    """Put another program in the place of the one a link holds, without a moment between."""
    libbpf.call("replace the program of the link", "bpf_link_update", link_fd, program_fd, None)


def end_link(link_fd: int) -> None:
    """Take the program of a link off, though the link be pinned; harmless when its device is gone."""
    libbpf.call("take the program off XDP", "bpf_link_detach", link_fd)


def link_holding(on: OnXdp, ifindex: int) -> int | None:
    """Return the kernel's number of the link that holds a program on XDP of a device; None: no link does.

    Raises HostError without CAP_SYS_ADMIN.
    """
    number = ctypes.c_uint32()
    following = ("bpf_link_get_next_id", number, ctypes.byref(number))
    while libbpf.call("list BPF links", *following, allowed=(errno.ENOENT,)) >= 0:
        opening = ("bpf_link_get_fd_by_id", number)
        fd = libbpf.call(f"open BPF link {number.value}", *opening, allowed=(errno.ENOENT,))
        if fd >= 0 and _holds(fd, on, ifindex):
            return number.value
    return None


def _holds(link_fd: int, on: OnXdp, ifindex: int) -> bool:
    """Return whether a link, of any type, holds that program there; close it."""
    info = libbpf.LinkInfo()
    try:
        ask_info(link_fd, info)
    finally:
        os.close(link_fd)
    return (info.type, info.prog_id, info.ifindex) == (_LINK_TYPE_XDP, on.program_id, ifindex)


def detach_xdp(link_fd: int) -> None:
    """Let go of a link; one that is not pinned ends with it."""
    os.close(link_fd)


def _hook(ifindex: int, point: int) -> libbpf.TcHook:
    return libbpf.TcHook(size=ctypes.sizeof(libbpf.TcHook), ifindex=ifindex, attach_point=point)


def _options(place: TcPlace) -> libbpf.TcOptions:
    size = ctypes.sizeof(libbpf.TcOptions)
    return libbpf.TcOptions(size=size, handle=place.handle, priority=place.priority)
