"""What happens to servers and balancers while connections are held.

Every event is one function; when it returns, what it stands for is over.  ``own``: the server whose
connections may break, as it has died; nobody else's may, but where a process that is killed hands nothing on.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from dsrlb.bench.churn.stand import Stand
from dsrlb.lab.ecmp import lead_to

DRAINED, KILLED, HEAVY = "rs2", "rs3", "rs1"


@dataclass(frozen=True)
class Event:
    """Something that happens, and whose connections may break of it."""

    does: Callable[[Stand], None]
    says: str
    own: str = ""  # the server whose connections may break
    promised: Callable[[Stand], bool] = lambda _: True  # whether no other connection may break
    balancers: int = 1  # how many there are


def _add(stand: Stand) -> None:
    stand.is_changed = True
    stand.weights[stand.lab.server_names[-1]] = 1
    _reload(stand)


def _reload(stand: Stand) -> None:
    stand.write()
    stand.steer("reload")


def _weight(stand: Stand) -> None:
    stand.is_changed = True
    stand.steer("weight", str(stand.address(HEAVY)), "5")


def _drain(stand: Stand) -> None:
    stand.is_changed = True
    stand.steer("drain", str(stand.address(DRAINED)))


def _undrain(stand: Stand) -> None:
    stand.steer("undrain", str(stand.address(DRAINED)))


def _kill(stand: Stand) -> None:
    stand.is_changed = True
    before = stand.logged()
    stand.kill(KILLED)
    stand.wait_for("is down", before)


def _return(stand: Stand) -> None:
    before = stand.logged()
    stand.revive(KILLED)
    stand.wait_for("is up again", before)


def _restart(stand: Stand) -> None:
    stand.stop()
    stand.start(on_exit="detach")  # so that what follows finds no program at work


def _upgrade(stand: Stand) -> None:
    program = stand.other_program()
    stand.stop()
    stand.start(program=program)


def _crash(stand: Stand) -> None:
    stand.stop(signal.SIGKILL)
    stand.start()


def _lose(stand: Stand) -> None:
    lost, *others = stand.lab.balancer_names
    stand.stop(signal.SIGKILL, lost)
    lead_to(stand.lab, others)


def _regain(stand: Stand) -> None:
    lost, *others = stand.lab.balancer_names
    stand.start(lost)
    lead_to(stand.lab, (lost, *others))


def _goes_by_hash(stand: Stand) -> bool:
    """Return whether a balancer that knows nothing finds the same servers."""
    return stand.case.scheduler in ("maglev", "hash") and not stand.is_changed


EVENTS: Mapping[str, Event] = MappingProxyType(
    {
        "crash": Event(
            _crash,
            "SIGKILL, then dsrlb serve again",
            promised=lambda stand: stand.case.engine == "xdp" or _goes_by_hash(stand),
        ),
        "add": Event(_add, "a fourth server is written into the file, which is read again"),
        "weight": Event(_weight, "dsrlb weight: a server gets five times the weight"),
        "drain": Event(_drain, "dsrlb drain: a server gets no new flows"),
        "undrain": Event(_undrain, "dsrlb undrain: it takes new flows again"),
        "reload": Event(_reload, "the file is read again, unchanged"),
        "kill": Event(_kill, "the process of a server is killed, its check fails", own=KILLED),
        "return": Event(_return, "that server is started again, its check passes"),
        "restart": Event(_restart, "SIGTERM, then dsrlb serve again; the program of xdp stays at work"),
        "upgrade": Event(_upgrade, "SIGTERM, then another installation; the program of xdp is taken away"),
        "lose": Event(
            _lose,
            "one of two balancers is lost: SIGKILL, its route is withdrawn",
            promised=_goes_by_hash,
            balancers=2,
        ),
        "regain": Event(
            _regain,
            "it is started again, knowing nothing, and has its route again",
            promised=_goes_by_hash,
            balancers=2,
        ),
    }
)
