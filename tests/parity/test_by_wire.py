"""Does a frame that really comes in by an interface meet the fate of one in a test run?

Kernels before Linux 5.15 know the golden stories only so (``scripts/test-kernels``).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from parity import twins as twins_module
from parity.ground import SIZES, interfaces
from parity.test_goldens import tell
from parity.twins import Twins

from dsrlb.engines.xdp.program import loaded

TOLD = "arp_who_has", "inline_one_armed", "inline_snat_v6", "l3dsr_v6_in_v4", "malformed", "vlan_two_tags"


@pytest.fixture(scope="module")
def by_wire() -> Iterator[Twins]:
    with pytest.MonkeyPatch.context() as patched, interfaces(), loaded(SIZES, test_clock=True) as program:
        patched.setattr(twins_module, "takes_context", lambda: False)
        yield Twins(program)


@pytest.mark.parametrize("name", TOLD)
def test_the_story_comes_true_by_wire(name: str, by_wire: Twins) -> None:
    tell(by_wire, name)
