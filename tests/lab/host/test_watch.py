"""Do changes of the host arrive as events, also when some of them are lost?"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

from lab_host import LB, ip
from lab_wire import eventually, inside

from dsrlb.host import watch as watch_module
from dsrlb.host.watch import Event, Watch


def test_the_watch_reports_links_addresses_and_neighbours(lab):
    events: queue.Queue[Event] = queue.Queue()
    with inside(LB):
        watch = Watch(events)
    try:
        for words, expected in (
            (("link", "set", "e0", "down"), ("link",)),
            (("link", "set", "e0", "up"), ("link",)),
            (("addr", "add", "198.18.41.1/24", "dev", "e0"), ("route",)),
            (("neigh", "add", "198.18.40.7", "lladdr", "02:00:00:00:00:07", "dev", "e0"), ("neighbour",)),
        ):
            ip("-n", LB, *words)
            assert eventually(lambda expected=expected: events.get(timeout=30) == expected, 30)
    finally:
        watch.stop()


def test_the_watch_subscribes_again_after_an_error(lab, monkeypatch):
    good = watch_module.events_of

    def broken_once(kind):
        monkeypatch.setattr(watch_module, "events_of", good)
        raise OSError("no such luck")

    monkeypatch.setattr(watch_module, "events_of", broken_once)
    events: queue.Queue[Event] = queue.Queue()
    with inside(LB):  # the thread stays in the namespace in which it was started
        watch = Watch(events)
    try:
        ip("-n", LB, "link", "set", "e0", "down")
        assert eventually(lambda: events.get(timeout=30) == ("resync",), 30)
        ip("-n", LB, "link", "set", "e0", "up")
        assert eventually(lambda: events.get(timeout=30) == ("link",), 30)
    finally:
        watch.stop()


def test_more_changes_than_the_kernel_can_hold_for_us_ask_for_a_full_look(lab, monkeypatch, tmp_path):
    monkeypatch.setattr(watch_module, "BUFFER_BYTES", 1)  # the kernel makes that its least
    batch = tmp_path / "batch"
    batch.write_text(
        "".join(f"neigh add 198.18.40.{n} lladdr 02:00:00:00:00:07 dev e0\n" for n in range(30, 250))
    )
    good, all_sent = watch_module.events_of, threading.Event()

    def busy(kind: int) -> Iterator[Event]:
        """Keep the listener from its socket until the kernel has said everything."""
        all_sent.wait(60)
        return good(kind)

    monkeypatch.setattr(watch_module, "events_of", busy)
    events: queue.Queue[Event] = queue.Queue()
    with inside(LB):
        watch = Watch(events)
    try:
        ip("-n", LB, "-batch", str(batch))
        all_sent.set()
        assert eventually(lambda: events.get(timeout=30) == ("resync",), 30)
    finally:
        all_sent.set()
        watch.stop()
