"""Which outliers of a service are left, and for how long.

::

     taken -- outlier, and others are left to take its clients --> out: 5 s, 10 s, 20 s ... 300 s
       ^                                                            |
       +-- time is up; its check failed meanwhile and passes again; |
           too few are left ----------------------------------------+

At most half of the servers that could take new flows are out, and so never the last one.  Who stays good for
5 minutes after it came back begins with 5 s again.

Pure: seconds of a monotonic clock are an argument.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from dsrlb.standing import Ejection, Names

FIRST_S, LONGEST_S = 5.0, 300.0
FORGIVEN_AFTER_S = 300.0


@dataclass
class _Out:
    until_s: float
    was_down: bool = False  # its check has failed since


@dataclass
class Ejections:
    """Those of one service."""

    out: dict[Names, _Out] = field(default_factory=dict)
    _lasted: dict[Names, tuple[float, float]] = field(default_factory=dict)  # for how long, until when

    def changes(
        self, able: Collection[Names], outliers: Mapping[Names, str], now_s: float
    ) -> Iterator[tuple[Names, Ejection]]:
        """Yield what changes: ``able`` would take new flows, were none left; of ``outliers``, that is why."""
        for names, out in list(self.out.items()):
            out.was_down = out.was_down or names not in able
            if now_s >= out.until_s or (out.was_down and names in able):
                yield self._back(names, now_s)
        while self._count(able) > len(able) // 2:
            soonest = min((one for one in self.out if one in able), key=lambda one: self.out[one].until_s)
            yield self._back(soonest, now_s)
        for names, why in outliers.items():
            if names in able and names not in self.out and self._count(able) < len(able) // 2:
                yield self._leave(names, why, now_s)

    def _count(self, able: Collection[Names]) -> int:
        return sum(names in able for names in self.out)

    def _leave(self, names: Names, why: str, now_s: float) -> tuple[Names, Ejection]:
        lasted_s, ended_s = self._lasted.get(names, (0.0, 0.0))
        is_again = names in self._lasted and now_s - ended_s <= FORGIVEN_AFTER_S
        for_s = min(LONGEST_S, 2 * lasted_s) if is_again else FIRST_S
        self._lasted[names] = for_s, now_s + for_s
        self.out[names] = _Out(now_s + for_s)
        return names, Ejection(True, why, now_s + for_s)

    def _back(self, names: Names, now_s: float) -> tuple[Names, Ejection]:
        del self.out[names]
        self._lasted[names] = self._lasted[names][0], now_s
        return names, Ejection(False)

    def keep(self, names: Collection[Names]) -> None:
        """Forget all other servers."""
        for one in self._lasted.keys() - names:
            del self._lasted[one]
            self.out.pop(one, None)
