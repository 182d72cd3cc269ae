"""A small realtime service that sends the messages of a test, which may be invalid."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from inworld_sync import Inworld

from support.peers import CLOSE, PING, PONG, TEXT, Peer
from support.scripted import ScriptEnded, client_of

Event = dict[str, Any]

SESSION: Event = {
    "type": "realtime",
    "object": "realtime.session",
    "id": "sess_1",
    "model": "m/1",
    "output_modalities": ["audio", "text"],
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24000},
            "turn_detection": {"type": "semantic_vad"},
        },
        "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "Dennis"},
    },
    "tools": [],
    "tool_choice": "auto",
}


class Service:
    """
    One WebSocket connection, on the side of the service.

    Attributes:
        commands: The commands of the client so far.
        number: The number of this connection on the server; the first connection has 1.
        first: The first byte of the frames that the service sends: TEXT or BINARY.
        session: The session object, including all updates.
    """

    def __init__(self, peer: Peer, number: int) -> None:
        self.peer = peer
        self.number = number
        self.first = TEXT
        self.commands: list[Event] = []
        self.session: Event = json.loads(json.dumps(SESSION))
        self._events = itertools.count(1)
        peer.upgrade()

    # Messages of the client.

    def command(self) -> Event:
        """Return the next command of the client. Answer pings. CLOSE ends the script."""
        while True:
            first, payload = self.peer.read_frame()
            if first == PING:
                self.peer.send_frame(PONG, payload)
            elif first == CLOSE:
                self.peer.send_frame(CLOSE, payload)
                raise ScriptEnded
            elif first == TEXT:
                self.commands.append(json.loads(payload))
                return self.commands[-1]

    def until(self, name: str) -> Event:
        """Read commands up to the first command of a type. Return this command."""
        while (command := self.command())["type"] != name:
            pass
        return command

    def until_left(self) -> None:
        """Read until the client sends CLOSE. The CLOSE ends the script."""
        while True:
            self.command()

    def said(self, name: str) -> list[Event]:
        """Return the commands of a type that the client has sent so far."""
        return [command for command in self.commands if command["type"] == name]

    # Messages of the service.

    def send(self, message: object) -> None:
        """Send a value as JSON. Text and bytes are sent unchanged."""
        if isinstance(message, str):
            message = message.encode()
        data = message if isinstance(message, bytes) else json.dumps(message).encode()
        self.peer.send_frame(self.first, data)

    def event(self, name: str, /, **fields: object) -> None:
        """Send an event."""
        self.send({"type": name, "event_id": f"evt_{self.number}_{next(self._events)}", **fields})

    def open(self) -> Event:
        """
        Open the session as a normal service does.

        Return the settings that the client has sent.
        """
        self.event("session.created", session=self.session)
        return self.accept_update()

    def accept_update(self) -> Event:
        """Read the next update and confirm it. Return the update."""
        asked = self.until("session.update")["session"]
        merge(self.session, asked)
        self.event("session.updated", session=self.session)
        return asked

    def acknowledge(self, command: Event, previous: str | None = None) -> None:
        """Report that the item of a command was added to the conversation."""
        item = {"object": "realtime.item", "status": "completed", **command["item"]}
        self.event("conversation.item.added", item=item, previous_item_id=previous)
        self.event("conversation.item.done", item=item, previous_item_id=previous)

    def request(self) -> Event:
        """Read up to the next request for a response. Acknowledge the items before this request."""
        while (command := self.command())["type"] != "response.create":
            if command["type"] == "conversation.item.create":
                self.acknowledge(command)
        return command

    def created(self, response_id: str, request: Event | None = None) -> None:
        """Begin a response."""
        self.event(
            "response.created",
            response=response(response_id, "in_progress", request=request),
        )

    def item(self, response_id: str, item_id: str) -> None:
        """Begin a message of a response."""
        item = {"id": item_id, "type": "message", "role": "assistant", "content": []}
        body = {**item, "status": "in_progress"}
        self.event("response.output_item.added", response_id=response_id, output_index=0, item=body)
        self.event("conversation.item.added", item=body, previous_item_id=None)
        self.event(
            "response.content_part.added",
            **place(response_id, item_id),
            part={"type": "audio", "transcript": ""},
        )

    def audio(self, response_id: str, item_id: str, data: bytes) -> None:
        """Send a piece of speech."""
        self.event(
            "response.output_audio.delta",
            **place(response_id, item_id),
            delta=base64.b64encode(data).decode(),
        )

    def transcript(self, response_id: str, item_id: str, delta: str) -> None:
        """Send a piece of the transcript."""
        self.event(
            "response.output_audio_transcript.delta", **place(response_id, item_id), delta=delta
        )

    def text(self, response_id: str, item_id: str, delta: str) -> None:
        """Send a piece of text."""
        self.event("response.output_text.delta", **place(response_id, item_id), delta=delta)

    def item_done(self, response_id: str, item_id: str, text: str = "") -> None:
        """End a message of a response."""
        item = {
            "id": item_id,
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "audio", "transcript": text}],
        }
        self.event("response.output_audio.done", **place(response_id, item_id))
        self.event("conversation.item.done", item=item, previous_item_id=None)
        self.event("response.output_item.done", response_id=response_id, output_index=0, item=item)

    def done(self, response_id: str, status: str = "completed", **fields: object) -> None:
        """End a response."""
        self.event("response.done", response={**response(response_id, status), **fields})

    def speak(self, request: Event | None, number: int, text: str, data: bytes = b"") -> None:
        """Send a complete response that has one message."""
        response_id, item_id = f"resp_{number}", f"item_a{number}"
        self.created(response_id, request)
        self.item(response_id, item_id)
        for word in text.split(" "):
            self.transcript(response_id, item_id, word + " ")
        if data:
            self.audio(response_id, item_id, data)
        self.item_done(response_id, item_id, text)
        self.done(response_id)

    def call(
        self, response_id: str, item_id: str, call_id: str, name: str, arguments: str = "{}"
    ) -> None:
        """Send all messages of a function call in the documented order."""
        item = {"id": item_id, "type": "function_call", "call_id": call_id, "name": name}
        where = {"response_id": response_id, "output_index": 0}
        begun = {**item, "arguments": "", "status": "in_progress"}
        self.event("response.output_item.added", **where, item=begun)
        self.event("conversation.item.added", item=begun, previous_item_id=None)
        self.event(
            "response.function_call_arguments.done",
            **where,
            item_id=item_id,
            call_id=call_id,
            arguments=arguments,
        )
        done = {**item, "arguments": arguments, "status": "completed"}
        self.event("conversation.item.done", item=done, previous_item_id=None)
        self.event("response.output_item.done", **where, item=done)

    def error(self, code: str | None, message: str = "an error", **fields: object) -> None:
        """Report an error. The session usually continues."""
        error = {"type": "invalid_request_error", "code": code, "message": message, "param": None}
        self.event("error", error={"event_id": None, **error, **fields})

    def hang_up(self) -> None:
        """End the connection without CLOSE, and end the script."""
        self.peer.end_sending()
        self.peer.read_until_end()
        raise ScriptEnded

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Send CLOSE, and read until the client has sent CLOSE."""
        self.peer.send_frame(CLOSE, code.to_bytes(2, "big") + reason.encode())
        with contextlib.suppress(ScriptEnded):
            self.until_left()


