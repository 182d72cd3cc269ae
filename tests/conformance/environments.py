"""
Makes the environments of the clients, and keeps them for later runs.

Each environment has the packages of one client.

An environment is a folder in the cache. For PyPI, the folder is a virtual environment. For npm, the
folder has the subfolder ``node_modules``. The name of an environment contains a digest of its
packages and, for PyPI, of the interpreter, so a new version of a package gets a new environment.
The file ``complete`` is written last. A folder without this file is removed and made again.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

VARIABLE = "INWORLD_SYNC_CONFORMANCE_CACHE"
_INSTALL_SECONDS = 1800


class SetupFailed(Exception):
    """A client cannot be installed, or a program that the client needs cannot be found."""


def default_cache() -> Path:
    """Return the folder of the environments."""
    chosen = os.environ.get(VARIABLE)
    return Path(chosen) if chosen else Path.home() / ".cache" / "inworld-sync" / "conformance"


def find_program(name: str) -> str:
    """Return the path of an installed program."""
    found = shutil.which(name)
    if found is None:
        raise SetupFailed(f"the program {name} is not installed")
    return found


def python_environment(cache: Path, name: str, packages: tuple[str, ...]) -> Path:
    """
    Return the interpreter of an environment with packages from PyPI.

    If the environment is not complete, make it first.
    """
    folder, is_new = _prepare(cache, name, (sys.version, *packages))
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if is_new:
        venv.create(folder, with_pip=True)
        _install(name, [str(python), "-m", "pip", "install", "--quiet", *packages], folder)
        (folder / "complete").touch()
    return python


def node_environment(cache: Path, name: str, packages: tuple[str, ...]) -> Path:
    """Return a folder with packages from npm. If the folder is not complete, make it first."""
    folder, is_new = _prepare(cache, name, packages)
    if is_new:
        folder.mkdir(parents=True)
        quiet = ("--no-audit", "--no-fund", "--loglevel=error")
        _install(name, [find_program("npm"), "install", *quiet, "--save-exact", *packages], folder)
        (folder / "complete").touch()
    return folder


def _prepare(cache: Path, name: str, parts: tuple[str, ...]) -> tuple[Path, bool]:
    """Return the folder of an environment, and whether the environment must still be made."""
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
    folder = cache / f"{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}-{digest}"
    if (folder / "complete").exists():
        return folder, False
    shutil.rmtree(folder, ignore_errors=True)
    return folder, True


def _install(name: str, command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_INSTALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SetupFailed(f"{name} was not installed within {_INSTALL_SECONDS} s") from None
    if done.returncode:
        raise SetupFailed(f"{name} cannot be installed:\n{done.stdout[-2000:]}")
