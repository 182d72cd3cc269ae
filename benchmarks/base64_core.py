"""
Compare base64 in C, without Python, with libbase64 and simdutf.

Run the program with ``python -m benchmarks.base64_core``. libbase64 is built from the source
distribution of pybase64. The build needs cmake and a C compiler. simdutf is not on PyPI, but
Node.js contains simdutf. If ``node`` is on the PATH, the C program is built as an addon of Node.js,
and also measures simdutf.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from benchmarks.environment import ROOT, peers_python

PROGRAM = ROOT / "benchmarks" / "c" / "base64_peers.c"
AREAS = ("base64", "common", "g711", "pcm", "ws")
FOLDER = ROOT / "build" / "base64-core"


def main() -> int:
    """Build and run the C program."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    library = libbase64()
    node = shutil.which("node")
    sources = [path for area in AREAS for path in sorted((ROOT / "csrc" / area).glob("*.c"))]
    place = FOLDER / ("base64_peers.node" if node else "base64_peers")
    as_plugin = ["-shared", "-fPIC", "-DSIMDUTF_OF_NODE"] if node else []
    subprocess.run(
        [
            *("cc", "-O3", "-std=gnu11", "-ffp-contract=off", "-I", str(ROOT / "csrc")),
            *("-DLIBBASE64", "-I", str(library / "include"), *as_plugin, "-o", str(place)),
            *(str(PROGRAM), *map(str, sources), str(library / "built" / "libbase64.a")),
        ],
        check=True,
    )
    print(platform.platform(), platform.processor(), f"libbase64 of {library.parent.name}")
    if node is None:
        return subprocess.run([place]).returncode
    version = subprocess.run(
        [node, "-p", "process.versions.simdutf"], check=True, capture_output=True, text=True
    )
    print(f"simdutf {version.stdout.strip()} of Node.js", flush=True)
    load = f"process.dlopen({{exports: {{}}}}, {str(place)!r})"
    return subprocess.run([node, "-e", load]).returncode


def libbase64() -> Path:
    """Build libbase64 if it is not built yet. Return the folder of its source."""
    python = peers_python()
    asked = "import importlib.metadata as m; print(m.version('pybase64'))"
    found = subprocess.run([python, "-c", asked], check=True, capture_output=True, text=True)
    name = f"pybase64-{found.stdout.strip()}"
    source = FOLDER / name / "base64"
    if not (source / "built" / "libbase64.a").exists():
        pip = [str(python), "-m", "pip"]
        subprocess.run([*pip, "install", "--quiet", "setuptools"], check=True)
        wanted = ["--no-deps", "--no-build-isolation", "--no-binary", "pybase64"]
        subprocess.run(
            [*pip, "download", "--quiet", *wanted, "--dest", str(FOLDER), name.replace("-", "==")],
            check=True,
        )
        with tarfile.open(FOLDER / f"{name}.tar.gz") as archive:
            archive.extractall(FOLDER, filter="data")
        built = str(source / "built")
        options = ["-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_POSITION_INDEPENDENT_CODE=ON"]
        options += ["-DBASE64_BUILD_CLI=OFF", "-DBUILD_SHARED_LIBS=OFF"]
        for command in (["-S", str(source), "-B", built, *options], ["--build", built]):
            subprocess.run(["cmake", *command], check=True, stdout=subprocess.DEVNULL)
    return source


if __name__ == "__main__":
    sys.exit(main())
