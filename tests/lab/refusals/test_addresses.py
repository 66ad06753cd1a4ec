"""Are VIPs and backends that this host or network cannot serve refused, for what they are?"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from lab_refusals import CONFIG, RS1, RS1_6, RS2, USAGE, VIP, VIP6, Run, flags, traces
from lab_wire import GUEST_MAC

from dsrlb.lab.topology import Lab, mac


@pytest.mark.parametrize(("vip", "address"), [(f"{VIP}:80", f"{VIP}/32"), (f"[{VIP6}]:80", f"{VIP6}/128")])
def test_a_vip_that_another_machine_owns_is_refused_with_its_mac(
    vip: str, address: str, guest: str, refused: Run, configure: Callable[..., None]
) -> None:
    configure(guest, "addr", "add", address, "dev", "e0", *(["nodad"] if ":" in address else []))
    refused(*flags(vip=vip, backends=(RS1, RS1_6))).because(CONFIG, address.partition("/")[0], GUEST_MAC)


@pytest.mark.parametrize("device", ["lo", "e0"])
@pytest.mark.parametrize(("vip", "address"), [(f"{VIP}:80", f"{VIP}/32"), (f"[{VIP6}]:80", f"{VIP6}/128")])
def test_a_vip_configured_on_the_balancer_itself_is_refused(
    vip: str, address: str, device: str, lab: Lab, refused: Run, configure: Callable[..., None]
) -> None:
    configure(lab.namespace("lb"), "addr", "add", address, "dev", device)
    refused(*flags(vip=vip)).because(CONFIG, "configured on this host", f"ip addr del {address} dev {device}")


def test_a_vip_configured_as_an_address_of_its_network_is_to_be_taken_off_as_just_that(
    lab: Lab, refused: Run, configure: Callable[..., None]
) -> None:
    configure(lab.namespace("lb"), "addr", "add", f"{VIP}/24", "dev", "e0")
    refused(*flags()).because(CONFIG, "configured on this host", f"ip addr del {VIP}/24 dev e0")


def test_the_balancer_s_own_address_is_refused_as_a_vip(refused: Run) -> None:
    refused(*flags(vip="198.18.1.10:80")).because(CONFIG, "198.18.1.10", "configured on this host")


@pytest.mark.parametrize("backend", ["198.18.1.10", "2001:db8:1::10", f"198.18.1.10,mac={mac('rs1')}"])
def test_the_balancer_s_own_address_is_refused_as_a_backend(backend: str, refused: Run) -> None:
    refused(*flags(backends=(RS1, backend))).because(CONFIG, backend.split(",")[0], "this host itself")


def test_the_balancer_s_own_mac_is_refused_as_a_backend_s(refused: Run) -> None:
    own = mac("lb")
    refused(*flags(backends=(RS2, f"{RS1},mac={own}"))).because(CONFIG, RS1, own, "this host's own", "e0")


@pytest.mark.parametrize("more", ["", f",mac={mac('rs1')}"])
def test_the_broadcast_address_of_the_network_is_refused_as_a_backend(more: str, refused: Run) -> None:
    refused(*flags(backends=(f"198.18.1.255{more}",))).because(CONFIG, "198.18.1.255", "broadcast address")


@pytest.mark.parametrize(("backend", "kind"), [("255.255.255.255", "broadcast"), ("240.0.0.1", "reserved")])
def test_an_address_that_no_server_can_have_is_refused_for_what_it_is(
    backend: str, kind: str, refused: Run
) -> None:
    refused(*flags(backends=(backend,))).because(USAGE, backend, kind)


@pytest.mark.parametrize("backend", ["198.19.5.5", "198.18.0.2", "2001:db8:5::5"])
def test_a_backend_off_link_is_refused_and_told_of_l3dsr(backend: str, refused: Run) -> None:
    refused(*flags(backends=(RS1, backend))).because(CONFIG, backend, "off-link", "l3dsr")


@pytest.mark.parametrize("kind", ["unreachable", "blackhole", "prohibit"])
@pytest.mark.parametrize(
    ("backend", "net"), [("198.19.6.6", "198.19.6.0/24"), ("2001:db8:6::6", "2001:db8:6::/64")]
)
def test_a_backend_without_a_route_is_refused(
    kind: str, backend: str, net: str, lab: Lab, refused: Run, configure: Callable[..., None]
) -> None:
    family = ["-6"] if ":" in net else []
    configure(lab.namespace("lb"), *family, "route", "add", kind, net)
    refused(*flags(backends=(backend,))).because(CONFIG, backend, "unreachable")


def test_backends_of_which_none_answers_are_refused_by_name(refused: Run) -> None:
    silent = ("198.18.1.77", "2001:db8:1::77")
    refused(*flags(backends=silent)).because(CONFIG, "reached", *silent, "--force")


@pytest.mark.both_engines(xdp_mode=["native"])
def test_a_second_balancer_of_the_same_vip_is_refused(
    lab: Lab, serve: Callable[..., object], refused: Run
) -> None:
    first = serve()
    during = traces(lab)["host"]
    refused(*flags(backends=(RS2,))).because(CONFIG, VIP, "already serves")
    refused(*flags("--force", backends=(RS2,), vip=f"{VIP}:81")).because(CONFIG, VIP, "already serves")
    refused(*flags("--instance", "other", backends=(RS2,))).because(CONFIG, VIP, "already serves")
    assert traces(lab)["host"] == during, "the refused one took something of the first one's"
    assert first.stop() == 0
