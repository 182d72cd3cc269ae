"""
Measure conversations of many browsers through one web server: ``python -m benchmarks.web_relay``.

    python -m benchmarks.web_relay --browsers 20 --seconds 30

The server is one gunicorn worker with 64 threads. The model is the emulator with prepared speech,
in a process of its own. The browsers are simulated in this process. Each browser sends its
microphone in messages of 40 ms and asks for a long answer. After a third of ``--seconds``, the
browser stops this answer and asks again. Meanwhile, a plain page is requested about ten times per
second.

A browser begins to play an item when 80 ms of audio have arrived, or when the item is complete.
From then on, the number of samples gives the time at which each later sample is needed. Audio is
late if it arrives after the time at which it is needed. A place of the limiter is leaked if the
place is still in use after all browsers have left. The program ends with status 1 if audio is late,
if a place is leaked, if a conversation fails, or if a page takes longer than ``--page-limit``
seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator

import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from inworld_sync.emulator import Emulator, Settings

RATE_HZ = 24_000
START_SECONDS = 0.08
MICROPHONE_SECONDS = 0.04
REPORT_SECONDS = 0.2
QUESTION = "Count to ninety."
LEAVE_SECONDS = 10.0
PAGE_SECONDS = 0.1


class Playback:
    """
    The simulated playback of one browser, computed from the number of samples.

    Attributes:
        late_ms: For each piece of audio that was late, how many milliseconds it was late.
        played_seconds: How many seconds of audio were played or are buffered.
    """

    def __init__(self) -> None:
        self.late_ms: list[float] = []
        self.played_seconds = 0.0
        self.item = 0
        self._item_seconds = self._buffered = 0.0
        self._ends_at: float | None = None
        self._is_complete = False

    def begin(self, item: int) -> None:
        """Begin to play *item*; 0 is no item."""
        self.item, self._item_seconds, self._buffered = item, 0.0, 0.0
        self._ends_at, self._is_complete = None, False

    def add(self, samples: int, now: float) -> None:
        """Add audio of the item."""
        seconds = samples / RATE_HZ
        self.played_seconds += seconds
        self._item_seconds += seconds
        if self._ends_at is not None and now > self._ends_at:
            self.late_ms.append((now - self._ends_at) * 1000)
            self._ends_at, self._buffered = None, 0.0
        if self._ends_at is not None:
            self._ends_at += seconds
            return
        self._buffered += seconds
        if self._buffered >= START_SECONDS:
            self._ends_at = now + self._buffered

    def complete(self, now: float) -> None:
        """Record that the item has no more audio."""
        self._is_complete = True
        if self._ends_at is None:
            self._ends_at = now + self._buffered

    def heard_ms(self, now: float) -> int:
        """Return how many milliseconds of the item were heard."""
        left = self._buffered if self._ends_at is None else max(0.0, self._ends_at - now)
        return int((self._item_seconds - left) * 1000)

    def is_finished(self, now: float) -> bool:
        """Return whether all of the item was heard."""
        return self._is_complete and self._ends_at is not None and now >= self._ends_at


class Browser:
    """
    One simulated browser with its conversation.

    Attributes:
        first_ms: For each question, the milliseconds from the question to the first audio of the
            answer.
        errors: The error messages of the relay.
    """

    def __init__(
        self, host: str, number: int, seconds: float, *, is_compressed: bool = False
    ) -> None:
        self.playback = Playback()
        self.first_ms: list[float] = []
        self.errors: list[str] = []
        self.stops = 0
        # The number of the newest item, and the number of the newest item that was stopped.
        self._newest = self._cleared = 0
        self._until = time.monotonic() + seconds
        self._stop_at = time.monotonic() + seconds / 3
        self._asked_at: float | None = None
        self._lock = threading.Lock()
        self._left = contextlib.ExitStack()
        opened = connect(
            f"ws://{host}/talk?user=user-{number}",
            origin=f"http://{host}",  # type: ignore[arg-type]
            compression="deflate" if is_compressed else None,
            max_queue=None,
        )
        self._socket = self._left.enter_context(opened)
        self._send("start", mode="open")
        self._is_ready = threading.Event()
        self._threads = [
            threading.Thread(target=self._receive_all),
            threading.Thread(target=self._speak),
        ]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _send(self, kind: str, **fields: object) -> None:
        self._socket.send(json.dumps({"type": kind, **fields}))

    def _receive_all(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                self._receive(self._socket.recv())

    def _receive(self, message: str | bytes) -> None:
        now = time.monotonic()
        if isinstance(message, bytes):
            number = int.from_bytes(message[:4], "little")
            with self._lock:
                if number <= self._cleared:
                    return
                if self._asked_at is not None:
                    self.first_ms.append((now - self._asked_at) * 1000)
                    self._asked_at = None
                if number > self.playback.item:
                    self.playback.begin(number)
                self.playback.add((len(message) - 4) // 2, now)
            return
        body = json.loads(message)
        if body["type"] == "ready":
            self._is_ready.set()
        elif body["type"] == "item":
            self._newest = body["item"]
        elif body["type"] == "item_end":
            with self._lock:
                if body["item"] == self.playback.item:
                    self.playback.complete(now)
        elif body["type"] == "clear":
            self._stop(now)
        elif body["type"] == "error":
            self.errors.append(f"{body['code']}: {body['message']}")

    def _speak(self) -> None:
        if not self._is_ready.wait(30):
            self.errors.append("the relay did not become ready")
        self._ask()
        silence, due, report_at = bytes(int(RATE_HZ * MICROPHONE_SECONDS) * 2), 0.0, 0.0
        with contextlib.suppress(ConnectionClosed):
            while (now := time.monotonic()) < self._until:
                self._socket.send(silence)
                if now >= report_at:
                    report_at = now + REPORT_SECONDS
                    self._report(now)
                due = max(due, now - 0.5) + MICROPHONE_SECONDS
                time.sleep(max(0.0, due - time.monotonic()))
        self._left.close()

    def _stop(self, now: float) -> None:
        with self._lock:
            item, heard_ms = self.playback.item, self.playback.heard_ms(now)
            self._cleared = self._newest
            self.playback.begin(0)
        self._send("interrupted", item=item, ms=heard_ms)

    def _ask(self) -> None:
        self._asked_at = time.monotonic()
        self._send("text", text=QUESTION)

    def _report(self, now: float) -> None:
        with self._lock:
            item, heard_ms = self.playback.item, self.playback.heard_ms(now)
            is_finished = self.playback.is_finished(now)
        if item and not self.stops and now >= self._stop_at:
            self.stops += 1
            self._stop(now)
            self._ask()
        elif item and is_finished and self._asked_at is None:
            self._send("finished", item=item)
            with self._lock:
                self.playback.begin(0)
            self._ask()
        elif item and heard_ms:
            self._send("heard", item=item, ms=heard_ms)


class Pages:
    """
    Requests a plain page again and again, each time on a new connection.

    Attributes:
        waited_ms: How many milliseconds each request took.
    """

    def __init__(self, host: str) -> None:
        self.waited_ms: list[float] = []
        self._url = f"http://{host}/page"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(PAGE_SECONDS):
            began = time.monotonic()
            fetch(self._url)
            self.waited_ms.append((time.monotonic() - began) * 1000)


def fetch(url: str) -> bytes:
    """Request a page, and return its body."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=60) as response:
        body: bytes = response.read()
        return body


