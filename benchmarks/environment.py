"""
Creates virtual environments for the packages that the benchmarks compare with this package.

The environments are in ``build/``. Each Python version has its own environments. An environment is
created when it is first needed, and again when its requirements change.

The benchmarks run in the environment of ``peers.txt``. They import this package from the checkout.
The C core in the checkout works with every Python version, because it uses the stable ABI.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

__all__ = ["ROOT", "peers_python", "python_with"]

ROOT = Path(__file__).parent.parent
PEERS = ROOT / "benchmarks" / "peers.txt"


def peers_python() -> Path:
    """Create the environment of ``peers.txt`` if it is missing, and return its interpreter."""
    return python_with("benchmarks", PEERS.read_text(encoding="utf-8"))


def python_with(name: str, requirements: str) -> Path:
    """
    Create an environment in ``build/`` if it is missing, and return its interpreter.

    Args:
        name: Name of the environment.
        requirements: The content of a file for ``pip install -r``. If the content has changed, the
            environment is created again.

    Raises:
        CalledProcessError: A package cannot be installed.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = ROOT / "build" / f"{name}-{version}"
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    stamp = folder / "requirements.txt"
    if python.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == requirements:
        return python
    print(f"installing packages in {folder}", file=sys.stderr)
    venv.create(folder, with_pip=True, clear=True)
    wanted = folder / "wanted.txt"
    wanted.write_text(requirements, encoding="utf-8")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", wanted], check=True)
    wanted.replace(stamp)
    return python
