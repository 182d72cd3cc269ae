"""
Simulate browsers that play speech from one gunicorn worker, and browsers that read plain pages.

The command is ``python tests/web_browsers.py --browsers 20 --seconds 20``. The test suite does not
run this program. Each simulated browser starts a speech, plays the audio in real time and receives
the words. A quarter of the browsers leave in the middle of a speech. The emulator repeats prepared
speech in real time.

The program prints the longest wait for a plain page, the longest wait for the first audio, and how
often a browser had no audio to play. The program fails if a browser ran out of audio, if a response
was incomplete, or if a thread of the server still receives speech at the end.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from inworld_sync.emulator import Emulator, Settings

TEXT = "This sentence is spoken again and again, so that there is something to play. " * 3
# The bit rate of the emulator's MP3 files.
BYTES_PER_SECOND = 16_000
# The audio element of a browser waits for this much audio before it plays.
BUFFER_SECONDS = 0.5
TIMEOUT_SECONDS = 60


class Run:
    """The state that the threads share: the port, the end of the run and the results."""

    def __init__(self, port: int, seconds: float) -> None:
        self.port = port
        self.until = time.monotonic() + seconds
        self.pages: list[float] = []
        self.first: list[float] = []
        self.complete = self.left = self.gaps = 0
        self.wrong: list[str] = []

    def get(self, path: str, method: str = "GET") -> Response:
        """Send a request on a new connection."""
        return Response(self.port, path, method)

    def play(self, number: int) -> None:
        """Play speeches until the end of the run."""
        while (began := time.monotonic()) < self.until:
            with self.get(f"/speak?text={quote(TEXT)}", "POST") as response:
                answer = response.answer.read()
                if response.answer.status != 201:
                    self.wrong.append(f"/speak: {response.answer.status} {answer!r}")
                    return
                speech_id = json.loads(answer)["id"]
            words = threading.Thread(target=self.guard, args=(self.read_words, speech_id))
            words.start()
            self.read_audio(speech_id, began, leaves=number % 4 == 0)
            words.join()

    def read_words(self, speech_id: str) -> None:
        """Receive the words of a speech."""
        with self.get(f"/words/{speech_id}") as response:
            if b"event: end" not in response.answer.read():
                self.wrong.append("words without an end")

    def read_audio(self, speech_id: str, began: float, *, leaves: bool) -> None:
        """Play the audio of a speech, and count the gaps. The text was sent at *began*."""
        received, started = 0, 0.0
        with self.get(f"/audio/{speech_id}") as response:
            while block := response.answer.read1(65536):
                now = time.monotonic()
                if not received:
                    self.first.append(now - began)
                if started and now - started > received / BYTES_PER_SECOND:
                    self.gaps += 1
                received += len(block)
                if not started and received > BUFFER_SECONDS * BYTES_PER_SECOND:
                    started = now
                if leaves and received > BYTES_PER_SECOND:
                    self.left += 1
                    return
        self.complete += 1

    def read_pages(self, _: int) -> None:
        """Read plain pages."""
        while time.monotonic() < self.until:
            began = time.monotonic()
            with self.get("/plain") as response:
                if response.answer.read() != b"plain":
                    self.wrong.append("a wrong page")
            self.pages.append(time.monotonic() - began)
            time.sleep(0.05)

    def guard(self, work: Callable[..., None], *arguments: object) -> None:
        """Run the work of a thread, and record an error of the work."""
        try:
            work(*arguments)
        except (OSError, http.client.HTTPException) as error:
            self.wrong.append(f"{work.__name__}: {type(error).__name__}: {error}")


class Response:
    """A response on its own connection. The end of the ``with`` block closes the connection."""

    def __init__(self, port: int, path: str, method: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
        self.connection.request(method, path)
        self.answer = self.connection.getresponse()

    def __enter__(self) -> Response:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()


def browse(port: int, browsers: int, seconds: float) -> Run:
    """Run all browsers, and wait until the server has ended all speeches."""
    run = Run(port, seconds)
    work = [run.play] * browsers + [run.read_pages] * 3
    threads = [
        threading.Thread(target=run.guard, args=(each, number)) for number, each in enumerate(work)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until = time.monotonic() + TIMEOUT_SECONDS
    while True:
        with run.get("/threads") as response:
            left = json.loads(response.answer.read())
        if not left or time.monotonic() > until:
            break
        time.sleep(0.2)
    run.wrong += left
    return run


def main() -> int:
    """Run the browsers, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--browsers", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--threads", type=int, default=64)
    parser.add_argument("--worker", default="gthread", choices=["gthread", "gevent"])
    options = parser.parse_args()
    settings = Settings(prepared_speech=True, pace=1.1)
    with (
        Emulator(settings=settings) as emulator,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        command = ["--threads", str(options.threads)] if options.worker == "gthread" else []
        command += ["-k", options.worker, "--bind", f"fd://{listener.fileno()}"]
        command += ["--no-control-socket", "--graceful-timeout", "3", "support.web_app:flask_app"]
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", *command],
            cwd=Path(__file__).parent,
            env={**os.environ, "SERVICE_URL": emulator.url, "SERVICE_KEY": emulator.api_key},
            pass_fds=[listener.fileno()],
        )
        try:
            run = browse(listener.getsockname()[1], options.browsers, options.seconds)
        finally:
            process.terminate()
            process.wait(20)
    lines = [
        f"speeches: {run.complete} complete, {run.left} left by the browser; gaps: {run.gaps}",
        f"longest wait for the first audio: {max(run.first, default=0) * 1000:.0f} ms",
        f"plain pages: {len(run.pages)}; longest wait {max(run.pages, default=0) * 1000:.0f} ms",
        *run.wrong,
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if run.wrong or run.gaps or not run.complete else 0


if __name__ == "__main__":
    sys.exit(main())
