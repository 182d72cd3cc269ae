"""The wheel is built from the sdist and has the right files. The package is imported fast."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Generated files are not copied, because the file list of an earlier build could hide a missing
# file.
LEFTOVERS = shutil.ignore_patterns(
    *(".git", ".venv*", "*.egg-info", "__pycache__", "*.so", "*.pyd", ".*_cache", ".hypothesis"),
    *("build", "dist"),
)
HAS_LIMITED_API = platform.python_implementation() == "CPython" and not sysconfig.get_config_var(
    "Py_GIL_DISABLED"
)
# A variable may request a build with sanitizers. An ordinary Python could not load such a module.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("INWORLD_")}


def run(*arguments: str, cwd: Path, **variables: str) -> str:
    process = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**ENVIRONMENT, **variables},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode == 0, process.stdout[-2000:] + process.stderr[-2000:]
    return process.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Build the sdist of a clean checkout, and the wheel of this sdist. Return both paths."""
    checkout = tmp_path_factory.mktemp("checkout") / "source"
    shutil.copytree(ROOT, checkout, ignore=LEFTOVERS)
    out = tmp_path_factory.mktemp("dist")
    # Both compiled modules are built at the same time.
    config = out / "build.cfg"
    config.write_text("[build_ext]\nparallel = 2\n", encoding="utf-8")
    arguments = ("-m", "build", "--outdir", str(out), str(checkout))
    run(*arguments, cwd=out, DIST_EXTRA_CONFIG=str(config))
    [sdist], [wheel] = out.glob("*.tar.gz"), out.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def wheel_files(built: tuple[Path, Path]) -> set[str]:
    """Return the names of the files in the wheel."""
    with zipfile.ZipFile(built[1]) as wheel:
        return set(wheel.namelist())


def test_sdist_holds_every_source(built: tuple[Path, Path]) -> None:
    """The sdist has all sources of the package and the C core, the build script and the license."""
    with tarfile.open(built[0]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    expected = {
        path.relative_to(ROOT).as_posix()
        for folder in ("csrc", "inworld_sync")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".c", ".h", ".js", ".md", ".py", ".pyi", ".typed"}
        and "/." not in str(path)
    }
    expected |= {"setup.py", "pyproject.toml", "README.md", "LICENSE"}

    assert expected - names == set()


def test_wheel_tag(built: tuple[Path, Path]) -> None:
    """One wheel supports every CPython from 3.10 on that has a GIL; other wheels support one."""
    _, _, python, abi, _ = built[1].stem.split("-")
    own_abi = python + "t" * bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    expected = ("cp310", "abi3") if HAS_LIMITED_API else (python, own_abi)

    assert (python, abi) == expected


def test_wheel_holds_the_package(wheel_files: set[str]) -> None:
    """The wheel has every module, the script for pages, the stub files and py.typed."""
    expected = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "inworld_sync").rglob("*")
        if path.suffix in {".js", ".py", ".pyi", ".typed"}
    }

    assert expected - wheel_files == set()
    assert "inworld_sync/py.typed" in wheel_files


def test_wheel_holds_the_core(wheel_files: set[str]) -> None:
    """The wheel has the compiled C core as a module with the suffix of the limited API."""
    compiled = sorted(name for name in wheel_files if name.endswith((".so", ".pyd")))

    assert [name.partition(".")[0].rpartition("/")[2] for name in compiled] == ["_core"]
    if HAS_LIMITED_API and sys.platform != "win32":
        assert ["." + name.partition(".")[2] for name in compiled] == [".abi3.so"]


def test_wheel_has_no_other_files(wheel_files: set[str]) -> None:
    """The wheel has no C source, no test and no tool."""
    top = {name.partition("/")[0] for name in wheel_files}

    assert {name for name in top if not name.endswith(".dist-info")} == {"inworld_sync"}
    assert {name for name in wheel_files if name.endswith((".c", ".h", ".o", ".pyc"))} == set()


def test_wheel_imports(built: tuple[Path, Path], tmp_path: Path) -> None:
    """The package of the wheel can be imported outside the checkout."""
    with zipfile.ZipFile(built[1]) as wheel:
        wheel.extractall(tmp_path)
    script = (
        "import inworld_sync; from inworld_sync.audio import base64; "
        "print(inworld_sync.__file__); print(base64.decode('AAEC').hex())"
    )
    place, decoded = run("-c", script, cwd=tmp_path, PYTHONPATH=str(tmp_path)).split()

    assert Path(place).resolve() == (tmp_path / "inworld_sync" / "__init__.py").resolve()
    assert decoded == "000102"


# (statement, modules that the statement must not import)
LIGHT = [
    (
        "import inworld_sync",
        {
            *("aiortc", "asyncio", "attrs", "attr", "cattrs", "click", "_cffi_backend", "http"),
            *("json", "numpy", "onnxruntime", "rich", "socket", "sounddevice", "ssl", "urllib3"),
            *("websocket", "websockets"),
        },
    ),
    (
        "import inworld_sync.audio.base64, inworld_sync.audio.pcm, inworld_sync.audio.wav",
        {"asyncio", "attrs", "attr", "cattrs", "numpy", "socket", "ssl", "urllib3", "websocket"},
    ),
    (
        "import inworld_sync.models.options, inworld_sync.wire.tts",
        {"asyncio", "numpy", "socket", "ssl", "urllib3", "websocket", "_cffi_backend"},
    ),
]


@pytest.mark.parametrize(("statement", "forbidden"), LIGHT, ids=[first for first, _ in LIGHT])
def test_import_is_fast(statement: str, forbidden: set[str], tmp_path: Path) -> None:
    """A new process that runs the statement imports none of the slow modules."""
    script = f"import sys; {statement}; print(*sys.modules)"
    loaded = set(run("-c", script, cwd=tmp_path).split())

    assert loaded & forbidden == set()
