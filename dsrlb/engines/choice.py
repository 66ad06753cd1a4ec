"""What a person may choose about engines: which one, and how it runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ENGINES = ("packet", "xdp", "auto")
XDP_MODES = ("auto", "native", "generic")
ON_EXIT = ("detach", "keep")
MIN_FLOWS, MAX_FLOWS = 1_000, 100_000_000
MAX_NEW_FLOWS = 100_000_000
BPF_FS = "/sys/fs/bpf"
STATE_DIR = "/var/lib/dsrlb"


@dataclass(frozen=True)
class EngineChoice:
    """An engine and its settings; one that is not the chosen engine's is not heeded."""

    engine: Literal["packet", "xdp", "auto"] = "packet"  # auto: xdp where the host can
    max_flows: int | None = None  # None: each engine's own
    max_new_flows: int | None = None  # xdp: records that a CPU may begin in a second; None: no limit
    xdp_mode: Literal["auto", "native", "generic"] = "auto"  # auto: native where the driver has it
    instance: str = "default"  # xdp: under which name it is kept in the BPF file system
    on_exit: Literal["detach", "keep"] | None = None  # xdp; None: keep for a file under a service manager
    bpf_fs: str = BPF_FS
    state_dir: str = STATE_DIR  # where is kept, by instance, what is to hold over restarts
    haproxy_at: Path = Path("/run/dsrlb/default-haproxy")  # mode proxy: where the files of HAProxy are
    left_at: Path | None = None  # packet: where records of flows are left for the next start; None: nowhere
