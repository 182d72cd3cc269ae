"""
Runs the talk page of the web examples in Chromium.

The command is ``python -m tests.conformance.web_talk``. The page talks to the server of
``examples/web_talk_flask.py`` and its emulator, over the relay and over WebRTC. The page's
microphone is a recording of the emulator's own voice. The command exits with 1 if a check fails,
and with 2 if Chromium or another program is missing. It takes about two minutes, and the machine
must be fast enough for audio in real time.

``--pictures FOLDER`` writes screenshots of the page.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import wave
from pathlib import Path

from inworld_sync import AudioConfig, Inworld
from tests.conformance.clients import CLIENTS
from tests.conformance.environments import SetupFailed, default_cache, python_environment
from tests.conformance.runner import PROGRAMS, check_programs

EXAMPLE = Path(__file__).parents[2] / "examples" / "web_talk_flask.py"
RATE_HZ = 48000
PROGRAM_SECONDS = 480
# For each turn, the second in the recording at which its text begins, and the text. The reply to
# the first turn takes more than a minute, so every machine is fast enough to interrupt this reply.
OPEN_TURNS = ((6.0, "Count to ninety."), (22.0, "Say good morning."))
PUSH_TURNS = ((6.0, "Say good morning."),)
# The button is released so long after the microphone was opened.
PUSH_MS = 10000


def record_turns(path: Path, turns: tuple[tuple[float, str], ...]) -> str:
    """Write the recording of a microphone."""
    with Inworld(local=True) as iw, wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        for second, text in turns:
            file.writeframes(bytes(2 * (round(second * RATE_HZ) - file.getnframes())))
            file.writeframes(iw.tts.synthesize(text, audio=AudioConfig("PCM", RATE_HZ)).data)
        file.writeframes(bytes(2 * 60 * RATE_HZ))
    return str(path)


def run_page(python: Path, folder: Path, pictures: str | None) -> int:
    """Run the program that drives the browser. Return its exit status."""
    # The development server of Flask sends an HTTP response into a WebSocket that has ended, and
    # the browser reports this as an error.
    server = [sys.executable, "-m", "gunicorn", "--chdir", str(EXAMPLE.parent)]
    options = ["--threads", "16", "--graceful-timeout", "1", "--bind", "127.0.0.1:PORT"]
    site = [*server, *options, f"{EXAMPLE.stem}:app"]
    wanted = json.dumps(
        {
            "command": site,
            "open": record_turns(folder / "open.wav", OPEN_TURNS),
            "push": record_turns(folder / "push.wav", PUSH_TURNS),
            "push_ms": PUSH_MS,
            "pictures": pictures,
        }
    )
    command = [str(python), str(PROGRAMS / "web_talk_page.py"), wanted]
    try:
        return subprocess.run(command, check=False, timeout=PROGRAM_SECONDS).returncode
    except subprocess.TimeoutExpired:
        sys.stderr.write(f"the browser did not end within {PROGRAM_SECONDS} s\n")
        return 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.web_talk")
    parser.add_argument("--pictures", metavar="FOLDER", help="write screenshots to this folder")
    pictures = parser.parse_args().pictures
    [client] = [each for each in CLIENTS if each.name == "Chromium"]
    try:
        check_programs(client)
        python = python_environment(default_cache(), client.name, client.packages)
    except SetupFailed as error:
        sys.stderr.write(f"{error}\n")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        return min(run_page(python, Path(folder), pictures), 1)


if __name__ == "__main__":
    sys.exit(main())
