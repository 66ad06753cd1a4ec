"""Does the program that tells its decisions decide the same, and tell what it did?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
from parity.ground import SIZES, interfaces
from parity.hunting import SEED, few_slots, hunt
from parity.twins import Differ, Twins

from dsrlb.engines.tracing import FRAME_BYTES, Wanted
from dsrlb.engines.whose import service_of, whose
from dsrlb.engines.xdp import traced
from dsrlb.engines.xdp.program import loaded
from dsrlb.engines.xdp.tracing import asked
from dsrlb.host.bpf_rings import Ring
from dsrlb.model import Action, Reason
from dsrlb.state import Verdict
from dsrlb.wire.glance import glance

REACHED = {"forwarded", "reply_forwarded", "icmp_steered", "no_service", "echo_reply"}
FEWER = 4  # frames than of the files that are about the decisions
_OWN_REASON = (Reason.TUNNEL_ERROR, Reason.TUNNEL_ERROR_TOLD, Reason.NO_DECAPSULATION, Reason.BAD_CHECKSUM)


class ToldTwins(Twins):
    """The same, of which one tells what it does: after each frame it is read, and compared."""

    ring: Ring

    def __init__(self, *given: object) -> None:
        super().__init__(*given)  # type: ignore[arg-type]
        self.told = Counter[str]()

    def step(self, frame: bytes, ifindex: int) -> Verdict:
        verdict = super().step(frame, ifindex)
        for raw in self.ring.read(2):
            self._compare(raw, frame, ifindex, verdict)
        return verdict

    def _compare(self, raw: bytes, frame: bytes, ifindex: int, verdict: Verdict) -> None:
        one = traced.decoded(raw, self._tables)
        assert one is not None
        self.told[one.reason.word] += 1
        if (one.frame, one.frame_bytes, one.ifindex) != (frame[:FRAME_BYTES], len(frame), ifindex):
            raise Differ(f"it tells of another frame: {one}")
        action, reason, out_ifindex, out = verdict
        if one.reason is Reason.HANDED_OVER or (reason in _OWN_REASON and one.reason is Reason.NOT_VIP):
            return
        if (one.action, one.reason) != (action, reason):
            raise Differ(f"decided {action.name} {reason.word}, told {one.action} {one.reason.word}")
        sent = [(it.ifindex, it.frame, it.frame_bytes) for it in one.sent]
        if sent != ([(out_ifindex, out[:FRAME_BYTES], len(out))] if action >= Action.TX else []):
            raise Differ(f"decided to send {out.hex()} by {out_ifindex}, told {sent}")
        seen = glance(frame)
        service = one.service or service_of(seen, self.table)
        expected = whose(frame, seen, verdict, self.table, self.state, self.now_s)
        is_known = expected[1] is not None and one.backend is not None
        # A service that is gone may still be told of: its record lives on in another one.
        if is_known and service in self.table.services and (service, one.backend) != expected:
            raise Differ(f"of {expected}, told as of {(service, one.backend)}")
        if reason in (Reason.FORWARDED, Reason.REPLY_FORWARDED) and seen.ports and one.backend is None:
            raise Differ("nobody is told to have got it")


@pytest.fixture(scope="module")
def told_twins() -> Iterator[ToldTwins]:
    with (
        interfaces(),
        loaded(SIZES, test_clock=True) as program,
        traced.loaded(program, test_clock=True) as it,
    ):
        made = ToldTwins(replace(program, entry=it.entry))
        made.ring = Ring(it.maps["told"].fd)
        it.ask(asked(Wanted(most_bytes=FRAME_BYTES), made._tables))
        yield made
        made.ring.close()


def test_it_decides_the_same_and_tells_each_decision_as_it_was(told_twins: ToldTwins, frames: int) -> None:
    print(f"DSRLB_PARITY_SEED={SEED} --parity-frames={frames}")
    with few_slots():
        met = hunt(told_twins, ("l2dsr", "l3dsr", "inline"), frames // FEWER)
    print(met, told_twins.told)
    assert told_twins.told.total() >= met.total() - met["not_ip"]  # too short a frame never gets there
    assert told_twins.told.keys() >= {
        "forwarded",
        "reply_forwarded",
        "icmp_steered",
        "no_service",
        "arp_reply",
    }
