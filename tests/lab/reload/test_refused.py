"""Is a file that cannot work refused, with nothing changed?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lab_reload import DEADLINE_S, Start, Write, open_files, reload, service
from lab_running import RS1, RS2, RS3, Serve, is_claimed, ours
from lab_wire import GUEST_MAC

from dsrlb.lab.topology import VIP, Lab, run


def test_a_bad_file_is_refused_with_its_problems_and_the_running_table_stays(
    lab: Lab, start: Start, write: Write, client: Any, tmp_path: Path
) -> None:
    write(service(RS1, RS2))
    running = start()
    rules, files = ours(lab), open_files(running)
    write(service(RS1, more="wieght = 1\n"), service(vip="198.18.1.101"), service(RS1, "224.0.0.1", port=81))
    said = reload(running, "reload refused").splitlines()
    file = f"dsrlb: {tmp_path}/dsrlb.toml"
    assert [line.partition(": ")[0] + ": " + line.partition(": ")[2].split(" ")[0] for line in said[:3]] == [
        f"{file}:6:",
        f"{file}:10:",
        f"{file}:22:",
    ]
    assert len(said) == 4
    (tmp_path / "dsrlb.toml").unlink()
    assert "cannot be read" in reload(running, "reload refused")
    servers = client.requests(4)["servers"]
    assert (servers.count("rs1"), servers.count("rs2")) == (2, 2)
    write(service(RS1, RS2, RS3))
    reload(running)
    assert client.requests(3)["servers"].count("rs3") == 1
    assert (ours(lab), open_files(running)) == (rules, files)


@pytest.mark.parametrize("what", ["off-link", "this host itself", "no interface"])
def test_what_this_host_cannot_do_is_refused_at_its_line(
    what: str, lab: Lab, start: Start, write: Write, client: Any
) -> None:
    write(service(RS1))
    running = start()
    if what == "no interface":
        write(service(RS1), interfaces=["e0", "e77"])
    else:
        write(service(RS1, "198.19.5.5" if what == "off-link" else "198.18.1.10"))
    said = reload(running, "reload refused")
    assert what in said and (
        "dsrlb.toml:1: " in said if what == "no interface" else "dsrlb.toml:10: " in said
    )
    assert client.requests(2)["servers"] == ["rs1"] * 2


def test_a_new_vip_that_another_machine_has_is_refused_and_nothing_of_it_stays(
    lab: Lab, guest: str, start: Start, write: Write, client: Any
) -> None:
    other = "198.18.1.101"
    run(["ip", "-n", guest, "addr", "add", f"{other}/24", "dev", "e0"])
    try:
        write(service(RS1))
        running = start()
        files = open_files(running)
        write(service(RS1), service(RS1, vip=other))
        said = reload(running, "reload refused")
        assert other in said and GUEST_MAC in said
        assert other not in ours(lab) and not is_claimed(lab, other)
        assert open_files(running) == files
        assert client.requests(2)["errors"] == []
    finally:
        run(["ip", "-n", guest, "addr", "flush", "dev", "e0", "to", other])
    reload(running)
    assert other in ours(lab) and is_claimed(lab, other)


@pytest.mark.only_engine("packet", reason="an interface has one program: the first line is refused")
def test_a_vip_of_another_dsrlb_on_this_host_is_refused(
    lab: Lab, serve: Serve, start: Start, write: Write
) -> None:
    other = "198.18.1.101"
    serve(flags=["--mode", "l2dsr", "--interface", "e0", "--vip", f"{other}:80", "--backend", RS1])
    write(service(RS1))
    running = start()
    write(service(RS1), service(RS1, vip=other))
    assert f"already serves VIP {other}" in reload(running, "reload refused")
    assert str(VIP) in ours(lab) and other in ours(lab)


def test_a_server_that_is_out_of_reach_already_keeps_no_file_from_being_loaded(
    lab: Lab, start: Start, write: Write, second: Callable[..., None], client: Any
) -> None:
    second("rs3", "198.18.2.10/24", "198.18.2.13/24")
    write(service("198.18.2.13", RS1))
    running = start()
    run(["ip", "-n", lab.namespace("lb"), "link", "del", "x0"])
    running.wait_for("backend 198.18.2.13 is unresolved", DEADLINE_S)
    write(service("198.18.2.13", RS1, RS2))
    reload(running)
    assert set(client.requests(4)["servers"]) == {"rs1", "rs2"}
