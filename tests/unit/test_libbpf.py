"""Does an error of libbpf become one sentence that a person can act on?"""

from __future__ import annotations

import ctypes
import errno
from pathlib import Path

import pytest

from dsrlb.errors import HostError
from dsrlb.host import bpf, libbpf

VERIFIER = """\
libbpf: prog 'dsrlb_decap': -- BEGIN PROG LOAD LOG --
0: R1=ctx() R10=fp0
; return *(__u64 *)0;
7: (79) r0 = *(u64 *)(r1 +0)
R1 invalid mem access 'scalar'
processed 8 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
-- END PROG LOAD LOG --
"""


class Failing:
    """A libbpf whose functions say something and fail."""

    def __init__(self, code: int, said: str = "") -> None:
        self.code, self.said = code, said

    def __getattr__(self, name: str) -> object:
        def fail(*arguments: object) -> int:
            libbpf._said.append(self.said)
            return -self.code

        return fail


def sentence(monkeypatch: pytest.MonkeyPatch, code: int, said: str = "", euid: int = 0) -> str:
    monkeypatch.setattr(libbpf, "library", lambda: Failing(code, said))
    monkeypatch.setattr("os.geteuid", lambda: euid)
    with pytest.raises(HostError) as caught:
        libbpf.call("load decap.bpf.o", "bpf_object__load", 0)
    return str(caught.value)


def test_a_missing_privilege_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    said = sentence(monkeypatch, errno.EPERM, euid=1000)
    assert said == "cannot load decap.bpf.o: it needs root (CAP_BPF and CAP_NET_ADMIN)."
    assert "container" in sentence(monkeypatch, errno.EPERM)


def test_the_last_words_of_the_verifier_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sentence(monkeypatch, errno.EACCES, VERIFIER) == (
        "cannot load decap.bpf.o: Permission denied (the kernel's verifier: "
        "7: (79) r0 = *(u64 *)(r1 +0); R1 invalid mem access 'scalar')."
    )


def test_other_errors_are_the_systems_words(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sentence(monkeypatch, errno.E2BIG) == "cannot load decap.bpf.o: Argument list too long."


def test_an_allowed_error_is_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libbpf, "library", lambda: Failing(errno.ENOENT))
    assert libbpf.call("look", "bpf_map_lookup_elem", allowed=(errno.ENOENT,)) == -errno.ENOENT


@pytest.mark.parametrize(
    ("found", "words"), [((), "libbpf.so.1 was not found"), (("libbpf.so.0",), "too old")]
)
def test_a_missing_or_old_libbpf_is_named(
    found: tuple[str, ...], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def only_some(name: str, use_errno: bool = False) -> object:
        if name not in found:
            raise OSError(name)
        return object()

    libbpf.library.cache_clear()
    monkeypatch.setattr(ctypes, "CDLL", only_some)
    try:
        with pytest.raises(HostError, match=words):
            libbpf.library()
    finally:
        libbpf.library.cache_clear()


def test_a_place_outside_a_bpf_file_system_is_refused_with_the_line_that_mounts_one(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="mount -t bpf bpf /sys/fs/bpf"):
        bpf.need_bpf_fs(tmp_path / "not/there/yet")
