"""
Send real signals to a program that uses the client. No call may hang, and no object may break.

Run this program with ``python tests/signal_storm.py --signals 5000``. The test suite does not run
it. The handler of each signal raises an exception on the main thread, at any instruction of
``send``, ``read``, ``wait``, ``interrupt`` or ``close``. Afterwards other threads use and close the
same objects. If one of these calls does not end, the program prints all stacks and exits with
status 1.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import itertools
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from types import FrameType

from inworld_sync import Inworld, InworldError, NullSpeaker
from inworld_sync.audio.playout import Playout
from inworld_sync.devices.playout_sink import PlayoutSink
from inworld_sync.emulator import Emulator

from support.spelling import SpellingSynthesizer

# A call that takes longer than this time counts as a hang.
HANG_SECONDS = 30.0


class Interrupted(Exception):
    """The exception that the signal handler raises."""


class Storm:
    """Counts the signals. The signal handler raises an exception only while a call is tested."""

    def __init__(self, seed: int) -> None:
        self.signals = 0
        self.hits: Counter[str] = Counter()
        self._is_armed = False
        self._chance = random.Random(seed)
        signal.signal(signal.SIGALRM, self._handle)

    def _handle(self, _: int, __: FrameType | None) -> None:
        if self._is_armed:
            self._is_armed = False
            self.signals += 1
            raise Interrupted

    def strike(self, call: Callable[[], object]) -> None:
        """Call a function, and send one signal to this process after a random time."""
        try:
            self._is_armed = True
            signal.setitimer(signal.ITIMER_REAL, self._chance.uniform(1e-5, 4e-3))
            call()
            self._is_armed = False
        except Interrupted:
            self.hits[getattr(call, "__name__", "call")] += 1
        except InworldError:
            self._is_armed = False
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)


def ends(call: Callable[[], object]) -> None:
    """Call a function on another thread. If the call does not end, print all stacks and exit."""

    def run() -> None:
        with contextlib.suppress(InworldError):
            call()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(HANG_SECONDS)
    if thread.is_alive():
        sys.stderr.write(f"{call} hangs" + "\n")
        faulthandler.dump_traceback(all_threads=True)
        # The threads that hang would delay a normal exit.
        sys.stderr.flush()
        os._exit(1)


def contexts(iw: Inworld, storm: Storm) -> None:
    connection = iw.tts.connect()
    context = connection.context()

    def send() -> None:
        for _ in range(20):
            context.send("One. Two.")
            context.flush()

    def wait() -> None:
        for _ in zip(range(20), context.audio(0.05), strict=False):
            pass

    for call in (send, wait, send, context.interrupt, context.close, connection.close):
        storm.strike(call)
    ends(lambda: context.send("Three.", timeout=1))
    ends(context.interrupt)
    ends(context.close)
    ends(connection.close)


def playouts(_: Inworld, storm: Storm) -> None:
    playout = Playout(24000)
    sink = PlayoutSink(playout)

    def read() -> None:
        out = bytearray(480)
        for _ in range(200):
            playout.push(out)
            playout.read(out)

    def write() -> None:
        sink.write(bytes(48000), timeout=0.01)

    for call in (read, write, read, sink.clear, read):
        storm.strike(call)
    ends(lambda: playout.read(bytearray(480)))
    ends(sink.clear)
    ends(sink.close)
    ends(playout.close)


def playbacks(iw: Inworld, storm: Storm) -> None:
    speaker = NullSpeaker(24000)
    playback = iw.tts.speak("One. Two. Three.", speaker=speaker)

    def wait() -> None:
        playback.wait(0.01)

    for call in (wait, wait, playback.interrupt):
        storm.strike(call)
    ends(playback.interrupt)
    ends(playback.wait)
    ends(speaker.close)


def sessions(iw: Inworld, storm: Storm) -> None:
    rt = iw.realtime.connect()

    def send() -> None:
        for _ in range(20):
            rt.send_audio(bytes(960))

    def wait() -> None:
        rt.send_message("Hello.")
        for _ in zip(range(20), rt.events(0.02), strict=False):
            pass

    for call in (send, wait, send, rt.interrupt, wait, rt.close):
        storm.strike(call)
    ends(lambda: rt.send_audio(bytes(960)))
    ends(rt.interrupt)
    ends(rt.close)


def streams(iw: Inworld, storm: Storm) -> None:
    stream = iw.stt.stream()

    def send() -> None:
        for _ in range(20):
            stream.send(bytes(320))

    def wait() -> None:
        for _ in stream.events(0.01):
            pass

    for call in (send, wait, send, lambda: stream.close(1)):
        storm.strike(call)
    ends(lambda: stream.send(bytes(320), timeout=1))
    ends(lambda: stream.close(1))


def main() -> None:
    """Run the storm. Exit with an error if a call hangs or a thread of the client still runs."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--signals", type=int, default=5000)
    options.add_argument("--seed", type=int, default=int(time.time()))
    chosen = options.parse_args()
    sys.stdout.write(f"seed {chosen.seed}\n")
    storm, began = Storm(chosen.seed), time.monotonic()
    with Emulator(synthesizer=SpellingSynthesizer()) as server:
        with Inworld(api_key=server.api_key, base_url=server.url) as iw:
            for use in itertools.cycle((contexts, playouts, playbacks, sessions, streams)):
                use(iw, storm)
                if storm.signals >= chosen.signals:
                    break
            ends(iw.close)
        left = [t.name for t in threading.enumerate() if t.name.startswith("inworld-")]
        left = [name for name in left if "emulator" not in name]
    seconds = time.monotonic() - began
    sys.stdout.write(f"{storm.signals} signals in {seconds:.0f} s: {dict(storm.hits)}\n")
    if left:
        sys.exit(f"threads are left: {left}")


if __name__ == "__main__":
    main()
