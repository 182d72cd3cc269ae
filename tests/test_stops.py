"""A process that was stopped, for example while a laptop slept, keeps its connections."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from inworld_sync.emulator import Emulator

from support import scripted, scripted_realtime
from support.peers import Peer, serve
from support.scripted import KEY
from support.spelling import SpellingSynthesizer

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="this system has no SIGSTOP")

# The timeout of the calls in the stopped programs.
TIMEOUT_SECONDS = 1.0
PATIENCE_SECONDS = 60.0


class Program:
    """A Python program in a process of its own, which the test stops and continues."""

    def __init__(self, source: str, url: str, key: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", source, url, key],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        """Return the next line of the output."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def enter(self) -> None:
        """Send a line to the program, which waits in input()."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def stop(self) -> None:
        """Stop the process, and return when all its threads have stopped."""
        os.kill(self._process.pid, signal.SIGSTOP)
        _, status = os.waitpid(self._process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)

    def resume(self) -> None:
        """Continue the stopped process."""
        os.kill(self._process.pid, signal.SIGCONT)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


@contextlib.contextmanager
def running(source: str, url: str, key: str) -> Iterator[Program]:
    program = Program(source, url, key)
    try:
        yield program
    finally:
        program.close()


_IDLE = """
import sys, threading
from collections import Counter
from inworld_sync import Inworld, NullSpeaker

pings, changed = Counter(), threading.Condition()

def on_trace(event):
    with changed:
        pings[event.connection.partition("-")[0]] += event.name == "ping"
        changed.notify_all()

iw = Inworld(
    api_key=sys.argv[2], base_url=sys.argv[1], on_trace=on_trace,
    ping_interval=0.2, ping_timeout=1.0,
)
connection = iw.tts.connect()
context = connection.context()
stream = iw.stt.stream()
rt = iw.realtime.connect()
key = rt.key
while True:
    print("idle", flush=True)
    if input() == "end":
        break
    # A connection that counts as lost answers no more pings.
    with changed:
        before = Counter(pings)
        done = changed.wait_for(
            lambda: all(pings[name] >= before[name] + 3 for name in ("tts", "stt", "realtime")), 60
        )
    context.send("Hi.")
    context.flush()
    chunk = next(context.audio(60))
    rt.send_message("Hello.").wait(60)
    stream.send(bytes(3200))
    print(done, connection.ended, stream.stats.reconnects, rt.key == key, flush=True)
"""


def test_idle_connections_survive_a_stop() -> None:
    """After a stop that lasted longer than ``ping_timeout``, no live connection is lost."""
    with (
        Emulator(synthesizer=SpellingSynthesizer()) as server,
        running(_IDLE, server.url, server.api_key) as program,
    ):
        for _ in range(2):
            assert "idle" == program.line()
            program.stop()
            time.sleep(1.5)
            program.resume()
            program.enter()
            assert "True None 0 True" == program.line()


class Answers:
    """Makes a scripted service send its answer while the client is stopped."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.client_is_stopped = threading.Event()
        self.answered = threading.Event()

    @contextlib.contextmanager
    def while_stopped(self) -> Iterator[None]:
        """Wait until the client is stopped. The script sends its answer in the ``with`` block."""
        self.asked.set()
        assert self.client_is_stopped.wait(PATIENCE_SECONDS)
        yield
        self.answered.set()


def tts_service(peer: Peer, answers: Answers) -> None:
    service = scripted.Service(peer, 1)
    context_id = service.until("close_context")
    with answers.while_stopped():
        service.speak(context_id, bytes(480))
    service.until_left()


def stt_service(peer: Peer, answers: Answers) -> None:
    service = scripted.Service(peer, 1)
    while "closeStream" not in service.request():
        pass
    with answers.while_stopped():
        final = {"transcript": "hi", "isFinal": True}
        service.send({"result": {"transcription": final}})
        service.send({"result": {"usage": {"transcribedAudioMs": 1000, "modelId": "m"}}})
    service.until_left()


def realtime_service(peer: Peer, answers: Answers) -> None:
    service = scripted_realtime.Service(peer, 1)
    service.open()
    service.until("session.update")
    with answers.while_stopped():
        service.event("session.updated", session=service.session)
    service.until_left()


def response_service(peer: Peer, answers: Answers) -> None:
    service = scripted_realtime.Service(peer, 1)
    service.open()
    request = service.request()
    with answers.while_stopped():
        service.speak(request, 1, "Hello.")
    service.until_left()


_HEAD = """
import sys
from inworld_sync import Inworld
from inworld_sync.realtime import Session
iw = Inworld(api_key=sys.argv[2], base_url=sys.argv[1], close_timeout=0.1)
"""

# For each name: the service, a program that prints its result, and the result.
WAITS: dict[str, tuple[Callable[[Peer, Answers], None], str, str]] = {
    "tts": (
        tts_service,
        """
connection = iw.tts.connect()
with connection.context(message_timeout=1.0, create_timeout=1.0) as context:
    context.send("Hi.")
print(sum(len(chunk.data) for chunk in context.audio()))
""",
        "480",
    ),
    "stt": (
        stt_service,
        """
stream = iw.stt.stream(sample_rate_hz=16000)
stream.send(b"\\0\\x20\\0\\xe0" * 8000)
print(stream.close(1.0).text)
""",
        "hi",
    ),
    "update": (
        realtime_service,
        """
rt = iw.realtime.connect()
print(rt.update(Session(instructions="Be brief."), timeout=1.0) is not None)
""",
        "True",
    ),
    "response": (
        response_service,
        """
rt = iw.realtime.connect(response_start_timeout=1.0)
print(rt.send_message("Hi.").wait(30).status)
""",
        "completed",
    ),
}


# A call with a timeout notices the stop of the process only if the call ends more than a second
# late.
@pytest.mark.parametrize(
    ("name", "late_seconds"),
    [("tts", 0.3), ("tts", 1.5), ("stt", 0.3), ("stt", 1.5), ("update", 1.5), ("response", 0.3)],
)
def test_an_answer_that_arrives_during_a_stop(name: str, late_seconds: float) -> None:
    """If the deadline passed while the process was stopped, a waiting answer is still read."""
    service, source, expected = WAITS[name]
    answers, connections = Answers(), itertools.count()

    def script(peer: Peer) -> None:
        assert next(connections) == 0, "the client has opened another connection"
        service(peer, answers)

    with (
        serve(script) as server,
        running(_HEAD + source, f"ws://127.0.0.1:{server.port}", KEY) as program,
    ):
        assert answers.asked.wait(PATIENCE_SECONDS)
        program.stop()
        answers.client_is_stopped.set()
        assert answers.answered.wait(PATIENCE_SECONDS)
        time.sleep(TIMEOUT_SECONDS + late_seconds)
        program.resume()
        assert expected == program.line()
