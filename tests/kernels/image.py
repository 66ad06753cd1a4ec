"""What a virtual machine boots into: an initramfs with a Python, the wheel and the tests; nothing else.

Python, its libraries and the tools lie in it by the paths that they have on this machine, so an environment
that was made here works there.  Two archives, one behind the other: what all kernels have in common, and
what is a kernel's own, with the tests.

*Source*: Documentation/driver-api/early-userspace/buffer-format.rst.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from kernels.debian import Kernel

PROJECT = Path(__file__).parents[2]
THERE = "project"  # folder of the tests, in the machine
SOURCES = ("pyproject.toml", "setup.py", "setup.cfg", "README.md", "LICENSE", "LICENSES", "dsrlb")
BESIDE = ("pytest", "hypothesis")  # what the tests need beside the wheel
TOOLS = ("busybox", "ip", "tc", "sysctl", "modprobe", "ethtool")
LIBRARIES = ("libbpf.so.1", "libgcc_s.so.1")  # opened by name, so no program tells of them
MODULES = ("net", "lib", "crypto", "drivers/net", "drivers/virtio")
NOT_NEEDED = ("site-packages", "dist-packages", "test", "idlelib", "tkinter", "ensurepip", "lib2to3")

INIT = """\
#!/bin/busybox sh
export PATH=/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin HOME=/
for one in "proc /proc" "sysfs /sys" "devtmpfs /dev" "tmpfs /run" "bpf /sys/fs/bpf" "bpf /bpf"; do
    busybox mount -t "${{one% *}}" none "${{one#* }}"
done
exec </dev/null >/dev/console 2>&1
for one in virtio_pci virtio_net veth; do modprobe -q $one; done  # some kernels have them built in
cd /{there}
PYTHONPATH=/{there}/tests {python} -B -m {program} </dev/ttyS1 >/dev/ttyS1
busybox poweroff -f
"""


class ImageError(Exception):
    """What a machine is to boot into cannot be made; the message says why."""


def common(cache: Path) -> Path:
    """Return the archive of what all kernels have in common; made anew when something of it has changed."""
    archive, noted = cache / "common.cpio", cache / "common.cpio.sum"
    made_of = _digest()
    if not archive.exists() or not noted.exists() or noted.read_text() != made_of:
        noted.unlink(missing_ok=True)
        _make_common(cache, environment(cache, wheel(cache)))
        noted.write_text(made_of)
    return archive


def _digest() -> str:
    made_by = f"{sys.version} {_interpreter()}"
    digest = hashlib.sha256(made_by.encode() + Path(__file__).read_bytes())
    for top in SOURCES:
        for path in sorted([PROJECT / top, *(PROJECT / top).rglob("*")]):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"\n{path} {path.stat().st_size}\n".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()


def wheel(cache: Path) -> Path:
    """Build the wheel, as a user's pip would, from a copy: the checkout stays as it is."""
    source, made = cache / "source", cache / "wheel"
    for folder in (source, made):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    for name in SOURCES:
        one = PROJECT / name
        (shutil.copytree if one.is_dir() else shutil.copy2)(one, source / name)
    _run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(made), str(source)])
    return next(made.glob("*.whl"))


def environment(cache: Path, package: Path) -> Path:
    """Return the Python of a virtual environment with the wheel and what its tests need."""
    folder = cache / "venv"
    python = _python(cache)
    if python.resolve() != _interpreter():  # another's standard library would not be in the archive
        _run([sys.executable, "-m", "venv", "--clear", str(folder)])
    pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    _run([*pip, str(package), *BESIDE])
    _run([*pip, "--force-reinstall", "--no-deps", str(package)])
    return python


def _python(cache: Path) -> Path:
    return cache / "venv/bin/python"


def _interpreter() -> Path:
    """Return the Python behind the virtual environment that this runs in."""
    return Path(sys.executable).resolve()


