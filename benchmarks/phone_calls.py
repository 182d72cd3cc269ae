"""
Measure how evenly the frames of phone calls are sent: ``python -m benchmarks.phone_calls``.

    python -m benchmarks.phone_calls --calls 20 --seconds 30

In each call, a caller sends 20 ms of audio every 20 ms, and a model speaks all the time. The model
runs in another process, and sends 600 ms of mu-law every 100 ms. The carriers run in the process of
the calls, so the CPU time includes the cost of the carriers. A frame is due at the time of the
first frame, plus the duration of the audio before this frame, minus ``LEAD_SECONDS``. The frames of
the first ``LEAD_SECONDS`` are due at once.

At the same time, ``benchmarks.phone_calls_control`` measures in a third process how late the
machine wakes up as many threads that do no work (bare threads). The program prints a row of
percentiles for the frames and a row for the bare threads, the ratio of both, and the CPU time of
one call. The program also counts the late frames that would still be late without the time for
which a bare thread was late at the same moment. The machine alone does not explain these frames.

All callers send at the same moments, which is the worst case: the process then handles the messages
of all calls one after another.
"""

from __future__ import annotations

import argparse
import base64
import json
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import attrs
import numpy as np

from benchmarks.phone_calls_control import FRAME_SECONDS
from benchmarks.server import serving
from benchmarks.talkers import DELTA_MS, KEY
from inworld_sync import ConnectionLimiter, Inworld, MulawFormat, Session
from inworld_sync.realtime import ManualTurns
from inworld_sync.telephony import CallOptions
from inworld_sync.telephony.twilio import MediaStream

LEAD_SECONDS = 0.2
IN_TIME_MS = 5
PERCENTILES = {"p50": 50.0, "p95": 95.0, "p99": 99.0, "p99.9": 99.9, "worst": 100.0}
_PATIENCE_SECONDS = 30.0

# A bare thread that was late by less than this has not been stopped by the machine.
_STALL_MS = 1.0
PAYLOAD = base64.b64encode(b"\xff" * 160).decode()
START = {
    "event": "start",
    "streamSid": "MZ1",
    "start": {
        "callSid": "CA1",
        "streamSid": "MZ1",
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000},
    },
}


class Carrier:
    """
    A carrier in this process. The carrier sends frames in real time, and returns each mark when
    the mark is due.
    """

    def __init__(self, seconds: float) -> None:
        self.began = time.monotonic()
        self.end = self.began + seconds
        self.sent: list[tuple[float, int]] = []
        self.chunk = 0
        self.played_until = 0.0
        self.marks: deque[tuple[float, str]] = deque()

    def receive(self, timeout: float) -> str | None:
        """Return the next message at its time, or None after *timeout* seconds."""
        if self.chunk == 0:
            self.chunk = 1
            return json.dumps(START)
        now = time.monotonic()
        if now >= self.end:
            return '{"event":"stop"}'
        if self.marks and self.marks[0][0] <= now:
            return self.marks.popleft()[1]
        due = self.began + self.chunk * FRAME_SECONDS
        if due - now > timeout:
            time.sleep(timeout)
            return None
        time.sleep(max(0.0, due - now))
        self.chunk += 1
        number, stamp = self.chunk, self.chunk * 20
        return (
            f'{{"event":"media","media":{{"track":"inbound","chunk":"{number}",'
            f'"timestamp":"{stamp}","payload":"{PAYLOAD}"}}}}'
        )

    def send(self, message: str) -> None:
        """Record the time of audio. Queue a mark until the audio before the mark was played."""
        now = time.monotonic()
        if message.startswith('{"event":"media"'):
            size = len(base64.b64decode(json.loads(message)["media"]["payload"]))
            self.sent.append((now, size))
            self.played_until = max(self.played_until, now) + size / 8000
        elif message.startswith('{"event":"mark"'):
            self.marks.append((self.played_until, message))


@attrs.frozen
class Moment:
    """When something was due, in seconds on the monotonic clock, and by how much it was late."""

    due: float
    late_ms: float

    def shared_ms(self, other: Moment) -> float:
        """Return for how long both were late at the same time, in milliseconds."""
        end = min(self.due + self.late_ms / 1000, other.due + other.late_ms / 1000)
        return (end - max(self.due, other.due)) * 1000


