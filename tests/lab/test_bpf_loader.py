"""Does the loader do with objects, maps and pins what it promises?  The object is the decapsulator's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from dsrlb.bpf.compile import FOLDER, object_of
from dsrlb.errors import HostError
from dsrlb.host import bpf, bpf_attach, bpf_maps
from dsrlb.host.decap import PROGRAM

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="root is missing: BPF programs need it"),
]

DECAP = object_of(FOLDER / "decap.bpf.c")
ONE = (1).to_bytes(4, sys.byteorder)


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


@pytest.fixture
def bpf_fs(tmp_path: Path) -> Iterator[Path]:
    where = tmp_path / "bpf"
    where.mkdir()
    subprocess.run(["mount", "-t", "bpf", "bpf", str(where)], check=True)
    yield where
    subprocess.run(["umount", "-l", str(where)], check=True)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_entries_are_written_found_listed_and_deleted_one_by_one() -> None:
    with bpf.load(DECAP) as loaded:
        table = loaded.map("vips")
        assert (table.key_bytes, table.value_bytes, table.name) == (16, 4, "vips")
        assert bpf_maps.lookup(table, key(1)) is None
        bpf_maps.update(table, key(1), ONE)
        bpf_maps.update(table, key(2), ONE)
        assert bpf_maps.lookup(table, key(1)) == ONE
        assert set(bpf_maps.keys(table)) == {key(1), key(2)}
        assert bpf_maps.delete(table, key(1))
        assert not bpf_maps.delete(table, key(1))
        assert list(bpf_maps.keys(table)) == [key(2)]


def test_many_entries_are_written_by_one_call() -> None:
    with bpf.load(DECAP, max_entries={"vips": 5000}) as loaded:
        table = loaded.map("vips")
        bpf_maps.update_batch(table, [])
        bpf_maps.update_batch(table, ((key(number), ONE) for number in range(5000)))
        assert set(bpf_maps.keys(table)) == set(map(key, range(5000)))


def test_a_full_map_is_one_sentence() -> None:
    with bpf.load(DECAP, max_entries={"vips": 1}) as loaded:
        bpf_maps.update(loaded.map("vips"), key(1), ONE)
        with pytest.raises(HostError, match="cannot write map vips: Argument list too long"):
            bpf_maps.update(loaded.map("vips"), key(2), ONE)


def test_two_objects_may_share_a_map() -> None:
    with bpf.load(DECAP) as one:
        bpf_maps.update(one.map("vips"), key(1), ONE)
        with bpf.load(DECAP, reused={"vips": one.map("vips").fd}) as other:
            assert bpf_maps.lookup(other.map("vips"), key(1)) == ONE


def test_a_program_and_its_maps_are_found_by_the_programs_id() -> None:
    with bpf.load(DECAP) as loaded:
        program = loaded.program(PROGRAM)
        bpf_maps.update(loaded.map("vips"), key(1), ONE)
        before = open_files()
        with bpf.program_by_id(program.id) as same, bpf.maps_of(same) as maps:
            assert (same.name, same.tag) == (program.name, program.tag) == (PROGRAM, same.tag)
            assert list(bpf_maps.keys(maps["vips"])) == [key(1)]
        assert open_files() == before
    with pytest.raises(HostError, match="cannot open BPF program"), bpf.program_by_id(program.id):
        pass


def test_an_object_leaves_no_file_open() -> None:
    with bpf.load(DECAP):
        pass
    before = open_files()
    with bpf.load(DECAP) as loaded:
        loaded.map("counters")
    assert open_files() == before


def test_pinned_maps_and_programs_outlive_the_object(bpf_fs: Path) -> None:
    where = {"vips": bpf_fs / "vips"}
    with bpf.load(DECAP, pinned=where) as first:
        bpf_maps.update(first.map("vips"), key(1), ONE)
        bpf.pin(first.program(PROGRAM).fd, bpf_fs / "program")
    with bpf.load(DECAP, pinned=where) as second:
        assert list(bpf_maps.keys(second.map("vips"))) == [key(1)]
    found = bpf.pinned(bpf_fs / "program")
    assert found is not None
    assert bpf.program_of(found).name == PROGRAM
    os.close(found)
    assert bpf.pinned(bpf_fs / "nothing") is None


def refusal(path: Path = DECAP, **how: Any) -> str:
    """Why an object is not loaded."""
    with pytest.raises(HostError) as caught, bpf.load(path, **how):
        pass
    return str(caught.value)


def test_a_pin_outside_a_bpf_file_system_is_refused(tmp_path: Path) -> None:
    said = refusal(pinned={"vips": tmp_path / "vips"})
    assert said.endswith("is not in a BPF file system: run mount -t bpf bpf /sys/fs/bpf.")


def test_what_an_object_does_not_have_is_named() -> None:
    with bpf.load(DECAP) as loaded:
        with pytest.raises(HostError, match=r"cannot find map nothing in decap\.bpf\.o"):
            loaded.map("nothing")
        with pytest.raises(HostError, match=r"cannot find program nothing in decap\.bpf\.o"):
            loaded.program("nothing")
    said = refusal(constants={"gue_port": bytes(4)})
    assert said == "cannot set gue_port in decap.bpf.o: it has 2 bytes, not 4."
    assert refusal(constants={"nothing": bytes(4)}) == "decap.bpf.o has no constant nothing."


def test_a_file_that_is_no_object_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "broken.bpf.o").write_bytes(b"not an object")
    assert refusal(tmp_path / "broken.bpf.o").startswith(f"cannot open {tmp_path}/broken.bpf.o: ")


@pytest.mark.parametrize("mode", ["native", "generic"])
def test_a_program_of_another_kind_is_not_attached_to_xdp(mode: Literal["native", "generic"]) -> None:
    with bpf.load(DECAP) as loaded:
        program = loaded.program(PROGRAM)
        with pytest.raises(HostError, match=rf"attach the program to XDP \({mode}\): Invalid argument"):
            bpf_attach.attach_xdp(1, program.fd, mode)
