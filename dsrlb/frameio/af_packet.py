"""Frames from and to one interface: AF_PACKET with a memory-mapped receive ring and batched sending.

A slot of the receive ring (TPACKET_V2, host byte order)::

    0      4   8        12  14  16       24  26   28  32          42        52  66   76
    +------+---+--------+---+---+--------+---+----+---+-----------+---------+---+----+---------
    |status|len|captured|mac|net|sec,nsec|tci|tpid|pad|sockaddr_ll|.. type..|pad|vnet|frame ...
    +------+---+--------+---+---+--------+---+----+---+-----------+---------+---+----+---------

A frame that does not fit into its slot is also queued whole on the socket; its slot says COPY, and the n-th
such slot belongs to the n-th queued frame (the kernel does both under one lock).

*Source*: linux/if_packet.h, net/packet/af_packet.c (tpacket_rcv, packet_recvmsg).
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import socket
import struct
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType

from dsrlb.errors import ConfigError, HostError
from dsrlb.frameio.filter import ETHERTYPE_VLAN, Interest, Program, coarse, wanted
from dsrlb.frameio.sendmmsg import SendBatch, Sent
from dsrlb.frameio.vnet import CHECKED_ONLY, NO_VNET, VNET_BYTES, Frame, clean, tagged

SLOT_BYTES = 2048  # 1972 for the frame: MTU 1500 with room for tags
SLOTS = 4096
BLOCK_BYTES = 1 << 16
FRAME_AT, TAG_AT = 76, 24
STATUS_USER, STATUS_COPY, STATUS_VLAN, STATUS_VLAN_TPID = 1, 2, 16, 64
KIND_MAX = 2  # PACKET_HOST 0, PACKET_BROADCAST 1, PACKET_MULTICAST 2
ARPHRD_ETHER = 1
_TAG = struct.Struct("=HH")
_CHECKED_ONLY = int.from_bytes(CHECKED_ONLY[:2], sys.byteorder)
QUEUE_BYTES = 8 << 20  # for large frames, each way
SOLICITED_NODE = bytes.fromhex("ff02 0000 0000 0000 0000 0001 ff")

SOL_PACKET = 263
PACKET_ADD_MEMBERSHIP, PACKET_DROP_MEMBERSHIP = 1, 2
PACKET_RX_RING, PACKET_STATISTICS, PACKET_COPY_THRESH = 5, 6, 7
PACKET_VERSION, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING = 10, 15, 23
PACKET_MR_MULTICAST, TPACKET_V2, ETH_P_ALL = 0, 1, 3
OPTIONS = {PACKET_VERSION: TPACKET_V2, PACKET_VNET_HDR: 1, PACKET_COPY_THRESH: 1, PACKET_IGNORE_OUTGOING: 1}
SO_ATTACH_FILTER, SO_SNDBUFFORCE, SO_RCVBUFFORCE = 26, 32, 33


class PacketSocket:
    """One interface as a source and a sink of frames; a context manager.

    ``interest`` chooses the frames that arrive, see ``filter.wanted``.  The ring takes ``slots`` x
    ``slot_bytes`` of locked kernel memory (``ring_bytes``; 8 MiB by default): slots a power of two, at
    least 32; slot_bytes a power of two from 256 to 65536.

    To wait for frames, poll ``fileno()`` for POLLIN and call ``receive`` until it returns nothing.  When
    the interface goes down, poll reports POLLERR once; ``receive`` clears it and returns nothing, and frames
    come again when the interface is up.  When it is gone, ``present()`` is False and nothing comes any more.

    Errors: ``ConfigError`` (no such interface, not Ethernet), ``HostError`` (privilege, kernel, memory).
    """

    def __init__(
        self, interface: str, interest: Interest, *, slots: int = SLOTS, slot_bytes: int = SLOT_BYTES
    ) -> None:
        """Open, filter, map and bind, in this order: no unwanted frame is ever seen."""
        self.interface = interface
        self.ring_bytes = slots * slot_bytes
        self._slots, self._slot_bytes = slots, slot_bytes
        self._head = 0
        self._dropped = self._lost = 0
        # Status, length, captured, where the frame begins, packet type, the vnet header's flags and GSO type.
        self._slot = struct.Struct(f"=IIIHxx26xB23xH{slot_bytes - FRAME_AT + VNET_BYTES - 2}x")
        self._groups: dict[bytes, socket.socket] = {}  # by the VIP that they are joined for
        self._socket = open_unbound(interface)
        try:
            self.set_interest(interest)
            self._map_ring()
            self._socket.bind((interface, ETH_P_ALL))
            self.ifindex = socket.if_nametoindex(interface)
            self.mac: bytes = self._socket.getsockname()[4]
            self._check_ethernet()
        except OSError as error:
            self.close()
            raise refusal(interface, error) from error
        except BaseException:
            self.close()
            raise
        self._batch = SendBatch(self._socket.fileno())

    def _map_ring(self) -> None:
        block_bytes = max(BLOCK_BYTES, self._slot_bytes)
        ring = struct.pack("=4I", block_bytes, self.ring_bytes // block_bytes, self._slot_bytes, self._slots)
        self._socket.setsockopt(SOL_PACKET, PACKET_RX_RING, ring)
        self._ring = mmap.mmap(self._socket.fileno(), self.ring_bytes)
        self._bytes = memoryview(self._ring)
        self._words = self._bytes.cast("I")
        self._zeros = memoryview(bytes(4 * self._slots)).cast("I")

    def _check_ethernet(self) -> None:
        if self._socket.getsockname()[3] != ARPHRD_ETHER:
            raise ConfigError(f"{self.interface} is not an Ethernet interface; name one that is.")

    def __enter__(self) -> PacketSocket:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Give everything back; may be called again."""
        # mmap holds a duplicate of the socket: while it lives, so does the tap.
        if hasattr(self, "_ring"):
            self._words.release()
            self._bytes.release()
            self._ring.close()
        for group in self._groups.values():
            group.close()
        self._socket.close()

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return self._socket.fileno()

    def present(self) -> bool:
        """Tell whether the interface still exists (it may be down)."""
        return bool(self._socket.getsockname()[0])

    def set_interest(self, interest: Interest) -> None:
        """Replace the filter, at once and without a gap.

        A kernel whose ``net.core.optmem_max`` is too small for the exact program gets the coarse one.
        """
        try:
            attach_filter(self._socket, wanted(interest))
        except OSError as error:
            if error.errno != errno.ENOMEM:
                raise
            attach_filter(self._socket, coarse(interest))

    def receive(self, limit: int = 256) -> list[Frame]:
        """Return up to ``limit`` frames as (vnet header, frame), in order; never waits, never raises.

        VLAN tags that the kernel took off are back in the frame.  Of the vnet flags only NEEDS_CSUM is
        left; a frame with nothing left to do has exactly ``NO_VNET``.  Fewer frames than ``limit`` do
        not mean that there are no more.
        """
        head, slot_bytes, ring = self._head, self._slot_bytes, self._ring
        no_vnet, frame_at, checked_only = NO_VNET, FRAME_AT, _CHECKED_ONLY
        end = min(head + limit, self._slots)
        at = head * slot_bytes + frame_at  # of the frame in its slot
        frames: list[Frame] = []
        taken = 0
        # The status is read before the frame.  x86 keeps loads in that order; elsewhere nothing but the
        # interpreter's own work between them stands for a barrier.
        for slot in self._slot.iter_unpack(self._bytes[head * slot_bytes : end * slot_bytes]):
            status, length, captured, mac, kind, left_to_do = slot
            if not status & STATUS_USER:
                break
            if captured == length and mac == frame_at and kind <= KIND_MAX and not status & STATUS_VLAN:
                if not left_to_do or left_to_do == checked_only:
                    frames.append((no_vnet, ring[at : at + length]))
                else:
                    frames.append((clean(ring[at - VNET_BYTES : at]), ring[at : at + length]))
            else:
                frames += self._unusual(at - frame_at, status, length, captured, mac, kind)
            taken += 1
            at += slot_bytes
        if taken:
            self._release(head, taken)
        else:
            self._clear_error()
        return frames

    def _unusual(self, at: int, status: int, length: int, captured: int, mac: int, kind: int) -> list[Frame]:
        """Return the frame of a slot that is not plain: large, tagged, odd in place, or not for us."""
        if captured == length:
            frame = self._ring[at + mac : at + mac + length]
            vnet = self._ring[at + mac - VNET_BYTES : at + mac]
        else:
            vnet, frame = self._queued(length) if status & STATUS_COPY else (b"", b"")
            if len(frame) != length:
                self._lost += 1
                return []
        if kind > KIND_MAX:
            return []
        if status & STATUS_VLAN:
            tci, tpid = _TAG.unpack_from(self._ring, at + TAG_AT)
            return [tagged(clean(vnet), frame, tpid if status & STATUS_VLAN_TPID else ETHERTYPE_VLAN, tci)]
        return [(clean(vnet), frame)]

    def _queued(self, length: int) -> Frame:
        """Return the next large frame queued on the socket, or an empty one.

        ``length`` is its own; a byte more tells a longer one.  A buffer for any frame would cost 18 us.
        """
        for _ in range(2):  # the first call may report that the interface went down, and take nothing
            with suppress(OSError):
                both = self._socket.recv(VNET_BYTES + length + 1, socket.MSG_DONTWAIT)
                return both[:VNET_BYTES], both[VNET_BYTES:]
        return b"", b""

    def _release(self, head: int, taken: int) -> None:
        """Give the slots back to the kernel: status 0."""
        step = self._slot_bytes // 4
        self._words[head * step : (head + taken) * step : step] = self._zeros[:taken]
        self._head = (head + taken) % self._slots

    def _clear_error(self) -> None:
        """Take a pending "interface down" off the socket, or poll would report it for ever."""
        self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def drops(self) -> int:
        """Return how many frames were lost since the start because ring or large-frame queue was full."""
        with suppress(OSError):
            counts = self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
            self._dropped += struct.unpack("=II", counts)[1]  # since the last look: reading resets it
        return self._dropped + self._lost

    def send_all(self, frames: Sequence[Frame]) -> Sent:
        """Send the frames in order and tell what became of them; waits 10 ms at most, never raises."""
        return self._batch.send_all(frames)

    def join_solicited_node(self, vip: bytes) -> None:
        """Make NIC and switches deliver neighbour solicitations for an IPv6 VIP (16 bytes).

        Joins ff02::1:ffXX:XXXX by MLD, which switches listen to, and 33:33:ff:XX:XX:XX on the NIC.  To be
        called in the network namespace the socket was opened in.  Without
        IPv6 on the host only the second is done.  Error: ``HostError`` if the NIC refuses as well.
        *Source*: RFC 4291, section 2.7.1; RFC 2464, section 7.
        """
        with suppress(OSError):
            group = self._groups[vip] = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            request = SOLICITED_NODE + vip[13:] + struct.pack("=I", self.ifindex)
            group.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
        try:
            self._socket.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, self._membership(vip))
        except OSError as error:
            raise HostError(
                f"{self.interface} takes no multicast address ({error.strerror}), so IPv6 neighbours "
                "cannot find the VIP; is the interface still there?"
            ) from error

    def leave_solicited_node(self, vip: bytes) -> None:
        """Take back what ``join_solicited_node`` did for a VIP; harmless when the interface is gone."""
        group = self._groups.pop(vip, None)
        if group is not None:
            group.close()
        with suppress(OSError):
            self._socket.setsockopt(SOL_PACKET, PACKET_DROP_MEMBERSHIP, self._membership(vip))

    def _membership(self, vip: bytes) -> bytes:
        mac = b"\x33\x33\xff" + vip[13:]
        return struct.pack("=IHH8s", self.ifindex, PACKET_MR_MULTICAST, len(mac), mac)


