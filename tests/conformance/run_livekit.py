"""
Run LiveKit's Inworld plugin against a local server: ``python tests/conformance/run_livekit.py``.

Makes a virtual environment of its own in a temporary folder (or keeps one, with ``--venv``) and
installs the newest ``livekit-plugins-inworld`` there. Needs an index to install from.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from inworld_sync.emulator import Emulator

PLUGIN = "livekit-plugins-inworld"
SCRIPT = Path(__file__).with_name("livekit_tts.py")


def python_of(folder: Path) -> Path:
    """Return the environment's interpreter; make the environment if there is none."""
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", PLUGIN], check=True)
    return python


def run(folder: Path) -> int:
    python = python_of(folder)
    subprocess.run([python, "-m", "pip", "show", "--quiet", PLUGIN], check=True)
    with Emulator() as server:
        command = [python, SCRIPT, server.url, server.ws_url, server.api_key]
        return subprocess.run(command, check=False).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--venv", type=Path, help="keep the environment in this folder")
    folder = parser.parse_args().venv
    if folder is not None:
        return run(folder)
    with tempfile.TemporaryDirectory() as temporary:
        return run(Path(temporary))


if __name__ == "__main__":
    sys.exit(main())
