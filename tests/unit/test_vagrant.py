"""Would Vagrant take the lab of virtual machines, and would a shell take its scripts?"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

VAGRANT = Path(__file__).parents[2] / "vagrant"
MACHINES = ["client", "lb1", "lb2", "router", "rs1", "rs2", "rs3", "rs4", "rs5"]


def vagrant(folder: Path, scratch: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run vagrant on a folder, offline, leaving nothing outside of the scratch directory."""
    if shutil.which("vagrant") is None:
        assert os.environ.get("CI") != "true", "scripts/test installs vagrant"
        pytest.skip("vagrant is not installed")
    settings = {"VAGRANT_CHECKPOINT_DISABLE": "1", "VAGRANT_HOME": str(scratch / "home"),
                "VAGRANT_DOTFILE_PATH": str(scratch / "state")}  # fmt: skip
    return subprocess.run(
        ["vagrant", *words],
        cwd=folder,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )


def validate(folder: Path, scratch: Path) -> subprocess.CompletedProcess[str]:
    done = vagrant(folder, scratch, "validate")
    if "No usable default provider" in done.stderr:  # Debian's vagrant without vagrant-libvirt
        return vagrant(folder, scratch, "validate", "--ignore-provider")
    return done


def test_vagrant_takes_the_file_without_a_warning(tmp_path: Path) -> None:
    done = validate(VAGRANT, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "Vagrantfile validated successfully.\n"


def test_vagrant_would_tell_of_a_wrong_key(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(VAGRANT, copy)
    wrong = (copy / "Vagrantfile").read_text().replace("node.vm.hostname", "node.vm.hostnam")
    (copy / "Vagrantfile").write_text(wrong)
    done = validate(copy, tmp_path)
    assert done.returncode != 0
    assert "hostnam" in done.stdout + done.stderr


def machines() -> dict[str, list[str]]:
    """Each machine's addresses, as the Vagrantfile's table has them."""
    table = (VAGRANT / "Vagrantfile").read_text().partition("MACHINES = {")[2].partition("\n}\n")[0]
    rows = re.split(r'^  "(\w+)" +=> ', table, flags=re.MULTILINE)[1:]
    return {name: re.findall(r'"(198[\d.]+)"', row) for name, row in zip(rows[::2], rows[1::2], strict=True)}


def test_every_address_is_a_test_address_and_there_once() -> None:
    every = [address for own in machines().values() for address in own]
    assert sorted(machines()) == sorted(MACHINES)
    assert len(every) == len(set(every)) == 15
    assert all(ip_address(one) in ip_network("198.18.0.0/15") for one in every)


def test_no_machine_has_the_address_that_providers_keep_for_the_host() -> None:
    assert [one for own in machines().values() for one in own if one.endswith(".1")] == []


def test_the_picture_shows_every_machine_and_network() -> None:
    page = (VAGRANT / "README.md").read_text()
    picture = page.partition("```text\n")[2].partition("```")[0]
    for name, own in machines().items():
        assert re.search(rf"\b{name}\b", picture), name
        for address in own:
            network, _, host = address.rpartition(".")
            assert f"{network}.0/24" in picture
            assert re.search(rf"\.{host}\b", picture)


def test_the_balancers_find_the_same_servers_without_a_word() -> None:
    with (VAGRANT / "dsrlb.toml").open() as file:
        schedulers = [line.strip() for line in file if line.startswith("scheduler")]
    assert schedulers == ['scheduler = "maglev"'] * 4


def test_every_role_has_its_script() -> None:
    text = (VAGRANT / "Vagrantfile").read_text()
    roles = set(re.findall(r'role: "(\w+)"', text))
    assert roles == {"client", "router", "lb", "backend"}
    for role in roles:
        assert os.access(VAGRANT / "provision" / f"{role}.sh", os.X_OK)


def test_the_configuration_file_has_no_problem_and_names_the_servers_there_are() -> None:
    file = VAGRANT / "dsrlb.toml"
    done = subprocess.run(
        [sys.executable, "-m", "dsrlb", "check", "--no-host", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    named = re.findall(r'^name = "(rs\d)"\naddress = "([^"]+)"', file.read_text(), re.MULTILINE)
    for name, address in named:
        [own] = machines()[name]
        network, host = own.split(".")[2:]
        assert address in (own, f"2001:db8:{network}::{host}")
    assert {name for name, _ in named} == {"rs1", "rs2", "rs3", "rs4", "rs5"}


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("install.sh", ["cook"]),
        ("backend.sh", ["proxy"]),
        ("lb.sh", ["both"]),
        ("router.sh", ["neither"]),
    ],
)
def test_a_script_refuses_what_it_does_not_know_before_it_does_anything(
    script: str, words: list[str]
) -> None:
    done = subprocess.run(
        [str(VAGRANT / "provision" / script), *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert words[0] in done.stderr