def attach_filter(target: socket.socket, program: Program) -> None:
    """Attach a classic BPF program to a socket, in place of the one before.  Error: ``OSError``."""
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in program))
    target.setsockopt(
        socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(program), ctypes.addressof(code))
    )


def open_unbound(interface: str) -> socket.socket:
    """Return a packet socket that hears nothing yet, with everything set that must precede ring and bind."""
    try:
        # Protocol 0: no frame arrives before filter and ring are in place.
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    except OSError as error:
        raise refusal(interface, error) from error
    try:
        for option, value in OPTIONS.items():
            opened.setsockopt(SOL_PACKET, option, value)
        for option in (SO_SNDBUFFORCE, SO_RCVBUFFORCE):
            with suppress(PermissionError):  # CAP_NET_ADMIN; without it the default size serves
                opened.setsockopt(socket.SOL_SOCKET, option, QUEUE_BYTES)
    except OSError as error:
        opened.close()
        raise refusal(interface, error) from error
    return opened


def refusal(interface: str, error: OSError) -> ConfigError | HostError:
    """Return why a packet socket on an interface was refused, as a sentence."""
    if error.errno in (errno.ENODEV, errno.ENXIO):
        return ConfigError(f"There is no interface {interface} here; `ip link` lists those there are.")
    if isinstance(error, PermissionError):
        return HostError(f"Packet sockets on {interface} need root or CAP_NET_RAW; run dsrlb with sudo.")
    if error.errno == errno.ENOMEM:
        return HostError(f"No memory for the receive ring on {interface}; free some or ask for fewer slots.")
    return HostError(f"The kernel refuses a packet socket on {interface}: {error.strerror}.")
