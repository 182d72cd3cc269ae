"""An STT service of few lines that fails at the moment that a test names."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from inworld_sync import Inworld

from support.peers import TEXT, Peer, serve
from support.scripted import KEY, Left, Service
from support.spoken_words import RATE_HZ, Ears

__all__ = ["Hearing", "SttServer", "hearing_server"]

# Called with the service and the name of the moment, every time that it comes.
Hook = Callable[["Hearing", str], None]


class Hearing(Service):
    """
    The service's end of one connection that hears words.

    Moments, each told to the hook: ``config``, ``chunk`` (before a chunk is heard), ``partial``
    and ``final`` (before it is sent), ``told`` (after a final was sent), ``endTurn``,
    ``closeStream`` (when it has come) and ``usage`` (before it is sent).

    Attributes:
        counts: How often each moment has come on this connection.
        heard: All audio of this connection.
    """

    def __init__(self, peer: Peer, number: int, server: SttServer) -> None:
        super().__init__(peer, number)
        self._server = server
        self.counts: Counter[str] = Counter()
        self.heard = bytearray()
        self.keeps_audio = server.keeps_audio
        self.ears = Ears(**server.ears)

    def run(self) -> None:
        """Serve until the client leaves."""
        while True:
            self.work_off(self.request())

    def work_off(self, request: dict[str, Any]) -> None:
        """Answer one request."""
        (verb,) = request
        if verb == "transcribeConfig":
            self.moment("config")
        elif verb == "audioChunk":
            self.moment("chunk")
            pcm = base64.b64decode(request[verb]["content"])
            if self.keeps_audio:
                self.heard += pcm
            self.tell(self.ears.feed(pcm))
        elif verb == "endTurn":
            self.moment("endTurn")
            self.tell(self.ears.end_turn())
        elif verb == "closeStream":
            self.moment("closeStream")
            self.tell(self.ears.finish())
            self.moment("usage")
            self.usage(round(self.ears.heard_ms))

    def tell(self, results: list[dict[str, Any]]) -> None:
        """Send results."""
        for result in results:
            transcription = result.get("transcription")
            if transcription is not None:
                self.moment("final" if transcription["isFinal"] else "partial")
            self.send({"result": {**result, "status": {"code": 0, "message": "", "details": []}}})
            if transcription is not None and transcription["isFinal"]:
                self.moment("told")

    def until_close_stream(self) -> None:
        """Read requests up to the end of the stream."""
        while "closeStream" not in self.request():
            pass

    def usage(self, milliseconds: int) -> None:
        """Tell what was counted."""
        self.send({"result": {"usage": {"transcribedAudioMs": milliseconds, "modelId": "m"}}})

    def moment(self, name: str) -> None:
        self.counts[name] += 1
        self._server.hook(self, name)

    # What may go wrong.

    def hang_up(self) -> None:
        """End the TCP connection without a word; no reset overtakes what was said before."""
        self.peer.sock.shutdown(socket.SHUT_WR)
        self.peer.read_until_end()
        raise Left

    def reset(self) -> None:
        """End it with a TCP reset."""
        self.peer.reset()
        raise Left

    def say_close(self, code: int = 1011) -> None:
        """Say CLOSE, and read on until the client's has come: a reset could overtake it."""
        self.close(code)
        raise Left

    def fail(self, code: int = 14) -> None:
        """Report an error and say CLOSE 1000, as the service does with fatal ones."""
        self.error(code, "not now")
        self.say_close(1000)

    def half_a_frame(self) -> None:
        """Send the beginning of a message, then end the connection."""
        self.peer.send(bytes([TEXT, 100]) + b'{"result"')
        self.hang_up()


class SttServer:
    """
    Where a test finds what has happened.

    Attributes:
        hook: Called at every moment of every connection.
        ears: Arguments of each connection's :class:`Ears`.
        keeps_audio: Whether the audio of every connection is kept.
        connections: In their order.
    """

    def __init__(self, hook: Hook, ears: dict[str, Any], *, keeps_audio: bool = True) -> None:
        self.hook = hook
        self.keeps_audio = keeps_audio
        self.ears = ears
        self.connections: list[Hearing] = []
        self._lock = threading.Lock()
        self._count = 0

    def run(self, peer: Peer) -> None:
        with self._lock:
            self._count += 1
            number = self._count
        hearing = Hearing(peer, number, self)
        self.connections.append(hearing)
        with contextlib.suppress(Left):
            hearing.run()

    @property
    def heard_seconds(self) -> float:
        """Audio of all connections together."""
        return sum(len(one.heard) for one in self.connections) / 2 / RATE_HZ


@contextlib.contextmanager
def hearing_server(
    hook: Hook = lambda hearing, name: None,
    *,
    receive_buffer_bytes: int | None = None,
    ears: dict[str, Any] | None = None,
    **settings: Any,
) -> Iterator[tuple[Inworld, SttServer]]:
    """Give a client of a server that hears words, and the server."""
    server = SttServer(hook, ears or {})
    with serve(server.run, receive_buffer_bytes=receive_buffer_bytes) as raw:
        url = f"ws://127.0.0.1:{raw.port}"
        with Inworld(api_key=KEY, **{"base_url": url, **settings}) as client:
            yield client, server
