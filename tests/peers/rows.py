"""What is compared: a service for each mode and scheduler, three servers, and where they are.

::

    namespace of the wire                              the virtual machine
    w0: client, router, servers in one  ────────────── e0 198.18.1.10: IPVS, or dsrlb
        router   198.18.1.1        02:00:c6:12:01:01
        servers  198.18.1.11-13    02:00:c6:12:01:11-13    (DR, NAT)
        servers  198.18.2[1-3].2   behind the router       (TUN)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

VIP, LB, ROUTER = "198.18.1.100", "198.18.1.10", "198.18.1.1"
LB_MAC, ROUTER_MAC = "02:00:c6:12:01:10", "02:00:c6:12:01:01"
NEAR = {f"198.18.1.{n}": f"02:00:c6:12:01:{n}" for n in (11, 12, 13)}
FAR = tuple(f"198.18.2{n}.2" for n in (1, 2, 3))
PORT, SERVER_PORT = 8000, 80  # of the first service; of servers behind NAT
FLAGS = {"DR": "-g", "TUN": "-i", "NAT": "-m"}
MODES = {"DR": "l2dsr", "TUN": "l3dsr", "NAT": "inline"}
SCHEDULERS = ("rr", "wrr", "lc", "sh", "mh")
WEIGHTED = ("wrr", "mh")


@dataclass(frozen=True)
class Row:
    """A mode and a scheduler of IPVS, and the port of the service that has them."""

    mode: str
    scheduler: str
    port: int

    @property
    def servers(self) -> tuple[str, ...]:
        """Where its servers are."""
        return FAR if self.mode == "TUN" else tuple(NEAR)

    @property
    def weights(self) -> tuple[int, ...]:
        """How its servers are weighted."""
        return (1, 2, 3) if self.scheduler in WEIGHTED else (1, 1, 1)

    def rules(self) -> Iterator[str]:
        """Yield its lines for ``ipvsadm -R``."""
        where = f"-t {VIP}:{self.port}"
        yield f"-A {where} -s {self.scheduler}" + (" -b mh-port" if self.scheduler == "mh" else "")
        port = SERVER_PORT if self.mode == "NAT" else self.port
        for address, weight in zip(self.servers, self.weights, strict=True):
            yield f"-a {where} -r {address}:{port} {FLAGS[self.mode]} -w {weight}"


ALL = tuple(
    Row(mode, scheduler, PORT + number)
    for number, (mode, scheduler) in enumerate((m, s) for m in MODES for s in SCHEDULERS)
)