def _make_common(cache: Path, python: Path) -> None:
    root = cache / "root"
    shutil.rmtree(root, ignore_errors=True)
    for folder in ("proc", "sys", "dev", "run", "tmp", "bpf", "bin", "var/lib"):
        (root / folder).mkdir(parents=True)
    for tool in TOOLS:
        _add(root, Path(shutil.which(tool) or _missing(tool)))
    for name in ("bin/busybox", "sbin/modprobe"):  # where /init and the kernel look for them
        (root / name).parent.mkdir(exist_ok=True)
        if not (root / name).exists():
            (root / name).symlink_to(shutil.which(Path(name).name) or "")
    for library in LIBRARIES:
        _add(root, _library(library))
    _add_python(root, python)
    for path in _needed(root):
        _add(root, path)
    _run(["chroot", str(root), str(python), "-B", "-c", f"import dsrlb.cli, {', '.join(BESIDE)}"])
    _archive(root, cache / "common.cpio")


def own(
    cache: Path, kernel: Kernel, told: Any, program: str = "kernels.guest", tools: Sequence[str] = ()
) -> Path:
    """Return the archive of a kernel's modules, of the tests, and of what the machine is told.

    ``program`` is what the machine runs, of the tests; ``tools`` are more commands that it has.
    """
    root = cache / "own"
    shutil.rmtree(root, ignore_errors=True)
    modules = root / "lib/modules" / kernel.release
    for part in MODULES:
        for path in sorted((kernel.modules / "kernel" / part).rglob("*.ko*")):
            target = modules / path.relative_to(kernel.modules)
            target.parent.mkdir(parents=True, exist_ok=True)
            packed = path.suffix == ".xz"
            raw = lzma.decompress(path.read_bytes()) if packed else path.read_bytes()
            (target.with_suffix("") if packed else target).write_bytes(raw)
    for path in kernel.modules.glob("modules.*"):
        shutil.copy2(path, modules)
    _run(["depmod", "-b", str(root), kernel.release])
    there = root / THERE
    for tool in tools:
        _add(root, Path(shutil.which(tool) or _missing(tool)))
    for path in _needed(root) if tools else ():
        _add(root, path)
    shutil.copytree(PROJECT / "tests", there / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(PROJECT / "pyproject.toml", there)
    (root / "init").write_text(INIT.format(there=THERE, python=_python(cache), program=program))
    (root / "init").chmod(0o755)
    (root / "told.json").write_text(json.dumps(told))
    return _archive(root, cache / "own.cpio")


def _add_python(root: Path, python: Path) -> None:
    """Add an environment, and the Python that it was made of."""
    shutil.copytree(python.parents[1], _in(root, python.parents[1]), symlinks=True)
    library = Path(sysconfig.get_path("stdlib"))
    unwanted = shutil.ignore_patterns(*NOT_NEEDED, "config-*")
    shutil.copytree(library, _in(root, library), symlinks=True, ignore=unwanted)
    _add(root, python.resolve())
    chain = python.readlink() if python.is_symlink() else python
    if chain.is_absolute() and not _in(root, chain).exists():  # /usr/bin/python3, which is python3.11
        _add(root, chain)


def _needed(root: Path) -> Iterator[Path]:
    """Yield the shared libraries that what is in a folder asks for."""
    files = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    programs = [str(path) for path in files if _is_elf(path)]
    said = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=False).stdout
    for one in sorted(set(re.findall(r"(?:=> |^\t)(/\S+)", said, re.M))):
        if not Path(one).is_relative_to(root):
            yield Path(one)


def _is_elf(path: Path) -> bool:
    with path.open("rb") as opened:
        return opened.read(4) == b"\x7fELF"


def _library(name: str) -> Path:
    known = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    found = re.search(rf"^\s*{re.escape(name)} .*x86-64.* => (\S+)$", known, re.M)
    return Path(found[1]) if found else _missing(name)


def _missing(name: str) -> Any:
    raise ImageError(f"{name} is not on this machine; apt-get install the package that has it")


def _in(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


def _add(root: Path, path: Path) -> None:
    target = _in(root, path)
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        shutil.copy2(path, target)


def _archive(root: Path, target: Path) -> Path:
    names = "\n".join(_names(root))
    with target.open("wb") as out:
        command = ["cpio", "-o", "-H", "newc", "--quiet", "-R", "0:0"]
        subprocess.run(command, cwd=root, input=names.encode(), stdout=out, check=True)
    return target


def _names(root: Path) -> Iterable[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ImageError(f"{' '.join(command)} failed: {done.stderr.strip()[-1000:]}")
