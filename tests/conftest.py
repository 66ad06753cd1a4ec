"""What holds for every test: where root and tools are promised, a skipped test that needs them has failed."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from dsrlb.bpf.compile import CompileError, compile_all
from dsrlb.engines.choice import BPF_FS, STATE_DIR, XDP_MODES

# The same examples on every run; how long one takes is no law, on a machine that others load.
settings.register_profile(
    "dsrlb", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("dsrlb")

TESTS = Path(__file__).parent
ENGINES = ("packet", "xdp")
NEED_ROOT = ("lab", "parity", "uml")
NEED_TOOLS = (*NEED_ROOT, "proxy")  # servers, clients, HAProxy: scripts/test installs them
PROMISED = os.environ.get("DSRLB_REQUIRE_LAB") == "1"  # scripts/test sets it

# A shell lets what it starts in the background ignore SIGINT, and so would all that tests start.
if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    and threading.current_thread() is threading.main_thread()
):
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the engine of the lab's balancers be chosen."""
    parser.addoption("--engine", choices=ENGINES, help="the engine of the lab's balancers")
    parser.addoption("--xdp-mode", choices=XDP_MODES, default="auto", help="where its program is")


def pytest_configure(config: pytest.Config) -> None:
    """Compile the BPF programs that have changed, where the compiler is at hand."""
    if not hasattr(config, "workerinput"):  # once, before the workers of pytest-xdist begin
        with contextlib.suppress(CompileError):
            list(compile_all())


def _of_the_machine() -> list[Path]:
    """Return what is in the machine's own places: of a balancer that was started there, and of iproute2.

    A start makes its locks first, for good. ``tc`` and ``ip`` make the folder when they load a program, but
    where they have mounts of their own (``ip netns exec``, ``ip -n``).
    """
    return sorted([*Path(STATE_DIR).glob("*.lock"), *Path(BPF_FS).glob("tc")])


@pytest.fixture(scope="module", autouse=True)
def the_machine_is_left_alone() -> Iterator[None]:
    """Whatever the tests of a file make is in places of their own, and the machine's are as they were."""
    before = _of_the_machine()
    yield
    assert _of_the_machine() == before


def _is_in(path: Path, folders: Sequence[str]) -> bool:
    return any((TESTS / folder) in path.parents for folder in folders)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make network namespaces")
    for item in items:
        if _is_in(item.path, NEED_ROOT):
            item.add_marker(pytest.mark.lab)
            item.add_marker(missing_root)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if PROMISED and report.skipped and _is_in(item.path, NEED_TOOLS) and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = (
            f"skipped where everything it needs is promised (DSRLB_REQUIRE_LAB=1): {report.longrepr}"
        )
    return report
