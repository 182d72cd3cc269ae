"""
Run LiveKit's Inworld plugins against an emulator: ``python tests/conformance/run_livekit.py``.

Creates a virtual environment in a temporary folder, or in a folder that is kept with ``--venv``,
and installs the newest ``livekit-plugins-inworld`` from PyPI there. ``--only stt`` or
``--only tts`` runs only one of the two plugins.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from inworld_sync import AudioConfig, Inworld
from inworld_sync.emulator import Emulator

PLUGIN = "livekit-plugins-inworld"
HERE = Path(__file__).parent
# The spoken text for the STT plugin.
SENTENCE = "The museum opens at ten and closes at six in the evening."


def python_of(folder: Path) -> Path:
    """Return the interpreter of the environment, which is created if necessary."""
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", PLUGIN], check=True)
    return python


def speak(server: Emulator, file: Path) -> None:
    """Write the sentence as 16 kHz mono."""
    with Inworld(base_url=server.url, api_key=server.api_key) as iw:
        iw.tts.synthesize(SENTENCE, audio=AudioConfig("PCM", 16000)).save(file)


def run(folder: Path, only: str | None) -> int:
    python = python_of(folder)
    subprocess.run([python, "-m", "pip", "show", "--quiet", PLUGIN], check=True)
    failed = 0
    with tempfile.TemporaryDirectory() as temporary, Emulator() as server:
        sentence = Path(temporary) / "sentence.wav"
        speak(server, sentence)
        for service in ("tts", "stt"):
            if only in (None, service):
                command = [python, HERE / f"livekit_{service}.py", server.url, server.ws_url]
                command += [server.api_key, *([sentence] if service == "stt" else [])]
                failed += subprocess.run(command, check=False).returncode
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--venv", type=Path, help="keep the environment in this folder")
    parser.add_argument("--only", choices=("stt", "tts"))
    arguments = parser.parse_args()
    if arguments.venv is not None:
        return run(arguments.venv, arguments.only)
    with tempfile.TemporaryDirectory() as temporary:
        return run(Path(temporary), arguments.only)


if __name__ == "__main__":
    sys.exit(main())
