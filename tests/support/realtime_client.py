"""A small Realtime client that uses another WebSocket library than the package."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from websockets.sync.client import ClientConnection, connect

from inworld_sync.emulator import Emulator

__all__ = ["REALTIME_PATH", "Event", "RealtimeClient", "kinds_of", "open_realtime"]

REALTIME_PATH = "/api/v1/realtime/session?key=test&protocol=realtime"
_TIMEOUT = 30.0

Event = dict[str, Any]


class RealtimeClient:
    """Sends events and reads events in order. Every wait has a deadline."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    def send(self, kind: str, **fields: Any) -> None:
        """Send one event."""
        self.connection.send(json.dumps({"type": kind, **fields}))

    def receive(self) -> Event:
        """Return the next event."""
        message = self.connection.recv(timeout=_TIMEOUT)
        assert isinstance(message, str)
        event = json.loads(message)
        assert isinstance(event, dict)
        return event

    def until(self, kind: str) -> list[Event]:
        """Return the events up to the first event of a type. An unexpected error fails the test."""
        events: list[Event] = []
        while not events or events[-1].get("type") != kind:
            events.append(self.receive())
            assert kind == "error" or events[-1].get("type") != "error", events[-1]
        return events

    def next(self, kind: str) -> Event:
        """Return the next event of a type."""
        return self.until(kind)[-1]

    def update(self, **session: Any) -> Event:
        """Update the session. Return the new session object."""
        self.send("session.update", session=session)
        updated: Event = self.next("session.updated")["session"]
        return updated

    def error(self) -> Event:
        """Return the error of the next ``error`` event."""
        error = self.next("error")["error"]
        assert isinstance(error, dict)
        return error

    def write(self, text: str, **fields: Any) -> None:
        """Add a text message of the user."""
        content = [{"type": "input_text", "text": text}]
        item = {"type": "message", "role": "user", "content": content, **fields}
        self.send("conversation.item.create", item=item)

    def ask(self, text: str, **response: Any) -> list[Event]:
        """Add a text message and request a response. Return the events up to ``response.done``."""
        self.write(text)
        self.send("response.create", response=response)
        return self.until("response.done")

    def hear(self, audio: bytes, chunk_bytes: int = 3200) -> None:
        """Append audio in pieces of 100 ms at 16 kHz."""
        for at in range(0, len(audio), chunk_bytes):
            piece = base64.b64encode(audio[at : at + chunk_bytes]).decode()
            self.send("input_audio_buffer.append", audio=piece)


def kinds_of(events: list[Event]) -> list[str]:
    """Return the types of the events in order. Successive events of the same type are one entry."""
    kinds: list[str] = []
    for event in events:
        kind = "deltas" if event["type"].endswith(".delta") else event["type"]
        if not kinds or kinds[-1] != kind:
            kinds.append(kind)
    return kinds


@contextmanager
def open_realtime(
    server: Emulator, path: str = REALTIME_PATH, headers: Mapping[str, str] | None = None
) -> Iterator[RealtimeClient]:
    """Connect with the key of the server, and read the first event."""
    if headers is None:
        headers = {"Authorization": f"Basic {server.api_key}"}
    with connect(
        server.ws_url + path,
        additional_headers=dict(headers),
        open_timeout=_TIMEOUT,
        close_timeout=5,
        max_queue=None,
    ) as connection:
        client = RealtimeClient(connection)
        assert client.receive()["type"] == "session.created"
        yield client
