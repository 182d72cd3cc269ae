"""
Hold many conversations in one process for a long time, with audio in real time.

    python -m benchmarks.growth                              10 sessions, then 100, for 1 minute
    python -m benchmarks.growth --sessions 100 --minutes 20  one row for each minute

Each session sends 20 ms of audio every 20 ms and receives 100 ms of audio every 100 ms. For each
minute, the program prints the CPU time that one session uses per second, the growth of the memory
per session, and the share of the messages that were sent in time. A message has 100 ms of audio,
from five calls of ``send_audio``. A message is in time if the operating system gets the whole
message within 10 ms after the last of these calls began. The CPU time includes the cost of this
measurement.
"""

from __future__ import annotations

import argparse
import gc
import os
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

from benchmarks.environment import ROOT, peers_python
from benchmarks.server import serving
from benchmarks.talkers import BLOCK, BLOCK_SECONDS, DELTA_MS, KEY

_BLOCKS = 5
_IN_TIME_SECONDS = 0.010
_MARGIN_SECONDS = 30.0


class Counts:
    """For each session: messages sent, messages sent too late, and bytes of audio received."""

    def __init__(self, sessions: int) -> None:
        self.sent = [0] * sessions
        self.late = [0] * sessions
        self.received_bytes = [0] * sessions


def resident_bytes() -> int:
    """Return how many bytes of memory this process uses."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")


def hold(url: str, sessions: int, minutes: float) -> None:
    """Hold the conversations and print a row for each minute."""
    from inworld_sync import ConnectionLimiter, Inworld
    from inworld_sync.realtime import AudioDelta, ResponseDone, Session

    counts = Counts(sessions)
    client = Inworld(
        KEY,
        base_url=url.replace("ws", "http", 1),
        proxy=False,
        limiter=ConnectionLimiter(sessions + 1),
    )
    # The turns are automatic. With manual turns, a session would keep up to a minute of the user's
    # audio for a reconnect.
    settings = Session(instructions="Be brief.")
    # This session imports the modules that all sessions use.
    client.realtime.connect(settings).close()
    gc.collect()
    before = resident_bytes()
    opened, over = threading.Barrier(sessions + 1), threading.Event()

    def converse(number: int) -> None:
        with client.realtime.connect(settings) as session:
            events = session.subscribe()
            opened.wait()
            session.respond()

            def speak() -> None:
                due, block = time.monotonic(), 0
                while not over.is_set():
                    block += 1
                    if block % _BLOCKS:
                        session.send_audio(BLOCK)
                    else:
                        begin = time.perf_counter()
                        session.send_audio(BLOCK)
                        stats = session.stats
                        is_late = time.perf_counter() - begin > _IN_TIME_SECONDS
                        counts.sent[number] += 1
                        counts.late[number] += is_late or stats is None or stats.queued_bytes > 0
                    due += BLOCK_SECONDS
                    time.sleep(max(0.0, due - time.monotonic()))

            speaker = threading.Thread(target=speak)
            speaker.start()
            for event in events:
                if isinstance(event, AudioDelta):
                    counts.received_bytes[number] += len(event.audio)
                elif isinstance(event, ResponseDone) or over.is_set():
                    break
            over.set()
            speaker.join()

    threads = [threading.Thread(target=converse, args=(number,)) for number in range(sessions)]
    for thread in threads:
        thread.start()
    opened.wait()
    time.sleep(1.0)
    left = minutes * 60
    while left > 0 and not over.is_set():
        seconds = min(left, 60.0)
        left -= seconds
        print(_row(counts, sessions, seconds, before), flush=True)
    over.set()
    for thread in threads:
        thread.join()


def _row(counts: Counts, sessions: int, seconds: float, before: int) -> str:
    begin, cpu = time.perf_counter(), time.process_time()
    sent, late, size = sum(counts.sent), sum(counts.late), sum(counts.received_bytes)
    time.sleep(seconds)
    took, cpu = time.perf_counter() - begin, time.process_time() - cpu
    sent, late = sum(counts.sent) - sent, sum(counts.late) - late
    audio_seconds = (sum(counts.received_bytes) - size) / 48_000 / sessions
    mib = (resident_bytes() - before) / sessions / 2**20
    return (
        f"{sessions:4d} sessions {took:6.1f} s: {cpu / took / sessions * 1e6:7.0f} us CPU per "
        f"session and second, {cpu / took:5.1%} of a core, {mib:.3f} MiB per session, "
        f"{1 - late / max(sent, 1):.3%} of {sent} messages in time, "
        f"{audio_seconds / took:.3f} s of audio received per session and second"
    )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.growth",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--sessions", type=int, action="append", help="default: 10, then 100")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sessions = arguments.sessions or [10, 100]
    if arguments.url is not None:
        hold(arguments.url, sessions[0], arguments.minutes)
        return
    seconds = arguments.minutes * 60 + _MARGIN_SECONDS
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for count in sessions:
        with serving(count=round(seconds * 1000 / DELTA_MS), pace_ms=DELTA_MS) as url:
            command = [peers_python(), "-m", "benchmarks.growth", "--url", url]
            command += ["--sessions", str(count), "--minutes", str(arguments.minutes)]
            subprocess.run(command, env=environment, cwd=ROOT, check=True)


if __name__ == "__main__":
    sys.exit(main())