def frames_of(sent: list[tuple[float, int]]) -> list[Moment]:
    """Return a moment for each frame of a carrier."""
    frames, position, began = [], 0.0, sent[0][0]
    for at, size in sent:
        due = max(began, began + position - LEAD_SECONDS)
        frames.append(Moment(due, (at - due) * 1000))
        if at > began + position:
            # The queue of the carrier was empty, so a new run of audio begins.
            began, position = at, 0.0
        position += size / 8000
    return frames


@contextmanager
def bare_threads(threads: int, seconds: float) -> Iterator[list[Moment]]:
    """Measure bare threads in another process; the list is filled when the block ends."""
    wakes: list[Moment] = []
    command = [sys.executable, "-m", "benchmarks.phone_calls_control"]
    command += ["--threads", str(threads), "--seconds", str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield wakes
            output, _ = process.communicate(timeout=seconds + _PATIENCE_SECONDS)
            wakes += [Moment(due, late_ms) for due, late_ms in json.loads(output)]
        finally:
            process.kill()


def late_alone(frames: list[Moment], wakes: list[Moment]) -> int:
    """Count the frames that would be late even if no bare thread had been late meanwhile."""
    stalls = [each for each in wakes if each.late_ms >= _STALL_MS]
    return sum(
        frame.late_ms - max((frame.shared_ms(each) for each in stalls), default=0.0) > IN_TIME_MS
        for frame in frames
        if frame.late_ms > IN_TIME_MS
    )


def row(what: str, moments: list[Moment]) -> dict[str, float]:
    """Print by how many milliseconds *what* was late, and return the percentiles."""
    late = [each.late_ms for each in moments]
    found = {name: float(np.percentile(late, mark)) for name, mark in PERCENTILES.items()}
    shown = ", ".join(f"{name} {value:.2f}" for name, value in found.items())
    in_time = sum(each <= IN_TIME_MS for each in late) / len(late)
    print(f"{len(late)} {what}, late in ms: {shown}; {in_time:.2%} at most {IN_TIME_MS} ms late")
    return found


def main() -> None:
    """Run the calls, and print the rows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.phone_calls", description=__doc__)
    parser.add_argument("--calls", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=30.0)
    chosen = parser.parse_args()
    count = int((chosen.seconds + 10) * 1000 / DELTA_MS)
    settings = Session(
        turn_detection=ManualTurns(), input_format=MulawFormat(), output_format=MulawFormat()
    )
    with (
        serving(count=count, pace_ms=DELTA_MS) as url,
        Inworld(
            KEY,
            base_url=url.replace("ws", "http", 1),
            proxy=False,
            limiter=ConnectionLimiter(chosen.calls),
        ) as client,
    ):
        sessions = [client.realtime.connect(settings) for _ in range(chosen.calls)]
        with bare_threads(chosen.calls, chosen.seconds) as wakes:
            carriers = [Carrier(chosen.seconds) for _ in sessions]
            options = CallOptions(silence_timeout=None)
            bridges = [
                MediaStream(carrier, session, verify=False, options=options)
                for carrier, session in zip(carriers, sessions, strict=True)
            ]
            threads = [threading.Thread(target=bridge.run) for bridge in bridges]
            before = time.process_time()
            for thread in threads:
                thread.start()
            time.sleep(0.5)
            for session in sessions:
                session.respond()
            for thread in threads:
                thread.join()
            cpu = time.process_time() - before
    frames = [each for carrier in carriers for each in frames_of(carrier.sent)]
    ours = row(f"frames of {chosen.calls} calls", frames)
    bare = row(f"wake-ups of {chosen.calls} bare threads", wakes)
    ratios = ", ".join(f"{name} {ours[name] / bare[name]:.1f}" for name in ours)
    print(f"frames divided by wake-ups: {ratios}")
    late = sum(each.late_ms > IN_TIME_MS for each in frames)
    alone = late_alone(frames, wakes)
    print(f"{late} frames more than {IN_TIME_MS} ms late, {alone} of them without a bare thread")
    print(f"each call uses {cpu / chosen.seconds / chosen.calls:.3%} of a core")


if __name__ == "__main__":
    main()
