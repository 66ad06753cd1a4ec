"""Does each server of a configuration get the words that its services' modes ask for?"""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from dsrlb.config import config_in
from dsrlb.errors import ConfigError, UsageError
from dsrlb.model import Address, Service
from dsrlb.remote.jobs import Job, Server, chosen_of, flags_by, servers_of

HERE = ip_address("198.18.1.10")


def services(*tables: str) -> tuple[Service, ...]:
    return config_in("".join(tables).encode(), "dsrlb.toml").services


def service(mode: str, vip: str, *backends: str, more: str = "") -> str:
    """A service of these backends, each ``NAME=ADDRESS``."""
    head = f'[[service]]\nvip = "{vip}"\nmode = "{mode}"\n{more}'
    named = (one.split("=") for one in backends)
    return head + "".join(
        f'[[service.backend]]\nname = "{name}"\naddress = "{address}"\n' for name, address in named
    )


def found(*tables: str, gateway: Address | None = HERE, **chosen: object) -> dict[str, list[str]]:
    """Of each server the words of its setups."""
    servers = servers_of(services(*tables), flags_by(chosen, lambda address: gateway))
    return {one.name: [" ".join(job.words("setup")[1:]) for job in one.jobs] for one in servers}


def test_the_vips_of_one_mode_are_one_job_and_each_vip_is_there_once() -> None:
    assert found(
        service("l2dsr", "198.18.1.100:80", "web1=198.18.1.11", "web2=198.18.1.12"),
        service("l2dsr", "198.18.1.100:443", "web1=198.18.1.11"),
        service("l2dsr", "198.18.1.101:53/udp", "web1=198.18.1.11"),
    ) == {
        "web1": ["--mode l2dsr --vip 198.18.1.100 --vip 198.18.1.101"],
        "web2": ["--mode l2dsr --vip 198.18.1.100"],
    }


def test_tunnel_and_ip_version_come_from_the_service_and_the_servers_address() -> None:
    gue = 'encap = "gue"\nencap_port = 7000\n'
    assert found(
        service("l3dsr", "198.18.10.1:80", "a=198.18.21.2", "b=2001:db8:21::2"),
        service("l3dsr", "198.18.10.2:80", "a=198.18.21.2", more=gue),
    ) == {
        "a": [
            "--mode l3dsr --vip 198.18.10.1 --outer 4",
            "--mode l3dsr --vip 198.18.10.2 --outer 4 --encap gue --encap-port 7000",
        ],
        "b": ["--mode l3dsr --vip 198.18.10.1 --outer 6"],
    }


def test_the_gateway_of_inline_is_the_balancers_address_there_unless_another_is_said() -> None:
    table = service("inline", "198.18.1.100:80", "web1=198.18.2.11")
    assert found(table) == {"web1": ["--mode inline --vip 198.18.1.100 --gateway 198.18.1.10"]}
    said = ip_address("198.18.2.1")
    words = servers_of(services(table), flags_by({"gateway": said}, lambda address: None))[0].jobs[0].flags
    assert words == ("--gateway", "198.18.2.1")


def test_a_server_behind_a_router_needs_a_gateway_to_be_said() -> None:
    with pytest.raises(ConfigError, match=r"server 198\.18\.2\.11 is not on a link of this host.*--gateway"):
        found(service("inline", "198.18.1.100:80", "web1=198.18.2.11"), gateway=None)


def test_what_is_said_by_hand_goes_to_the_modes_that_heed_it() -> None:
    tables = (
        service("l2dsr", "198.18.1.100:80", "web1=198.18.1.11"),
        service("l3dsr", "198.18.1.101:80", "web1=198.18.1.11"),
    )
    assert found(*tables, decap="kernel", networks=("198.18.7.0/24",)) == {
        "web1": [
            "--mode l2dsr --vip 198.18.1.100",
            "--mode l3dsr --vip 198.18.1.101 --outer 4 --decap kernel --client-net 198.18.7.0/24",
        ]
    }


def test_modes_that_ask_nothing_give_no_job() -> None:
    snat = service("inline", "198.18.1.100:80", "web1=198.18.1.11", more="snat = true\n")
    assert found(snat, service("proxy", "198.18.1.101:80", "web2=198.18.1.12")) == {"web1": [], "web2": []}


def test_a_name_that_two_servers_have_names_neither() -> None:
    tables = (
        service("l2dsr", "198.18.1.100:80", "web=198.18.1.11"),
        service("l2dsr", "198.18.1.101:80", "web=198.18.1.12"),
    )
    assert list(found(*tables)) == ["198.18.1.11", "198.18.1.12"]


def test_a_name_at_an_address_of_each_ip_version_is_one_machine() -> None:
    tables = (
        service("l2dsr", "198.18.1.100:80", "web1=198.18.1.11"),
        service("l2dsr", "[2001:db8:1::100]:80", "web1=2001:db8:1::11"),
    )
    assert found(*tables) == {"web1": ["--mode l2dsr --vip 198.18.1.100 --vip 2001:db8:1::100"]}
    servers = servers_of(services(*tables), lambda service, backend: ())
    assert str(servers[0].address) == "198.18.1.11"
    assert chosen_of(servers, ["2001:db8:1::11"]) == servers


def test_a_server_is_chosen_by_name_or_address_and_another_word_is_refused() -> None:
    servers = [Server(name, (ip_address(f"198.18.1.1{name[-1]}"),), ()) for name in ("web1", "web2", "web3")]
    assert chosen_of(servers, ["web3", "198.18.1.11"]) == [servers[0], servers[2]]
    assert chosen_of(servers, []) == servers
    with pytest.raises(UsageError, match=r"'web9' is in no service of this file; there are web1, web2, web3"):
        chosen_of(servers, ["web9"])


def test_undo_is_told_mode_and_vips_alone() -> None:
    job = Job("inline", (ip_address("198.18.1.100"),), ("--gateway", "198.18.1.10"))
    assert Job(job.mode, job.vips, ()).words("undo", plan=True) == [
        *("undo", "--mode", "inline", "--vip", "198.18.1.100", "--plan")
    ]
