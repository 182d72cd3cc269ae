"""
Run the tests of C and audio with a core that is built with sanitizers in a temporary folder.

    python tests/native/sanitize.py                     # address,undefined
    python tests/native/sanitize.py thread -k threads   # more arguments are passed to pytest

This command needs Linux and gcc. The library of the sanitizer is preloaded, because Python was not
built with this library. malloc replaces Python's allocator. Each bytes object is then a separate
block, and the sanitizer detects an access beyond the block. In a CPython without the GIL, the
allocator cannot be replaced.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COPIED = ["csrc", "inworld_sync", "tests", "pyproject.toml", "setup.py", "README.md", "LICENSE"]
# This test compiles the sources itself, so it does not use the compiled module.
LEFT_OUT = ["--ignore=tests/native/test_sources.py"]
RUNTIMES = {"address": "libasan.so", "thread": "libtsan.so", "undefined": "libubsan.so"}


def runtime_of(sanitizers: str) -> str:
    """Return the library to preload."""
    first = sanitizers.split(",")[0]
    if first not in RUNTIMES:
        raise SystemExit(f"expected one of {', '.join(RUNTIMES)} first, got {first!r}")
    answer = subprocess.run(
        ["gcc", f"-print-file-name={RUNTIMES[first]}"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not Path(answer).is_absolute():
        raise SystemExit(f"gcc has no {RUNTIMES[first]}")
    return answer


def build(place: Path, sanitizers: str) -> None:
    """Copy the sources to *place* and compile the core there."""
    leftovers = shutil.ignore_patterns("*.so", "__pycache__")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, place / name, ignore=leftovers)
        else:
            shutil.copy(ROOT / name, place / name)
    # Build a wheel, because then the build tools of pyproject.toml are used.
    subprocess.run(
        [*(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps"), "-w", place, place],
        env={**os.environ, "CC": "gcc", "INWORLD_SYNC_SANITIZE": sanitizers},
        check=True,
    )
    [wheel] = place.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place, [name for name in archive.namelist() if name.endswith(".so")])


def test(place: Path, sanitizers: str, arguments: list[str]) -> int:
    """Run the tests against the sanitized core and return pytest's exit code."""
    environment = {
        **os.environ,
        "LD_PRELOAD": runtime_of(sanitizers),
        "PYTHONPATH": str(place),
        # The interpreter does not free all memory at exit.
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "TSAN_OPTIONS": "halt_on_error=1:ignore_noninstrumented_modules=1",
    }
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):
        environment["PYTHONMALLOC"] = "malloc"
    # Sanitizers write to file descriptor 2, so pytest must not capture it.
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--capture=sys"]
    return subprocess.run(
        [*command, *LEFT_OUT, "tests/native", "tests/audio", *arguments], cwd=place, env=environment
    ).returncode


def main() -> int:
    sanitizers, arguments = "address,undefined", sys.argv[1:]
    if arguments and not arguments[0].startswith("-"):
        sanitizers, *arguments = arguments
    with tempfile.TemporaryDirectory(prefix="inworld-sync-sanitize-") as folder:
        build(Path(folder), sanitizers)
        return test(Path(folder), sanitizers, arguments)


if __name__ == "__main__":
    sys.exit(main())
