"""Frames from and to capture files: pcap (either byte order, micro- or nanoseconds), and pcapng to read.

Scapy reads a damaged file to the damage and then just stops; here the frames before the damage come
first, and then an error says what is wrong.

*Source*: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

import logging
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import IO, Any, cast

from dsrlb.errors import ConfigError

LINKTYPE_ETHERNET = 1
LINKTYPE_MASK = 0xFFFF  # above: the length of the frame check sequence
STANDARD = "-"  # as a path: standard input, standard output; Path("-") and "./-" are a file
_STANDARD_FD = {"rb": 0, "wb": 1}
SNAPLEN_BYTES = 262144  # libpcap's MAXIMUM_SNAPLEN


def read_pcap(path: str | Path) -> Iterator[tuple[float, bytes]]:
    """Yield (timestamp in s, Ethernet frame) for each frame of a capture file, from the first to the last.

    The path ``"-"`` is standard input.  A frame that was cut short when it was captured comes as short as
    it is.  pcapng without a timestamp (simple packet block) gives 0.0.  A file compressed by gzip is read as
    well.

    Errors, each after the frames before it: ``ConfigError`` if the file is missing, no capture, not Ethernet,
    or ends in the middle of a frame.
    """
    name = "standard input" if path == STANDARD else path
    with opened(path, "rb") as raw, _seekable(raw) as stream, _reader(stream, name) as reader:
        whole_until = reader.f.tell()
        for number, (frame, about) in enumerate(_records(reader), 1):
            linktype = getattr(about, "linktype", None)
            _check_linktype(name, number, reader.linktype if linktype is None else linktype)
            if len(frame) < getattr(about, "caplen", 0):
                break
            whole_until = reader.f.tell()
            yield _seconds(reader, about), frame
        is_pcapng = not hasattr(reader, "linktype")
        if not (_whole_blocks(reader) if is_pcapng else reader.f.tell() == whole_until):
            raise ConfigError(f"{name} ends in the middle of a frame or is damaged; capture it again.")


def write_pcap(path: str | Path, frames: Iterable[tuple[float, bytes]]) -> int:
    """Write (timestamp in s, Ethernet frame) pairs to a pcap file, microseconds; return how many.

    The path ``"-"`` is standard output.  The file is a valid capture even without a frame.  Error:
    ``ConfigError`` if it cannot be written; what ``frames`` raises passes through, and the frames before it
    are in the file.
    """
    from scapy.utils import RawPcapWriter  # late: scapy takes 0.1 s to import, and most commands do without

    count = 0
    with written("standard output" if path == STANDARD else path), opened(path, "wb") as stream:
        writer = RawPcapWriter(stream, linktype=LINKTYPE_ETHERNET, snaplen=SNAPLEN_BYTES, endianness="<")
        writer.write_header(None)
        for timestamp_s, frame in frames:
            seconds, microseconds = divmod(round(timestamp_s * 1_000_000), 1_000_000)
            writer.write_packet(frame, sec=seconds, usec=microseconds)
            count += 1
    return count


@contextmanager
def written(path: str | Path) -> Iterator[None]:
    """Tell what writing meets (a full disk: often not before the file is closed) as a sentence."""
    try:
        yield
    except OSError as error:
        reason = f"{path} cannot be written: {error.strerror}; check the path and the disk."
        raise ConfigError(reason) from error


def status(path: str | Path, mode: str) -> os.stat_result:
    """Return what file a path leads to.  Error: ``OSError``."""
    return os.fstat(_STANDARD_FD[mode]) if path == STANDARD else Path(path).stat()


def opened(path: str | Path, mode: str) -> IO[bytes]:
    """Return an open file, or standard input or output.  ConfigError: it cannot be opened."""
    try:
        if path == STANDARD:  # a duplicate: closing it tells of a failed write, and closes nobody else's
            return cast("IO[bytes]", os.fdopen(os.dup(_STANDARD_FD[mode]), mode))
        return cast("IO[bytes]", Path(path).open(mode))
    except OSError as error:
        doing = "read" if mode == "rb" else "written"
        raise ConfigError(f"{path} cannot be {doing}: {error.strerror}; check the path.") from error


def _seekable(stream: IO[bytes]) -> IO[bytes]:
    """Return the stream, or what comes out of it when it is a pipe: telling damage takes going back."""
    return stream if stream.seekable() else BytesIO(stream.read())


@contextmanager
def _reader(stream: Any, path: str | Path) -> Iterator[Any]:
    """Scapy's reader for the file; it picks the format by the first bytes."""
    from scapy.error import Scapy_Exception  # late, like RawPcapWriter
    from scapy.utils import RawPcapReader

    log = logging.getLogger("scapy.runtime")
    level = log.level
    log.setLevel(logging.ERROR)  # our own sentence tells of damage
    try:
        try:
            reader = RawPcapReader(stream)
        except (Scapy_Exception, EOFError) as error:
            reason = f"{path} is not a pcap or pcapng capture; write one with `tcpdump -w`."
            raise ConfigError(reason) from error
        yield reader
    finally:
        log.setLevel(level)


def _records(reader: Any) -> Iterator[tuple[bytes, Any]]:
    """Frame and metadata, one after the other."""
    from scapy.error import Scapy_Exception

    with suppress(EOFError, Scapy_Exception):
        while True:
            # Scapy's own iteration, which this is, cuts at 65535 bytes: too short for a GSO frame.
            yield reader._read_packet(size=SNAPLEN_BYTES)


def _check_linktype(path: str | Path, number: int, linktype: int) -> None:
    if linktype & LINKTYPE_MASK != LINKTYPE_ETHERNET:
        raise ConfigError(
            f"{path}: frame {number} has link type {linktype}, not Ethernet (1); "
            "capture on an Ethernet interface, not on `any`."
        )


def _whole_blocks(reader: Any) -> bool:
    """Tell whether a pcapng file is a row of whole blocks: type (4), length (4), ... up to ``length``."""
    reader.f.seek(0)
    while head := reader.f.read(8):
        length = struct.unpack(reader.endian + "I", head[4:])[0] if len(head) == 8 else 0
        if length < 12 or len(reader.f.read(length - 8)) != length - 8:
            return False
    return True


def _seconds(reader: Any, about: Any) -> float:
    if hasattr(about, "tshigh"):
        ticks = ((about.tshigh or 0) << 32) + (about.tslow or 0)
        return float(ticks / about.tsresol)
    return float(about.sec + about.usec / (1e9 if reader.nano else 1e6))