def place(response_id: str, item_id: str) -> Event:
    """Return the fields that say to which part of a response a delta belongs."""
    return {
        "response_id": response_id,
        "item_id": item_id,
        "output_index": 0,
        "content_index": 0,
    }


def response(response_id: str, status: str, *, request: Event | None = None) -> Event:
    """Return a response object in the form of the service."""
    body: Event = {
        "object": "realtime.response",
        "id": response_id,
        "status": status,
        "status_details": None,
        "output": [],
    }
    if request is not None:
        body["metadata"] = request.get("response", {}).get("metadata")
    return body


def merge(old: Event, new: Event) -> None:
    """Merge the settings of *new* into *old*, at all levels."""
    for name, value in new.items():
        if isinstance(value, dict) and isinstance(old.get(name), dict):
            merge(old[name], value)
        else:
            old[name] = value


Script = Callable[[Service], None]


def realtime(*scripts: Script, **settings: Any) -> AbstractContextManager[Inworld]:
    """Return a client of a realtime service. See :func:`~support.scripted.client_of`."""
    return client_of(Service, scripts, settings)


def obedient(service: Service) -> None:
    """Respond to each request with ``You said ...`` and 100 ms of audio."""
    service.open()
    for number in itertools.count(1):
        request = service.request()
        said = [
            part["text"]
            for command in service.said("conversation.item.create")
            for part in command["item"].get("content", [])
        ]
        service.speak(request, number, f"You said {said[-1] if said else 'nothing'}", bytes(4800))
