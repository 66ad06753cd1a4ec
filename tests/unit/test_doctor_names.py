"""Is each server asked by its own way, and called by the name that ``--via`` takes?"""

from __future__ import annotations

from pathlib import Path

import pytest

from dsrlb import preflight
from dsrlb.config import read_config
from dsrlb.doctor import scene as scenes
from dsrlb.doctor.scene import Scene, scene_of
from dsrlb.doctor.wanted import wanted_servers
from dsrlb.preflight import Ground

SERVICE = '[[service]]\nvip = "{vip}"\nmode = "l2dsr"\n'
BACKEND = '[[service.backend]]\naddress = "{address}"\n'
EACH = ("ssh:root@{address}",)


@pytest.fixture(autouse=True)
def _nothing_of_this_host_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(preflight, "look", lambda *_, **__: (Ground((), (), (), {}, {}), ()))
    monkeypatch.setattr(scenes, "lent_before", lambda _: ())
    monkeypatch.chdir(tmp_path)


def scene(*services: tuple[str, tuple[tuple[str, str], ...]], vias: tuple[str, ...] = EACH) -> Scene:
    """Return the scene of services: the VIP of each, and its servers' addresses and names."""
    text = ""
    for vip, servers in services:
        text += SERVICE.format(vip=vip)
        for address, name in servers:
            text += BACKEND.format(address=address) + (f'name = "{name}"\n' if name else "")
    Path("dsrlb.toml").write_text(text)
    return scene_of(read_config(Path("dsrlb.toml")), None, vias=vias)


def ways(asked: Scene) -> dict[str, str]:
    """Return by which way the server at each address is asked."""
    wanted = wanted_servers(asked.config, asked.ground, {})
    return {str(one.address): str(asked.vias[one.label]) for one in wanted}


def test_two_servers_of_one_name_are_asked_each_at_its_own_address() -> None:
    web, mail = ("198.18.1.11", "rs"), ("198.18.1.12", "rs")
    assert ways(scene(("198.18.1.100:80", (web,)), ("198.18.1.100:25", (mail,)))) == {
        "198.18.1.11": "ssh:root@198.18.1.11",
        "198.18.1.12": "ssh:root@198.18.1.12",
    }


def test_a_server_that_only_one_service_names_is_one_machine() -> None:
    named, bare = ("198.18.1.11", "rs"), ("198.18.1.11", "")
    asked = scene(("198.18.1.100:80", (named,)), ("198.18.1.100:25", (bare,)), vias=("local",))
    assert ways(asked) == {"198.18.1.11": "local"}


def test_a_server_with_addresses_of_both_versions_is_asked_at_the_first() -> None:
    by_4, by_6 = ("198.18.1.11", "rs"), ("2001:db8:1::11", "rs")
    asked = scene(("198.18.1.100:80", (by_4,)), ("[2001:db8:1::100]:80", (by_6,)))
    assert set(ways(asked).values()) == {"ssh:root@198.18.1.11"}
