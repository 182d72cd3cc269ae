"""
Run other clients against an emulator: ``python tests/conformance/run_realtime.py``.

There are three unmodified clients in their newest versions: OpenAI's synchronous client and
LiveKit's plugin, on the path of OpenAI's service, and Pipecat's service for Inworld. Each has its
own virtual environment in a temporary folder, or in a folder that is kept with ``--venvs``. The
packages are installed from PyPI.
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

CLIENTS = {
    "openai": "openai[realtime]",
    "livekit": "livekit-plugins-openai",
    "pipecat": "pipecat-ai",
}
QUESTION = "What is the weather in London?"


def python_of(folder: Path, library: str) -> Path:
    """Return the interpreter of the environment, which is created if necessary."""
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", library], check=True)
    return python


def spoken(text: str) -> bytes:
    """Return the speech of a text by the emulator's engine, as PCM at 24 kHz."""
    synthesizer = default_synthesizer()
    resampler = Resampler(synthesizer.sample_rate_hz, 24000)
    pcm = b"".join(sentence.pcm for sentence in synthesizer.speak(text, VOICES[0]))
    return resampler.feed(pcm) + resampler.finish()


def run(folder: Path, names: list[str]) -> int:
    failed = 0
    folder.mkdir(parents=True, exist_ok=True)
    question = folder / "question.pcm"
    question.write_bytes(spoken(QUESTION))
    # Not at full speed, so that replies can be interrupted.
    with Emulator(settings=Settings(pace=4)) as server:
        for name in names:
            python = python_of(folder / name, CLIENTS[name])
            script = Path(__file__).with_name(f"{name}_realtime.py")
            url = server.ws_url if name == "pipecat" else server.url
            sys.stdout.write(f"{name}\n")
            sys.stdout.flush()
            command = [python, script, url, server.api_key, question]
            failed += bool(subprocess.run(command, check=False).returncode)
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(CLIENTS), help="some of the clients")
    parser.add_argument("--venvs", type=Path, help="keep the environments in this folder")
    arguments = parser.parse_args()
    if arguments.venvs is not None:
        return run(arguments.venvs, arguments.names)
    with tempfile.TemporaryDirectory() as temporary:
        return run(Path(temporary), arguments.names)


if __name__ == "__main__":
    sys.exit(main())
