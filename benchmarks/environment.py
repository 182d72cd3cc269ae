"""
The virtual environment with the peers: the libraries with which the package is compared.

There is one under ``build/`` for each Python version. It is created at the first run, and again
when ``peers.txt`` changes. The package itself comes from the checkout, with the core that was
built there. The core uses the stable ABI, so it works with every Python version.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

__all__ = ["ROOT", "peers_python"]

ROOT = Path(__file__).parent.parent
PEERS = ROOT / "benchmarks" / "peers.txt"


def peers_python() -> Path:
    """Return the interpreter of the environment, which is created if necessary."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = ROOT / "build" / f"benchmarks-{version}"
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    stamp = folder / "peers.txt"
    wanted = PEERS.read_text(encoding="utf-8")
    if python.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    print(f"installing the peers in {folder}", file=sys.stderr)
    venv.create(folder, with_pip=True, clear=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", PEERS], check=True)
    stamp.write_text(wanted, encoding="utf-8")
    return python
