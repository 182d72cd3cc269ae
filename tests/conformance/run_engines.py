"""
Test the smaller speech engines: ``python tests/conformance/run_engines.py``.

Creates an environment for each engine in a temporary folder, with packages from PyPI. eSpeak NG has
the license GPL and is installed only there.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ENGINES = {"py-nanotts": "NanoSynthesizer", "espeakng-loader": "EspeakSynthesizer"}
ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("engines.py")


def run(package: str, engine: str) -> int:
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
        packages = [str(ROOT), "websockets", package]
        subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
        return subprocess.run([python, SCRIPT, engine], cwd=folder, check=False).returncode


if __name__ == "__main__":
    sys.exit(sum(run(package, engine) for package, engine in ENGINES.items()))
