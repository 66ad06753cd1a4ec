"""Are sysctls of single devices found, mended and restored, and is a device that is not there borne?"""

from __future__ import annotations

import pytest
from pretended_machine import World
from pretended_setups import VIP

from dsrlb.errors import HostError


@pytest.mark.parametrize(("device", "key"), [("e0", "e0"), ("e0.100", "e0/100"), ("default", "default")])
def test_a_device_that_overrules_conf_all_is_found_mended_and_restored(
    world: World, device: str, key: str
) -> None:
    world.set(device, "arp_ignore", 3)
    before = world.holds()
    name = f"net.ipv4.conf.{key}.arp_ignore"
    assert f"missing  {name}=1 (now 3): sysctl -w {name}=1" in world.missing(VIP)
    world.setup(VIP)
    assert world.missing(VIP) == []
    assert world.get(device, "arp_ignore") == "1"
    world.undo(VIP)
    assert world.holds() == before


@pytest.mark.parametrize(
    ("everywhere", "own", "after"),
    [(0, 0, "0"), (0, 1, "2"), (1, 0, "2"), (1, 1, "2"), (2, 1, "1"), (1, 2, "2")],
)
def test_a_tunnel_device_is_loosened_only_where_the_kernel_would_check_strictly(
    world: World, everywhere: int, own: int, after: str
) -> None:
    world.links["tunl0"] = "NOARP"
    world.set("all", "rp_filter", everywhere)
    world.set("tunl0", "rp_filter", own)
    world.setup(VIP, mode="l3dsr", outer=(4,))
    assert world.get("tunl0", "rp_filter") == after
    world.undo(VIP, mode="l3dsr")
    assert world.get("tunl0", "rp_filter") == str(own)


def test_a_device_that_is_gone_does_not_stop_undo(world: World) -> None:
    world.set("e0", "arp_ignore", 3)
    world.setup(VIP)
    (world.sysctls / "net/ipv4/conf/e0/arp_ignore").unlink()
    assert "gone     net.ipv4.conf.e0.arp_ignore=1: it was not there any more" in world.undo(VIP)
    assert not world.machine.state.exists()


def test_a_kernel_without_a_sysctl_is_named_in_one_sentence(world: World) -> None:
    (world.sysctls / "net/ipv4/conf/all/arp_ignore").unlink()
    with pytest.raises(HostError, match=r"no sysctl net\.ipv4\.conf\.all\.arp_ignore"):
        world.setup(VIP)


def test_a_module_that_brings_its_device_to_other_namespaces_only_is_named(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = world.holds()
    monkeypatch.setattr(world, "_bring", lambda device: None)
    with pytest.raises(
        HostError, match="module ipip is loaded, but brings no tunl0 to this network namespace"
    ):
        world.setup(VIP, mode="l3dsr")
    world.undo(VIP, mode="l3dsr")
    assert world.holds() == before
