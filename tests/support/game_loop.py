"""Runs the loop of a game in virtual time, and checks that a thread does not wait."""

from __future__ import annotations

import math
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from inworld_sync import AudioEncoding, Speech
from inworld_sync.games import GameVoice
from inworld_sync.models.tts import Viseme, WordTime

from support.peers import PATIENCE_SECONDS

FRAME_SECONDS = 1 / 60
RATE_HZ = 24000

# Functions in C that may wait for a network, for another thread's work, or until a time. The
# functions of locks are not in the list, because the start of a thread also acquires a lock.
WAITING = {
    *("accept", "connect", "getaddrinfo", "recv", "recv_into", "recvmsg", "select", "poll"),
    *("send", "sendall", "sendmsg", "sleep", "do_handshake", "read", "write"),
}


def tone(milliseconds: int, amplitude: float) -> bytes:
    """Return a tone of 200 Hz."""
    count = RATE_HZ * milliseconds // 1000
    peak, step = amplitude * 32767, 2 * math.pi * 200 / RATE_HZ
    return struct.pack(f"<{count}h", *(round(peak * math.sin(at * step)) for at in range(count)))


def existing_speech() -> Speech:
    """Return a second of speech with two words and mouth shapes."""
    return Speech(
        tone(1000, 0.4),
        AudioEncoding.PCM,
        RATE_HZ,
        words=(WordTime("one", 0, 400), WordTime("two", 500, 900)),
        tokens=("one", " ", "two"),
        visemes=(Viseme("PP", 0, 100), Viseme("aa", 100, 400), Viseme("ou", 500, 900)),
    )


def run_until(
    voice: GameVoice,
    condition: Callable[[], object],
    *,
    reads: bool = True,
    frames: int | None = None,
) -> bytes:
    """
    Run frames of the loop until a condition is true. Return the audio that was read.

    The time of the game is virtual: each frame lasts a sixtieth of a second. Between two frames,
    other threads may run for a millisecond.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    count = voice.sample_rate_hz // 60 if frames is None else frames
    audio = bytearray()
    while not condition():
        assert time.monotonic() < deadline, f"the condition did not become true: {voice!r}"
        if reads:
            audio += voice.read_audio(count)
        voice.update(FRAME_SECONDS)
        time.sleep(0.001)
    return bytes(audio)


def run_frames(voice: GameVoice, count: int, *, read: bool = True) -> bytes:
    """Run some frames of the loop, and return the audio that was read."""
    audio = bytearray()
    for _ in range(count):
        if read:
            audio += voice.read_audio(voice.sample_rate_hz // 60)
        voice.update(FRAME_SECONDS)
    return bytes(audio)


def run_to_end(voice: GameVoice) -> bytes:
    """Run the loop until the voice is over, and return the audio that was read."""
    return run_until(voice, lambda: voice.is_over)


@contextmanager
def no_waiting_calls() -> Iterator[list[str]]:
    """Record the calls of this thread that may wait, and fail if there are such calls."""
    found: list[str] = []
    thread = threading.current_thread()

    def record(frame: FrameType, event: str, argument: object) -> None:
        name = getattr(argument, "__name__", "")
        if event == "c_call" and name in WAITING and threading.current_thread() is thread:
            found.append(f"{name} in {frame.f_code.co_filename}:{frame.f_lineno}")

    sys.setprofile(record)
    try:
        yield found
    finally:
        sys.setprofile(None)
    if found:
        raise AssertionError(f"the thread of the game waited: {', '.join(found)}")
