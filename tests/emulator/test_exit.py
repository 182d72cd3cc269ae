"""A process exits cleanly, even if its emulator is busy and was not closed."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys

import pytest

from inworld_sync import Inworld
from inworld_sync.emulator import Emulator

from support.forks import in_child
from support.speech import silence

# Work for the engines. The text or audio is so long that the work does not end before the exit.
WORK = {
    "synthesis": "iw.tts.synthesize(TEXT * 30)",
    "recognition": "iw.stt.stream(max_chunks_per_second=2000).feed(speech * 100)",
    "recognition of a whole recording": (
        "iw.stt.transcribe(speech * 100, sample_rate_hz=16000, method='http', timeout=60)"
    ),
    "conversation": "iw.realtime.connect().send_message('Count to 100').wait()",
}
# The script starts the work on three threads, and exits a moment later.
SCRIPT = """
import sys, threading, time
from inworld_sync import AudioConfig, Inworld

# Exceptions of the threads below at the end of the server are not of interest.
threading.excepthook = lambda arguments: None
TEXT = "The museum opens at ten and closes at six in the evening. "
iw = Inworld(local=True)
speech = bytes(iw.tts.synthesize(TEXT, audio=AudioConfig("PCM", 16000)).pcm)
iw.stt.transcribe(speech, sample_rate_hz=16000, method="http")
for _ in range(3):
    threading.Thread(target=lambda: {work}, daemon=True).start()
time.sleep({seconds})
"""


# The script exits 0.1 s after synthesis has begun, or 0.4 s after each kind of work has begun.
@pytest.mark.parametrize(("work", "seconds"), [("synthesis", 0.1), *((work, 0.4) for work in WORK)])
def test_end_of_the_process(work: str, seconds: float) -> None:
    """
    The engines stop before the interpreter shuts down.

    Otherwise a daemon thread that returns from onnxruntime aborts the process. Without the stop,
    four of five runs of this script were aborted.
    """
    script = SCRIPT.format(work=WORK[work], seconds=seconds)
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )

    assert (0, "", "") == (ended.returncode, ended.stdout, ended.stderr)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_forked_child() -> None:
    """The exit of a forked child does not close the server of its parent."""
    with Emulator() as server, Inworld(api_key=server.api_key, base_url=server.url) as iw:
        with iw.stt.stream() as stream:
            assert "" == in_child(atexit._run_exitfuncs)
            stream.send(silence(0.1))

    assert 0 == stream.stats.reconnects
