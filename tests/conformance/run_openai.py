"""
Run OpenAI's Realtime client against a local server: ``python tests/conformance/run_openai.py``.

Makes a virtual environment of its own in a temporary folder (or keeps one, with ``--venv``) and
installs the newest ``openai[realtime]`` there. Needs an index to install from.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from inworld_sync.audio.resample import Resampler
from inworld_sync.emulator import Emulator, Settings
from inworld_sync.emulator.synthesis import default_synthesizer
from inworld_sync.emulator.voices import VOICES

LIBRARY = "openai[realtime]"
SCRIPT = Path(__file__).with_name("openai_realtime.py")
QUESTION = "What is the weather in London?"


def python_of(folder: Path) -> Path:
    """Return the environment's interpreter; make the environment if there is none."""
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", LIBRARY], check=True)
    return python


def spoken(text: str) -> bytes:
    """Return the text in the server's own voice, as PCM at 24 kHz."""
    synthesizer = default_synthesizer()
    resampler = Resampler(synthesizer.sample_rate_hz, 24000)
    pcm = b"".join(sentence.pcm for sentence in synthesizer.speak(text, VOICES[0]))
    return resampler.feed(pcm) + resampler.finish()


def run(folder: Path) -> int:
    python = python_of(folder)
    subprocess.run([python, "-m", "pip", "show", "--quiet", "openai"], check=True)
    with tempfile.TemporaryDirectory() as temporary:
        question = Path(temporary) / "question.pcm"
        question.write_bytes(spoken(QUESTION))
        with Emulator(settings=Settings(pace=4)) as server:
            command = [python, SCRIPT, server.url, server.api_key, question]
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
