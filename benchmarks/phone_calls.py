"""
Measure how evenly the frames of phone calls are sent: ``python -m benchmarks.phone_calls``.

    python -m benchmarks.phone_calls --calls 20 --seconds 30

In each call, a caller sends 20 ms of audio every 20 ms, and a model speaks all the time. The model
sends mu-law in real time, and runs in another process. The carriers run in the process of the
calls, so the CPU time includes the cost of the carriers. The program prints percentiles of the
delay with which frames were passed to the carrier, and the CPU time for one call. A frame is due at
the time of the first frame, plus the duration of the audio before this frame, minus
``LEAD_SECONDS``.
"""

from __future__ import annotations

import argparse
import base64
import json
import resource
import threading
import time
from collections import deque

import numpy as np

from benchmarks.server import serving
from benchmarks.talkers import DELTA_MS, KEY
from inworld_sync import ConnectionLimiter, Inworld, MulawFormat, Session
from inworld_sync.realtime import ManualTurns
from inworld_sync.telephony import CallOptions
from inworld_sync.telephony.twilio import MediaStream

FRAME_SECONDS = 0.02
LEAD_SECONDS = 0.2
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


def late_ms(sent: list[tuple[float, int]]) -> list[float]:
    """Return for each frame by how many milliseconds it was late."""
    late, position, began = [], 0.0, sent[0][0]
    for at, size in sent:
        if at > began + position:
            # The queue of the carrier was empty, so a new run of audio begins.
            began, position = at, 0.0
        late.append((at - max(began, began + position - LEAD_SECONDS)) * 1000)
        position += size / 8000
    return late


def main() -> None:
    """Run the calls, and print one row."""
    parser = argparse.ArgumentParser(description=__doc__)
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
        carriers = [Carrier(chosen.seconds) for _ in sessions]
        options = CallOptions(silence_timeout=None)
        bridges = [
            MediaStream(carrier, session, verify=False, options=options)
            for carrier, session in zip(carriers, sessions, strict=True)
        ]
        threads = [threading.Thread(target=bridge.run) for bridge in bridges]
        before = resource.getrusage(resource.RUSAGE_SELF)
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        for session in sessions:
            session.respond()
        for thread in threads:
            thread.join()
        after = resource.getrusage(resource.RUSAGE_SELF)
    late = [each for carrier in carriers for each in late_ms(carrier.sent)]
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    marks = {"p50": 50.0, "p95": 95.0, "p99": 99.0, "p99.9": 99.9, "worst": 100.0}
    row = {name: round(float(np.percentile(late, mark)), 2) for name, mark in marks.items()}
    in_time = sum(each <= 5 for each in late) / len(late)
    print(f"{chosen.calls} calls, {len(late)} frames; late in ms: {row}")
    share = cpu / chosen.seconds / chosen.calls
    print(f"{in_time:.2%} at most 5 ms late; each call uses {share:.3%} of a core")


if __name__ == "__main__":
    main()
