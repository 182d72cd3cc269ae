"""Tests of responses over real sockets, on the web servers that run Flask and Django."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from support.needs import NEEDS_GEVENT
from support.peers import serve
from support.scripted import ScriptEnded, Service
from support.web_pages import events_of

TESTS = Path(__file__).parents[1]
BLOCK = b"\xff\xfb" + bytes(998)
WORDS = {
    "wordAlignment": {
        "words": ["Hello", "there."],
        "wordStartTimeSeconds": [0.0, 0.5],
        "wordEndTimeSeconds": [0.4, 0.9],
    }
}
GUNICORN = ["gunicorn", "--bind", "fd://{fd}", "--no-control-socket", "--graceful-timeout", "2"]
SERVERS = {
    "gthread": [*GUNICORN, "--threads", "8", "support.web_app:flask_app"],
    "gevent": [*GUNICORN, "-k", "gevent", "support.web_app:flask_app"],
    "django": [*GUNICORN, "--threads", "8", "support.web_app:django_wsgi()"],
    "asgi": ["uvicorn", "--fd", "{fd}", "--factory", "support.web_app:django_asgi"],
}


class SpeechService:
    """
    A TTS service. The text decides when the service begins to speak, and how the speech ends.

    Attributes:
        begin: The test sets this event when the service may begin to speak.
        received: The test sets this event when the browser has received the first audio.
        left: The test sets this event when the browser has left.
        cancelled: The service sets this event when the client has cancelled a context.
    """

    def __init__(self) -> None:
        self.begin = threading.Event()
        self.received = threading.Event()
        self.left = threading.Event()
        self.cancelled = threading.Event()

    def run(self, service: Service) -> None:
        with contextlib.suppress(ScriptEnded, EOFError, OSError):
            while True:
                context_id = service.until("close_context")
                text = service.text_of(context_id)
                if text == "waits":
                    assert self.begin.wait(30)
                service.audio(context_id, BLOCK, timestampInfo=WORDS)
                if text == "lost":
                    assert self.received.wait(30)
                    service.peer.reset()
                    return
                if text == "left":
                    self._send_until_cancelled(service, context_id)
                for _ in range(99):
                    service.audio(context_id, BLOCK)
                service.closed(context_id)

    def _send_until_cancelled(self, service: Service, context_id: str) -> None:
        assert self.left.wait(30)
        # A web server notices that a browser has left only at the second write.
        for _ in range(99):
            service.audio(context_id, BLOCK)
        service.until("cancel_context")
        self.cancelled.set()


@attrs.frozen
class Server:
    """A web server in another process."""

    port: int
    log: Path
    service: SpeechService

    @contextlib.contextmanager
    def get(self, path: str, method: str = "GET") -> Iterator[http.client.HTTPResponse]:
        """Get a response on a connection that is closed at the end of the block."""
        with self.send(path, method) as connection:
            yield connection.getresponse()

    @contextlib.contextmanager
    def send(self, path: str, method: str = "GET") -> Iterator[http.client.HTTPConnection]:
        """Send a request on a connection that is closed at the end of the block."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path)
            yield connection


@contextlib.contextmanager
def started(command: list[str], folder: Path) -> Iterator[Server]:
    """Start a web server and its speech service."""
    service, log = SpeechService(), folder / "log.txt"
    with (
        serve(lambda peer: service.run(Service(peer, 1))) as raw,
        socket.create_server(("127.0.0.1", 0)) as listener,
        log.open("wb") as output,
    ):
        arguments = [each.format(fd=listener.fileno()) for each in command]
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=TESTS,
            env={**os.environ, "SERVICE_URL": f"http://127.0.0.1:{raw.port}"},
            pass_fds=[listener.fileno()],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            yield Server(listener.getsockname()[1], log, service)
        finally:
            process.terminate()
            process.wait(20)


def pages_while_a_text_begins(server: Server) -> None:
    """While a view waits for the first audio, other pages are served."""
    with server.send("/say?text=waits") as connection:
        with server.get("/plain") as plain:
            assert b"plain" == plain.read()
        server.service.begin.set()
        assert BLOCK * 100 == connection.getresponse().read()


def a_whole_speech(server: Server, path: str) -> None:
    """The response is chunked, and has the whole speech."""
    with server.get(f"{path}?text=all") as response:
        assert 200 == response.status
        assert "audio/mpeg" == response.headers["Content-Type"]
        assert "no" == response.headers["X-Accel-Buffering"]
        assert "chunked" == response.headers["Transfer-Encoding"]
        assert BLOCK * 100 == response.read()


def head(server: Server) -> None:
    with server.get("/say?text=all", "HEAD") as response:
        assert (200, b"") == (response.status, response.read())
        assert "audio/mpeg" == response.headers["Content-Type"]


def an_error_before_the_first_byte(server: Server) -> None:
    with server.get("/say") as response:
        assert 400 == response.status
        assert "bad_request" == json.loads(response.read())["error"]


def an_error_after_the_first_byte(server: Server) -> None:
    """The response is cut off, so that the browser knows that audio is missing."""
    with server.get("/say?text=lost") as response:
        assert 200 == response.status
        assert BLOCK[:10] == response.read(10)
        server.service.received.set()
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            while response.read(1000):
                pass

    assert 1 == server.log.read_text().count("ConnectionLost: ")


def a_browser_that_leaves(server: Server) -> None:
    """If the browser leaves, the synthesis is cancelled. Other pages are still served."""
    with server.get("/say?text=left") as response:
        assert BLOCK[:10] == response.read(10)
        with server.get("/plain") as plain:
            assert b"plain" == plain.read()
    server.service.left.set()

    assert server.service.cancelled.wait(30)


def words_of_a_speech(server: Server) -> None:
    """The audio and the words of a speech are separate responses with the same id."""
    with server.get("/speak?text=all", "POST") as response:
        assert 201 == response.status
        speech_id = json.loads(response.read())["id"]
    with server.get(f"/words/{speech_id}") as response:
        assert "text/event-stream; charset=utf-8" == response.headers["Content-Type"]
        events = events_of(response.read())
    with server.get(f"/audio/{speech_id}") as response:
        audio = response.read()

    assert [None, "word", "word", "end"] == [event.get("event") for event in events]
    assert {"index": 1, "text": "there.", "start_ms": 500, "end_ms": 900} == json.loads(
        events[2]["data"]
    )
    assert BLOCK * 100 == audio


@pytest.mark.skipif(sys.platform == "win32", reason="gunicorn has no Windows version")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[NEEDS_GEVENT] * (name == "gevent")) for name in SERVERS]
)
def test_servers(name: str, tmp_path: Path) -> None:
    """All checks of this file pass on each web server."""
    with started(SERVERS[name], tmp_path) as server:
        pages_while_a_text_begins(server)
        a_whole_speech(server, "/say")
        if name == "asgi":
            a_whole_speech(server, "/async")
        head(server)
        an_error_before_the_first_byte(server)
        words_of_a_speech(server)
        an_error_after_the_first_byte(server)
        a_browser_that_leaves(server)
