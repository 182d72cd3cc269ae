"""
Runs the talk page of the web examples in Chromium.

The command is ``python -m tests.conformance.web_talk``. The page connects to the server of
``examples/web_talk_flask.py``, which uses the emulator. The page uses the relay first, and WebRTC
afterwards. With ``--server django``, the page connects to the server of
``examples/web_talk_django.py``. The page's microphone is a recording of the emulator's own voice.
The command exits with 1 if a check fails, and with 2 if Chromium or another program is missing. The
command takes about two minutes, and needs a machine that is fast enough for audio in real time.

``--pictures FOLDER`` also writes screenshots of the page.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import wave
from pathlib import Path

from inworld_sync import AudioConfig, Inworld
from tests.conformance.clients import CLIENTS
from tests.conformance.environments import SetupFailed, default_cache, python_environment
from tests.conformance.runner import PROGRAMS, check_programs

EXAMPLES = Path(__file__).parents[2] / "examples"
# The module and the arguments of each server. The development server of Flask is not used, because
# it sends an HTTP response into a WebSocket that has ended. The browser reports this response as an
# error.
SERVERS = {
    "flask": (
        *("gunicorn", "--chdir", str(EXAMPLES), "--threads", "16", "--graceful-timeout", "1"),
        *("--bind", "127.0.0.1:PORT", "web_talk_flask:app"),
    ),
    "django": (
        *("uvicorn", "--app-dir", str(EXAMPLES), "--timeout-graceful-shutdown", "1"),
        *("--log-level", "warning", "--port", "PORT", "web_talk_django:application"),
    ),
}
RATE_HZ = 48000
PROGRAM_SECONDS = 480
STOP_SECONDS = 10
# Each turn has the position of its text in the recording, in seconds, and the text. The audio of
# the first reply lasts more than a minute, so the second text interrupts this reply on every
# machine.
OPEN_TURNS = ((6.0, "Count to ninety."), (22.0, "Say good morning."))
PUSH_TURNS = ((6.0, "Say good morning."),)
# The button is released this many milliseconds after the microphone was opened.
PUSH_MS = 10000


def record_turns(path: Path, turns: tuple[tuple[float, str], ...]) -> str:
    """Write a recording of the turns for the microphone, and return the path of the file."""
    with Inworld(local=True) as iw, wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        for second, text in turns:
            file.writeframes(bytes(2 * (round(second * RATE_HZ) - file.getnframes())))
            file.writeframes(iw.tts.synthesize(text, audio=AudioConfig("PCM", RATE_HZ)).data)
        file.writeframes(bytes(2 * 60 * RATE_HZ))
    return str(path)


def run_page(python: Path, folder: Path, server: str, pictures: str | None) -> int:
    """Run the program that drives the browser, and return the program's exit status."""
    wanted = json.dumps(
        {
            "command": [sys.executable, "-m", *SERVERS[server]],
            "open": record_turns(folder / "open.wav", OPEN_TURNS),
            "push": record_turns(folder / "push.wav", PUSH_TURNS),
            "push_ms": PUSH_MS,
            "pictures": pictures,
        }
    )
    command = [str(python), str(PROGRAMS / "web_talk_page.py"), wanted]
    # The program, the browser and the server are one process group, so that all of them can be
    # ended at once.
    program = subprocess.Popen(command, start_new_session=True)
    try:
        return program.wait(PROGRAM_SECONDS)
    except subprocess.TimeoutExpired:
        sys.stderr.write(f"the browser did not end within {PROGRAM_SECONDS} s\n")
        return 1
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)
        program.wait(STOP_SECONDS)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.web_talk")
    parser.add_argument("--server", choices=SERVERS, default="flask", help="flask by default")
    parser.add_argument("--pictures", metavar="FOLDER", help="write screenshots to this folder")
    arguments = parser.parse_args()
    [client] = [each for each in CLIENTS if each.name == "Chromium"]
    try:
        check_programs(client)
        module = SERVERS[arguments.server][0]
        if importlib.util.find_spec(module) is None:
            raise SetupFailed(f"the package {module} is not installed")
        python = python_environment(default_cache(), client.name, client.packages)
    except SetupFailed as error:
        sys.stderr.write(f"{error}\n")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        status = run_page(python, Path(folder), arguments.server, arguments.pictures)
        return 1 if status else 0


if __name__ == "__main__":
    sys.exit(main())
