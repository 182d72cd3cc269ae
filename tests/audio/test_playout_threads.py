"""Several threads use one playout at the same time, as on a CPython without the GIL."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from inworld_sync.audio.playout import Playout
from inworld_sync.audio.playout_events import PlayoutEventKind

RATE_HZ = 16000
PATIENCE_SECONDS = 60.0
BLOCK = bytes(2 * RATE_HZ // 100)  # 10 ms
ITEMS, BLOCKS = 100, 10
ENDS = (PlayoutEventKind.ITEM_DONE, PlayoutEventKind.ITEM_CLEARED)
MARKS = (PlayoutEventKind.MARK, PlayoutEventKind.MARK_CANCELLED)


def test_reader_writer_and_observer() -> None:
    """
    One thread pushes audio, sets marks, clears the playout and polls its events. Another thread
    reads audio. A third thread gets the statistics, pauses and resumes.

    Every item ends once, every mark is reported once, and the statistics count every frame that was
    read.
    """
    playout = Playout(RATE_HZ, capacity_ms=500)
    over = threading.Event()
    until = time.monotonic() + PATIENCE_SECONDS

    def read() -> int:
        out, reads = bytearray(2 * 77), 0
        while not over.is_set():
            playout.read(out)
            reads += 1
        return reads * 77

    def observe() -> None:
        received = 0
        while not over.is_set():
            stats = playout.stats()
            assert received <= stats.received_frames
            received = stats.received_frames
            playout.pause()
            playout.resume()

    ends: Counter[object] = Counter()
    marks: Counter[object] = Counter()

    def poll() -> None:
        for event in playout.poll():
            ends[event.item] += event.kind in ENDS
            marks[event.tag] += event.kind in MARKS

    with ThreadPoolExecutor(2, thread_name_prefix="test") as pool:
        reading, observing = pool.submit(read), pool.submit(observe)
        try:
            for item in range(ITEMS):
                playout.mark(item, 35.0, f"mark {item}")
                for _ in range(BLOCKS):
                    while not playout.push(BLOCK, item=item):
                        assert time.monotonic() < until
                        poll()
                playout.end(item)
                if item % 7 == 0:
                    playout.clear()
                poll()
            while ends.total() < ITEMS and time.monotonic() < until:
                poll()
        finally:
            over.set()
        read_frames = reading.result()
        observing.result()

    stats = playout.stats()
    playout.close()
    del ends[None], marks[None]
    assert dict.fromkeys(range(ITEMS), 1) == dict(ends)
    assert {f"mark {item}": 1 for item in range(ITEMS)} == dict(marks)
    assert read_frames == stats.pulled_frames
    assert ITEMS * BLOCKS * RATE_HZ // 100 == stats.received_frames
