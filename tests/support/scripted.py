"""A small TTS service that sends exactly the messages of a test, which may be invalid."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from inworld_sync import Inworld

from support.peers import CLOSE, PING, PONG, TEXT, Peer, serve

S = TypeVar("S")

KEY = "a2V5LWlkOmtleS1zZWNyZXQ="


class ScriptEnded(EOFError):
    """Raised in a script when the client has sent CLOSE."""


class Service:
    """
    One WebSocket connection, on the side of the service.

    Attributes:
        requests: The requests of the client so far.
        number: The number of this connection on the server; the first connection has 1.
        first: The first byte of the frames that the service sends: TEXT or BINARY.
    """

    def __init__(self, peer: Peer, number: int) -> None:
        self.peer = peer
        self.number = number
        self.first = TEXT
        self.requests: list[dict[str, Any]] = []
        peer.upgrade()

    def request(self) -> dict[str, Any]:
        """Return the next request of the client. Answer pings. CLOSE ends the script."""
        while True:
            first, payload = self.peer.read_frame()
            if first == PING:
                self.peer.send_frame(PONG, payload)
            elif first == CLOSE:
                self.peer.send_frame(CLOSE, payload)
                raise ScriptEnded
            elif first == TEXT:
                self.requests.append(json.loads(payload))
                return self.requests[-1]

    def until(self, verb: str) -> str:
        """
        Read requests up to the first request that has the key *verb*.

        Return the context id of this request.
        """
        while verb not in (request := self.request()):
            pass
        return str(request["contextId"])

    def until_left(self) -> None:
        """Read until the client sends CLOSE. The CLOSE ends the script."""
        while True:
            self.request()

    def text_of(self, context_id: str) -> str:
        """Return all text that the client has sent to a context."""
        return "".join(
            request["send_text"]["text"]
            for request in self.requests
            if "send_text" in request and request["contextId"] == context_id
        )

    def send(self, message: object) -> None:
        """Send a value as JSON. Text and bytes are sent unchanged."""
        if isinstance(message, str):
            message = message.encode()
        data = message if isinstance(message, bytes) else json.dumps(message).encode()
        self.peer.send_frame(self.first, data)

    def result(self, context_id: str, **kind: object) -> None:
        """Send a result about a context."""
        self.send({"result": {"contextId": context_id, **kind, "status": {"code": 0}}})

    def audio(self, context_id: str, data: bytes, **further: object) -> None:
        """Send audio of a context."""
        content = base64.b64encode(data).decode()
        self.result(context_id, audioChunk={"audioContent": content, **further})

    def fault(self, context_id: str, code: int, message: str = "a fault") -> None:
        """Report an error of a context."""
        self.send(
            {"result": {"contextId": context_id, "status": {"code": code, "message": message}}}
        )

    def flushed(self, context_id: str) -> None:
        """Report that the text before a flush was spoken."""
        self.result(context_id, flushCompleted={})

    def closed(self, context_id: str) -> None:
        """Report that a context is closed."""
        self.result(context_id, contextClosed={})

    def speak(self, context_id: str, data: bytes) -> None:
        """Send all messages with which a normal service answers the close of a context."""
        self.result(context_id, contextCreated={})
        self.audio(context_id, data)
        self.flushed(context_id)
        self.closed(context_id)

    def error(self, code: int, message: str = "an error") -> None:
        """Report an error of the connection."""
        self.send({"error": {"code": code, "message": message, "details": []}})

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Send CLOSE, and read until the client has sent CLOSE."""
        self.peer.send_frame(CLOSE, code.to_bytes(2, "big") + reason.encode())
        with contextlib.suppress(ScriptEnded):
            self.until_left()


Script = Callable[[Service], None]


@contextlib.contextmanager
def client_of(
    service: Callable[[Peer, int], S], scripts: Sequence[Callable[[S], None]], settings: Any
) -> Iterator[Inworld]:
    """
    Return a client of a server. Each connection of the server runs one of the scripts.

    Args:
        service: Creates the service's side of a connection.
        scripts: The scripts of the first connection, of the second one, and so on. The last script
            runs for all further connections.
        settings: Options of the client.
    """
    lock, count = threading.Lock(), 0

    def run(peer: Peer) -> None:
        nonlocal count
        with lock:
            count += 1
            number = count
        scripts[min(number, len(scripts)) - 1](service(peer, number))

    with serve(run) as server:
        url = f"ws://127.0.0.1:{server.port}"
        with Inworld(**{"api_key": KEY, "base_url": url, **settings}) as client:
            yield client


def scripted(*scripts: Script, **settings: Any) -> AbstractContextManager[Inworld]:
    """Return a client of a TTS service that runs scripts. See :func:`client_of`."""
    return client_of(Service, scripts, settings)


def obedient(service: Service) -> None:
    """
    Speak the text of each context when the context is closed. Each sample encodes a character.
    """
    while True:
        context_id = service.until("close_context")
        service.speak(context_id, samples_of(service.text_of(context_id)))


def samples_of(text: str) -> bytes:
    """Return a text as samples. Each sample encodes one character."""
    return text.encode("utf-16-le")


def text_of(samples: bytes | memoryview) -> str:
    """Return the text whose characters are the samples."""
    return bytes(samples).decode("utf-16-le")
