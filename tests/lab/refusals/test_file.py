"""Is everything that this host cannot do told at its line of the file, by ``check`` and by ``serve``?"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from lab_refusals import CONFIG, NOBODY, RS1, USAGE, VIP, Run

from dsrlb.lab.topology import Lab

TEXT = f"""interfaces = ["e0"]

[[service]]
vip = "{VIP}:80"
mode = "l2dsr"

[[service.backend]]
address = "{RS1}"
"""
AT_INTERFACE, AT_VIP, AT_BACKEND = 1, 4, 8


@pytest.fixture
def told(refused: Run, tmp_path: Path) -> Callable[..., None]:
    """``told(text, line, …)``: one problem, at this line, with these words, by check and by serve."""

    def check(text: str, line: int, *words: str, role: str = "lb") -> None:
        file = tmp_path / "dsrlb.toml"
        file.write_text(text)
        checked = refused("check", str(file), role=role)
        (problem,) = checked.stdout.splitlines()
        assert (checked.code, checked.stderr) == (CONFIG, "")
        assert problem.startswith(f"{file}:{line}: "), problem
        assert [word for word in words if word not in problem] == []
        refused("serve", "--config", str(file), role=role).because(CONFIG, problem)

    return check


def test_a_server_behind_a_router_is_none_for_l2dsr(told: Callable[..., None]) -> None:
    told(TEXT.replace(RS1, "198.19.5.5"), AT_BACKEND, "198.19.5.5", "off-link", "l3dsr")


def test_the_balancer_itself_is_no_server_for_l3dsr(told: Callable[..., None]) -> None:
    text = TEXT.replace("l2dsr", "l3dsr").replace(RS1, "198.18.1.10")
    told(text, AT_BACKEND, "198.18.1.10", "this host itself")


def test_a_server_of_inline_that_would_not_answer_by_the_balancer_is_told(told: Callable[..., None]) -> None:
    text = TEXT.replace("l2dsr", "inline").replace(RS1, "198.19.5.5")
    told(text, AT_BACKEND, "198.19.5.5", "behind router", "snat")


def test_a_source_that_this_host_has_is_told_at_its_line(told: Callable[..., None]) -> None:
    text = TEXT.replace('mode = "l2dsr"', 'mode = "inline"\nsnat = true\nsource = "198.18.1.10"')
    told(text, 7, "198.18.1.10", "configured on this host")


def test_an_interface_that_is_missing_is_named_with_those_there_are(told: Callable[..., None]) -> None:
    told(TEXT.replace('"e0"', '"e0", "eth77"'), AT_INTERFACE, "eth77", "e0")


def test_an_interface_that_is_down_is_told(
    lab: Lab, told: Callable[..., None], configure: Callable[..., None]
) -> None:
    configure(lab.namespace("lb"), "link", "add", "d0", "type", "veth", "peer", "name", "d1")
    told(TEXT.replace('"e0"', '"e0", "d0"'), AT_INTERFACE, "d0", "ip link set d0 up")


def test_no_interface_and_no_default_route_is_told(told: Callable[..., None]) -> None:
    text = TEXT.partition("\n")[2]
    told(text, 1, "no default route", role="switch")


def test_a_vip_that_this_host_has_is_told(
    lab: Lab, told: Callable[..., None], configure: Callable[..., None]
) -> None:
    configure(lab.namespace("lb"), "addr", "add", f"{VIP}/32", "dev", "lo")
    told(TEXT, AT_VIP, VIP, "configured on this host")


def test_every_problem_of_the_host_is_told_at_once(refused: Run, tmp_path: Path) -> None:
    file = tmp_path / "dsrlb.toml"
    more = '[[service.backend]]\naddress = "198.19.5.5"\n[[service.backend]]\naddress = "198.18.1.10"\n'
    file.write_text(TEXT.replace('"e0"', '"e0", "e7"') + more)
    found = refused("check", str(file))
    lines = [line.removeprefix(f"{file}:").partition(":")[0] for line in found.stdout.splitlines()]
    assert (found.code, lines) == (CONFIG, ["1", "10", "12"])


def test_a_file_that_works_here_is_said_to_and_nothing_is_sent(refused: Run, tmp_path: Path) -> None:
    file = tmp_path / "dsrlb.toml"
    file.write_text(TEXT)
    found = refused("check", str(file))
    assert (found.code, found.stderr) == (0, "")
    assert "1 service, 1 backend: no problem found" in found.stdout
    assert "this host" not in found.stdout and "another machine" in found.stdout


def test_who_is_not_root_is_told_what_was_not_looked_at(refused: Run) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        file = Path(folder, "dsrlb.toml")
        file.write_text(TEXT.replace(RS1, "198.19.5.5"))
        file.chmod(0o644)
        found = refused("check", str(file), uid=NOBODY)
        asked = refused("check", "--host", str(file), uid=NOBODY)
    assert (found.code, found.stderr) == (0, "")
    assert "not checked: this host's interfaces, addresses and routes (run it as root" in found.stdout
    assert asked.code == CONFIG and "off-link" in asked.stdout


@pytest.mark.parametrize("command", [["check"], ["serve", "--config"]])
@pytest.mark.parametrize("name", ["none.toml", "."])
def test_a_file_that_cannot_be_read_is_a_matter_of_usage(
    command: list[str], name: str, refused: Run, tmp_path: Path
) -> None:
    refused(*command, f"{tmp_path}/{name}").because(USAGE, "cannot be read")
