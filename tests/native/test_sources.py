"""Each C source compiles alone and without warnings, and exports only names of this package."""

from __future__ import annotations

import functools
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

from inworld_sync._native import _core

ROOT = Path(__file__).resolve().parents[2]
CSRC = ROOT / "csrc"
SOURCES = sorted(CSRC.glob("*/*.c"))
HEADERS = sorted(CSRC.glob("*/*.h"))

posix = pytest.mark.skipif(sys.platform == "win32", reason="the options are those of gcc and clang")
elf = pytest.mark.skipif(sys.platform != "linux", reason="reads ELF symbols")


def compilers() -> list[list[str]]:
    """Return the compiler of this Python, and gcc and clang if they are installed."""
    words = [shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[:1]]
    words += [[name] for name in ("gcc", "clang")]
    found = {os.path.realpath(path): [path] for [word] in words if (path := shutil.which(word))}
    return list(found.values())


def strict(compiler: list[str], path: Path, *arguments: str) -> str:
    """Compile one file with all warnings as errors. Return the compiler's output."""
    process = subprocess.run(
        [
            *compiler,
            *("-std=c11", "-O2", "-fvisibility=hidden", "-I", str(CSRC)),
            *("-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Wstrict-prototypes", "-Werror"),
            *("-x", "c", str(path)),
            *arguments,
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    return process.stderr if process.returncode else ""


# A function that compiles a file and returns the compiler's output and the object file.
Compiled = Callable[[Path, str], tuple[str, Path]]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """Return a function that compiles a file with warnings as errors, once for all tests."""
    place = tmp_path_factory.mktemp("objects")

    @functools.cache
    def compiled(path: Path, compiler: str) -> tuple[str, Path]:
        target = place / f"{path.parent.name}_{path.name}_{Path(compiler).name}.o"
        # A header that is compiled alone has unused inline functions.
        words = ["-Wno-unused-function"] if path.suffix == ".h" else []
        return strict([compiler], path, *words, "-c", "-o", str(target)), target

    return compiled


def symbols(*arguments: str) -> set[str]:
    lines = subprocess.run(
        ["nm", *arguments], capture_output=True, text=True, check=True, timeout=60
    ).stdout.splitlines()
    return {line.split()[-1] for line in lines if len(line.split()) == 3}


@posix
def test_there_is_a_compiler() -> None:
    """There is at least one compiler for the tests below."""
    assert compilers()


@posix
@pytest.mark.parametrize("compiler", compilers(), ids=lambda words: Path(words[0]).name)
@pytest.mark.parametrize("path", [*SOURCES, *HEADERS], ids=lambda path: path.name)
def test_no_warning(path: Path, compiler: list[str], compiled: Compiled) -> None:
    """Each source file compiles without a warning. Each header also compiles alone."""
    assert compiled(path, compiler[0])[0] == ""


@elf
@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_global_names_have_our_prefix(path: Path, compiled: Compiled) -> None:
    """A name that is visible outside its object file begins with iw_ or iwp_."""
    _, code = compiled(path, compilers()[0][0])
    foreign = {
        name
        for name in symbols("--defined-only", "--extern-only", str(code))
        if not re.match(r"iwp?_[a-z0-9_]+$", name)
    }

    assert set() == foreign


@elf
def test_extension_exports_its_init_function() -> None:
    """The compiled module exports only its init function."""
    assert {"PyInit__core"} == symbols("--dynamic", "--defined-only", _core.__file__)


@pytest.mark.parametrize("path", [*SOURCES, *HEADERS], ids=lambda path: path.name)
def test_no_header_of_python(path: Path) -> None:
    """No file of the core includes a header of Python."""
    assert "Python.h" not in path.read_text()


@pytest.mark.parametrize("path", [*SOURCES, *HEADERS], ids=lambda path: path.name)
def test_size_limits(path: Path) -> None:
    """A file has at most 500 lines of at most 96 columns. A function has at most 60 lines."""
    lines = path.read_text().splitlines()
    starts = [number for number, line in enumerate(lines) if line == "{"]
    ends = [number for number, line in enumerate(lines) if line == "}"]

    assert len(lines) < 500
    assert max(map(len, lines)) <= 96
    assert max((end - start for start, end in zip(starts, ends, strict=True)), default=0) < 60
