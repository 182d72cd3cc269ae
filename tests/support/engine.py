"""
A game engine that uses the protocol of ``docs/engines.md``.

The engine shares no code with the package. It plays audio in virtual time. ``play`` reports the
heard position after each step.
"""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

__all__ = ["PATIENCE_SECONDS", "Engine", "Line"]

PATIENCE_SECONDS = 90.0


class Line:
    """The audio and messages that the engine has received for one line."""

    def __init__(self) -> None:
        self.pcm = b""
        self.words: list[dict[str, Any]] = []
        self.mouth: list[tuple[float, dict[str, float]]] = []
        self.strongest: list[str] = []
        self.source = ""
        self.text = ""
        self.has_begun = False
        self.end: dict[str, Any] | None = None

    @property
    def received_ms(self) -> float:
        return len(self.pcm) / 48.0


class Engine:
    """
    One engine and its connection.

    Args:
        url: The address of the server.
        hello: Further fields of ``hello``. If *hello* is None, the engine sends no ``hello``.
        options: Arguments of ``websockets.sync.client.connect``.
    """

    def __init__(self, url: str, hello: dict[str, Any] | None = None, **options: Any) -> None:
        self._stack = ExitStack()
        self.socket: ClientConnection = self._stack.enter_context(
            connect(url, proxy=None, compression=None, **options)
        )
        self.events: list[dict[str, Any]] = []
        self.lines: dict[int, Line] = {}
        self.close_code: int | None = None
        self.shapes: list[str] = []
        if hello is not None:
            self.send("hello", version=1, **hello)

    def send(self, kind: str, **fields: Any) -> None:
        self.socket.send(json.dumps({"type": kind, **fields}))

    def send_audio(self, pcm: bytes) -> None:
        self.socket.send(pcm)

    def receive(self, timeout: float = PATIENCE_SECONDS) -> bool:
        """Handle one message. Return False after the timeout or after the end of the connection."""
        try:
            message = self.socket.recv(timeout)
        except TimeoutError:
            return False
        except ConnectionClosed:
            self.close_code = self.socket.close_code
            return False
        if isinstance(message, bytes):
            (number,) = struct.unpack_from("<i", message)
            line = self.lines[number]
            assert line.end is None, "audio after the end of a line"
            assert 4 < len(message) <= 4 + 4800
            line.pcm += message[4:]
            return True
        event = json.loads(message)
        self.events.append(event)
        self._handle(event)
        return True

    def until(self, is_done: Callable[[], Any]) -> Any:
        """Handle messages until the function returns a true value, and return this value."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (found := is_done()):
            assert self.receive(max(deadline - time.monotonic(), 0)), (
                f"no event in time (close code {self.close_code}): {self.events[-5:]}"
            )
        return found

    def wait_for(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Wait for the first event with these fields, and return the event."""

        def find() -> dict[str, Any] | None:
            for event in self.events:
                if event["type"] == kind and fields.items() <= event.items():
                    return event
            return None

        found: dict[str, Any] = self.until(find)
        return found

    def until_closed(self) -> int | None:
        """Handle messages until the server closes the connection, and return the close code."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.close_code is None:
            left = deadline - time.monotonic()
            assert left > 0, "the server did not close the connection"
            self.receive(left)
        return self.close_code

    def play(self, number: int, step_ms: float = 100.0) -> Line:
        """Play a line to its end, and report the heard position after each step."""
        self.until(lambda: number in self.lines)
        line = self.lines[number]
        heard_ms = 0.0
        while line.end is None or heard_ms < line.received_ms:
            if line.end is None and line.received_ms <= heard_ms:
                assert self.receive(), f"no event in time: {self.events[-5:]}"
                continue
            heard_ms = min(heard_ms + step_ms, line.received_ms)
            self.send("heard", line=number, ms=heard_ms)
            if line.end is not None and line.end["reason"] != "complete":
                break
        return line

    def _handle(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        number = event.get("line")
        if kind == "ready":
            self.shapes = event["shapes"]
        if number is None or kind == "error":
            return
        line = self.lines.setdefault(number, Line())
        if kind == "begin":
            assert not line.has_begun
            line.has_begun = True
        if kind == "words":
            line.words += event["words"]
        elif kind == "mouth":
            line.source = event["source"]
            for frame in event["frames"]:
                weights = dict(zip(self.shapes, frame["weights"], strict=True))
                line.mouth.append((frame["ms"], weights))
                line.strongest.append(frame["shape"])
        elif kind == "reply":
            line.text += event["text"]
        elif kind == "end":
            line.end = event

    def close(self) -> None:
        self._stack.close()

    def vanish(self) -> None:
        """End the TCP connection without a close frame."""
        self.socket.close_socket()
        self._stack.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
