"""
Runs the page of ``examples/browser_call.py`` in Chromium.

The command is ``python -m tests.conformance.browser_call``. The page calls the emulator over WebRTC
with a minted token. The page's microphone is a recording of the emulator's own voice. The command
exits with 1 if a check fails, and with 2 if Chromium or another program is missing. The command
takes about 45 s, and the machine must be fast enough for audio in real time.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
import wave
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from inworld_sync import AudioConfig, Inworld
from tests.conformance.clients import CLIENTS
from tests.conformance.environments import SetupFailed, default_cache, python_environment
from tests.conformance.runner import PROGRAMS, check_programs

EXAMPLE = Path(__file__).parents[2] / "examples" / "browser_call.py"
RATE_HZ = 48000
PROGRAM_SECONDS = 180
# Each turn has the position of its text in the recording, in seconds, and the text. The audio of
# the first reply lasts more than a minute, so the second text interrupts this reply on every
# machine. The button of the page interrupts the last reply.
TURNS = ((9.0, "Count to ninety."), (18.0, "Say good morning."), (28.0, "Count to ninety."))


def record_turns(path: Path) -> None:
    """Write the recording that the browser uses as its microphone."""
    with Inworld(local=True) as iw, wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        for second, text in TURNS:
            file.writeframes(bytes(2 * (round(second * RATE_HZ) - file.getnframes())))
            file.writeframes(iw.tts.synthesize(text, audio=AudioConfig("PCM", RATE_HZ)).data)
        file.writeframes(bytes(2 * 60 * RATE_HZ))


def load_example() -> ModuleType:
    """Import the example. The import starts an emulator."""
    os.environ["INWORLD_SYNC_LOCAL"] = "1"
    spec = importlib.util.spec_from_file_location("browser_call_example", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def served_example() -> Iterator[str]:
    """Serve the example. Yield the address of its page."""
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    example = load_example()
    site = make_server("127.0.0.1", 0, example.app, threaded=True)
    thread = threading.Thread(target=site.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{site.server_port}/"
    finally:
        site.shutdown()
        thread.join()
        site.server_close()
        example.iw.close()
        example.emulator.close()


def run_page(python: Path, microphone: Path) -> int:
    """Run the program that drives the browser. Return its exit status."""
    with served_example() as url:
        wanted = json.dumps({"url": url, "microphone": str(microphone)})
        command = [str(python), str(PROGRAMS / "browser_call_page.py"), wanted]
        try:
            return subprocess.run(command, check=False, timeout=PROGRAM_SECONDS).returncode
        except subprocess.TimeoutExpired:
            sys.stderr.write(f"the browser did not end within {PROGRAM_SECONDS} s\n")
            return 1


def main() -> int:
    [client] = [each for each in CLIENTS if each.name == "Chromium"]
    try:
        check_programs(client)
        python = python_environment(default_cache(), client.name, client.packages)
    except SetupFailed as error:
        sys.stderr.write(f"{error}\n")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        microphone = Path(folder) / "microphone.wav"
        record_turns(microphone)
        return min(run_page(python, microphone), 1)


if __name__ == "__main__":
    sys.exit(main())
