"""When a program ends, its sessions are closed and its playbacks are interrupted."""

from __future__ import annotations

import subprocess
import sys

from support.peers import Peer, serve
from support.scripted import KEY, ScriptEnded, Service

# The program closes nothing, and ends while its speaker plays.
_PROGRAM = """
import sys, time
from inworld_sync import Inworld, NullSpeaker

class Speaker(NullSpeaker):
    def clear(self):
        print("cleared", flush=True)
        return super().clear()

iw = Inworld(base_url=sys.argv[1], api_key=sys.argv[2])
connection = iw.tts.connect()
speaker = Speaker()
playback = iw.tts.speak("Hi.", speaker=speaker)
until = time.monotonic() + 30
while not speaker.heard_samples and time.monotonic() < until:
    time.sleep(0.01)
"""


def test_the_end_of_a_program() -> None:
    """
    The service gets a close frame on each connection, and the speaker drops the rest of the audio.
    """
    closed: list[Service] = []

    def script(peer: Peer) -> None:
        service = Service(peer, 1)
        try:
            context_id = service.until("close_context")
            service.result(context_id, contextCreated={})
            service.audio(context_id, bytes(480_000))
            service.until_left()
        except ScriptEnded:
            closed.append(service)

    with serve(script) as server:
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, f"ws://127.0.0.1:{server.port}", KEY],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert (0, "") == (done.returncode, done.stderr)
    assert {"cleared"} == set(done.stdout.split())
    assert 2 == server.accepted == len(closed)


# A thread makes the client's TTS service while the program ends, so only the end of the interpreter
# finalizes the service.
_LATE_PROGRAM = """
import atexit, threading
from inworld_sync import Inworld

iw = Inworld("a2V5OmtleQ==", base_url="http://127.0.0.1:9")
may_begin = threading.Event()
late = threading.Thread(target=lambda: may_begin.wait() and iw.tts, daemon=True)
late.start()
atexit.register(lambda: (may_begin.set(), late.join(30)))
"""


def test_a_service_that_is_made_while_the_program_ends() -> None:
    """The program ends, because the service's finalizer starts no thread at the program's end."""
    done = subprocess.run([sys.executable, "-c", _LATE_PROGRAM], timeout=60, check=False)

    assert 0 == done.returncode
