"""A small STT service that fails at a point of the protocol that the test selects."""

from __future__ import annotations

import base64
import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from inworld_sync import Inworld

from support.peers import TEXT, Peer, serve
from support.scripted import KEY, ScriptEnded, Service
from support.spoken_words import RATE_HZ, ScriptedRecognizer

__all__ = ["SttConnectionScript", "SttServer", "stt_server"]

# The server calls the hook with the connection and the name of a point, each time the connection
# reaches the point.
Hook = Callable[["SttConnectionScript", str], None]


class SttConnectionScript(Service):
    """
    One connection that transcribes numbered words, on the side of the service.

    The hook is called at these points: ``config``, ``chunk`` (before a chunk is read), ``partial``
    and ``final`` (before the transcript is sent), ``final_sent`` (after a final was sent),
    ``endTurn`` and ``closeStream`` (after the request was read), and ``usage`` (before the usage is
    sent).

    Attributes:
        counts: How many times the connection has reached each point.
        pcm: All audio of this connection.
    """

    def __init__(self, peer: Peer, number: int, server: SttServer) -> None:
        super().__init__(peer, number)
        self._server = server
        self.counts: Counter[str] = Counter()
        self.pcm = bytearray()
        self.keeps_audio = server.keeps_audio
        self.recognizer = ScriptedRecognizer(**server.recognizer)

    def run(self) -> None:
        """Serve until the client closes the connection."""
        while True:
            self.handle(self.request())

    def handle(self, request: dict[str, Any]) -> None:
        """Answer one request."""
        (verb,) = request
        if verb == "transcribeConfig":
            self.moment("config")
        elif verb == "audioChunk":
            self.moment("chunk")
            pcm = base64.b64decode(request[verb]["content"])
            if self.keeps_audio:
                self.pcm += pcm
            self.send_results(self.recognizer.feed(pcm))
        elif verb == "endTurn":
            self.moment("endTurn")
            self.send_results(self.recognizer.end_turn())
        elif verb == "closeStream":
            self.moment("closeStream")
            self.send_results(self.recognizer.finish())
            self.moment("usage")
            self.usage(round(self.recognizer.received_ms))

    def send_results(self, results: list[dict[str, Any]]) -> None:
        """Send results, and call the hook at the point of each result."""
        for result in results:
            transcription = result.get("transcription")
            if transcription is not None:
                self.moment("final" if transcription["isFinal"] else "partial")
            self.send({"result": {**result, "status": {"code": 0, "message": "", "details": []}}})
            if transcription is not None and transcription["isFinal"]:
                self.moment("final_sent")

    def until_close_stream(self) -> None:
        """Read requests up to ``closeStream``."""
        while "closeStream" not in self.request():
            pass

    def usage(self, milliseconds: int) -> None:
        """Send the usage."""
        self.send({"result": {"usage": {"transcribedAudioMs": milliseconds, "modelId": "m"}}})

    def moment(self, name: str) -> None:
        self.counts[name] += 1
        self._server.hook(self, name)

    # Faults.

    def hang_up(self) -> None:
        """
        Close the TCP connection without CLOSE and without a reset.

        The client still receives the earlier messages.
        """
        self.peer.end_sending()
        self.peer.read_until_end()
        raise ScriptEnded

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        self.peer.reset()
        raise ScriptEnded

    def send_close(self, code: int = 1011) -> None:
        """
        Send CLOSE, and read until the client sends CLOSE.

        Unread messages of the client would cause a reset, and the reset could drop the CLOSE frame.
        """
        self.close(code)
        raise ScriptEnded

    def fail(self, code: int = 14) -> None:
        """Report an error and send CLOSE 1000, as the service does for fatal errors."""
        self.error(code, "not now")
        self.send_close(1000)

    def half_a_frame(self) -> None:
        """Send the start of a message, then end the connection."""
        self.peer.send(bytes([TEXT, 100]) + b'{"result"')
        self.hang_up()


class SttServer:
    """
    An STT service and its connections so far.

    Attributes:
        hook: Called at every point of every connection.
        recognizer: The arguments of the :class:`ScriptedRecognizer` of each connection.
        keeps_audio: Whether the audio of each connection is kept.
        connections: The connections in the order in which they were opened.
    """

    def __init__(self, hook: Hook, recognizer: dict[str, Any], *, keeps_audio: bool = True) -> None:
        self.hook = hook
        self.keeps_audio = keeps_audio
        self.recognizer = recognizer
        self.connections: list[SttConnectionScript] = []
        self._lock = threading.Lock()
        self._count = 0

    def run(self, peer: Peer) -> None:
        with self._lock:
            self._count += 1
            number = self._count
        connection = SttConnectionScript(peer, number, self)
        self.connections.append(connection)
        with contextlib.suppress(ScriptEnded):
            connection.run()

    @property
    def received_seconds(self) -> float:
        """The duration of the audio of all connections."""
        return sum(len(one.pcm) for one in self.connections) / 2 / RATE_HZ


@contextlib.contextmanager
def stt_server(
    hook: Hook = lambda connection, name: None,
    *,
    receive_buffer_bytes: int | None = None,
    recognizer: dict[str, Any] | None = None,
    **settings: Any,
) -> Iterator[tuple[Inworld, SttServer]]:
    """Yield a client of an STT service that recognizes numbered words, and the service."""
    server = SttServer(hook, recognizer or {})
    with serve(server.run, receive_buffer_bytes=receive_buffer_bytes) as raw:
        url = f"ws://127.0.0.1:{raw.port}"
        with Inworld(**{"api_key": KEY, "base_url": url, **settings}) as client:
            yield client, server