def counters(host: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(fetch(f"http://{host}/counters"))
    return found


def run_emulator(pace: float) -> None:
    """Run the emulator in this process until the standard input is closed."""
    settings = Settings(prepared_speech=True, pace=pace, max_connections=200)
    with Emulator(settings=settings) as server:
        print(json.dumps([server.url, server.api_key]), flush=True)
        sys.stdin.read()


@contextlib.contextmanager
def emulator(pace: float) -> Iterator[dict[str, str]]:
    """Run the emulator in another process. Yield the environment variables for its clients."""
    command = [sys.executable, "-m", "benchmarks.web_relay", "--emulator", str(pace)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            url, key = json.loads(process.stdout.readline())
            yield {**os.environ, "INWORLD_BASE_URL": url, "INWORLD_API_KEY": key}
        finally:
            process.kill()


@contextlib.contextmanager
def web_server(environment: dict[str, str]) -> Iterator[str]:
    """Run one gunicorn worker with 64 threads in another process. Yield its host and port."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        file = listener.fileno()
        command = ["gunicorn", "-w", "1", "-k", "gthread", "--threads", "64", "-b", f"fd://{file}"]
        process = subprocess.Popen(
            [sys.executable, "-m", *command, "benchmarks.web_relay_app:app"],
            env=environment,
            pass_fds=[file],
        )
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            process.terminate()
            process.wait()


def spread(values: list[float]) -> str:
    """Return the percentiles of values in milliseconds, as text."""
    if not values:
        return "none"
    marks = {"p50": 50.0, "p95": 95.0, "p99": 99.0, "worst": 100.0}
    found = {name: round(float(np.percentile(values, mark)), 1) for name, mark in marks.items()}
    return f"{found} ms"


def main() -> int:
    """Run the browsers, print the figures, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--browsers", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--pace", type=float, default=2.0, help="seconds of speech per second")
    parser.add_argument(
        "--page-limit", type=float, default=1.0, help="seconds that a plain page may take"
    )
    parser.add_argument("--deflate", action="store_true", help="compress messages, as browsers do")
    parser.add_argument("--emulator", type=float, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.emulator is not None:
        run_emulator(chosen.emulator)
        return 0
    with emulator(chosen.pace) as environment, web_server(environment) as host:
        before = counters(host)
        # Meanwhile, the emulator makes its recording for prepared speech.
        warm = Browser(host, 0, 5.0)
        warm.join()
        began, cpu = time.monotonic(), float(str(counters(host)["cpu_seconds"]))
        pages = Pages(host)
        browsers = [
            Browser(host, number, chosen.seconds, is_compressed=chosen.deflate)
            for number in range(chosen.browsers)
        ]
        time.sleep(chosen.seconds / 2)
        during = counters(host)
        for browser in browsers:
            browser.join()
        pages.close()
        cpu = (float(str(counters(host)["cpu_seconds"])) - cpu) / (time.monotonic() - began)
        until = time.monotonic() + LEAVE_SECONDS
        while (after := counters(host))["places"] and time.monotonic() < until:
            time.sleep(0.05)
    late = [each for browser in browsers for each in browser.playback.late_ms]
    errors = [each for browser in browsers for each in browser.errors]
    silent = sum(not browser.playback.played_seconds for browser in browsers)
    ends = list(after["ends"])  # type: ignore[call-overload]
    wrong_ends = [end for end in ends if end != "browser_left"]
    threads = int(str(during["threads"])) - int(str(before["threads"]))
    played = sum(browser.playback.played_seconds for browser in browsers)
    print(f"{chosen.browsers} browsers, {played:.0f} s of speech received")
    print(f"late audio: {len(late)} times; {spread(late)}")
    firsts = [each for browser in browsers for each in browser.first_ms]
    print(f"question to first audio: {spread(firsts)}")
    print(f"plain pages: {len(pages.waited_ms)}; {spread(pages.waited_ms)}")
    print(f"places in use afterwards: {after['places']}; unexpected ends: {wrong_ends}")
    print(f"errors: {errors}; browsers without speech: {silent}")
    print(f"threads of the server: {threads / chosen.browsers:.1f} for each browser")
    print(f"CPU of the server: {cpu:.0%} of one core, {cpu / chosen.browsers:.1%} for each browser")
    slow = [each for each in pages.waited_ms if each > chosen.page_limit * 1000]
    is_good = not (late or after["places"] or errors or silent or wrong_ends or slow)
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
