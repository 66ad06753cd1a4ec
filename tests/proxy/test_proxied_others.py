"""Is what others have left alone: their folder, their HAProxy, their port?"""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from check_servers import free_port
from golden_haproxy import needs_haproxy
from haproxy_here import HERE, connects, service

from dsrlb.control import proxy_left
from dsrlb.control.proxied import Proxied
from dsrlb.control.proxy_left import end_left, lent_before
from dsrlb.errors import ConfigError
from dsrlb.standing import ALL_UP

pytestmark = needs_haproxy


@pytest.mark.parametrize("is_link", [True, False])
def test_a_folder_to_which_others_can_write_is_not_used(tmp_path: Path, is_link: bool) -> None:
    there, folder = tmp_path / "there", tmp_path / "haproxy"
    there.mkdir(mode=0o700)
    if is_link:
        folder.symlink_to(there)
    else:
        folder.mkdir()
        folder.chmod(0o770)
    (there / "addresses.json").write_text('[["192.0.2.1", "lo"]]')
    one = Proxied(folder, keeps=False)
    for use in (lambda: one.prepare([service(free_port())]), lambda: end_left(folder)):
        with pytest.raises(ConfigError, match="no directory that this user owns") as told:
            use()
        assert "\n" not in str(told.value)
    one.change_to((), "lo", ALL_UP)
    one.close()
    assert not lent_before(folder) and folder.exists() and (there / "addresses.json").exists()


def test_what_is_at_work_in_another_namespace_is_not_ended_from_here(
    proxied: Proxied, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = service(free_port())
    left = Proxied(proxied.places.folder, keeps=True)
    left.change_to([one], "lo", ALL_UP)
    left.close()
    with monkeypatch.context() as patch:
        patch.setattr(proxy_left, "is_here", lambda _: False)
        with pytest.raises(ConfigError, match="is at work in another network namespace; end it from there"):
            end_left(proxied.places.folder)
    assert connects(one.port) and end_left(proxied.places.folder)


def test_another_one_with_the_same_files_is_refused_and_so_is_taking_back_what_is_in_use(
    proxied: Proxied,
) -> None:
    one = service(free_port())
    proxied.change_to([one], "lo", ALL_UP)
    for another in (
        lambda: Proxied(proxied.places.folder, keeps=False).prepare([one]),
        lambda: end_left(proxied.places.folder),
    ):
        with pytest.raises(ConfigError, match="give this one a name of its own"):
            another()
    assert connects(one.port)


def test_a_port_that_another_program_has_is_told_and_our_own_is_none(proxied: Proxied) -> None:
    one = service(free_port())
    proxied.change_to([one], "lo", ALL_UP)
    proxied.prepare([one])
    with socket.create_server((str(HERE), 0)) as taken:
        other = service(taken.getsockname()[1])
        with pytest.raises(ConfigError, match=f"{other.port}/tcp: another program listens there"):
            proxied.prepare([one, other])
