"""Random histories of a realtime session."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

from inworld_sync import Inworld, RealtimeSession, Session, tool
from inworld_sync.realtime import Message

from histories.disturbance import Disturbance
from histories.history import PATIENT, History
from support.peers import Peer
from support.scripted import client_of
from support.scripted_realtime import Event, Service, merge

__all__ = ["HISTORY"]

# The deadlines are short, because most waits of a history end only at their deadline.
_DEADLINES = {"request_timeout": 0.2, "response_start_timeout": 0.3, "response_timeout": 0.3}


class DisturbedService(Service):
    """A service that answers every command. Its messages pass through the disturbance."""

    def __init__(self, peer: Peer, number: int, disturbance: Disturbance) -> None:
        super().__init__(peer, number)
        self._disturbance = disturbance
        self._responses = 0
        self._is_open = False

    def send(self, message: object) -> None:
        if self._is_open:
            self._disturbance.forward(lambda: super(DisturbedService, self).send(message))
        else:
            super().send(message)

    def run(self) -> None:
        """Serve until the client closes the connection."""
        self.open()
        self._is_open = True
        while True:
            self.handle(self.command())

    def handle(self, command: Event) -> None:
        """Answer one command."""
        kind = command["type"]
        if kind == "session.update":
            merge(self.session, command["session"])
            self.event("session.updated", session=self.session)
        elif kind == "conversation.item.create":
            self.acknowledge(command)
        elif kind == "conversation.item.retrieve":
            item = {"id": command["item_id"], "type": "message", "role": "user", "content": []}
            self.event("conversation.item.retrieved", item=item)
        elif kind == "conversation.item.delete":
            self.event("conversation.item.deleted", item_id=command["item_id"])
        elif kind == "conversation.item.truncate":
            fields = {name: command[name] for name in ("item_id", "content_index", "audio_end_ms")}
            self.event("conversation.item.truncated", **fields)
        elif kind == "response.create":
            self.respond(command)
        elif kind == "response.cancel":
            self.error("response_cancel_not_active", event_id=command.get("event_id"))

    def respond(self, command: Event) -> None:
        """Respond to the last text of the user. The text "weather" gets a function call."""
        self._responses += 1
        name = f"{self.number}_{self._responses}"
        last = self.said("conversation.item.create")[-1:]
        text = self._last_user_text()
        if text == "weather" and last and last[0]["item"]["type"] == "message":
            self.created(f"resp_{name}", command)
            self.call(f"resp_{name}", f"item_c{name}", f"call_{name}", "weather")
            self.done(f"resp_{name}")
        else:
            self.speak_as(name, command, f"You said {text}")

    def speak_as(self, name: str, command: Event, text: str) -> None:
        """Send a response that speaks a text."""
        response_id, item_id = f"resp_{name}", f"item_a{name}"
        self.created(response_id, command)
        self.item(response_id, item_id)
        for word in text.split(" "):
            self.transcript(response_id, item_id, word + " ")
        self.audio(response_id, item_id, bytes(4800))
        self.item_done(response_id, item_id, text)
        self.done(response_id)

    def _last_user_text(self) -> str:
        for created in reversed(self.said("conversation.item.create")):
            parts: list[dict[str, Any]] = created["item"].get("content", [])
            if parts:
                return str(parts[0]["text"])
        return "nothing"


@tool
def weather() -> str:
    """Return the weather."""
    return "sunny"


@contextlib.contextmanager
def _open(disturbance: Disturbance) -> Iterator[RealtimeSession]:
    def serve(peer: Peer, number: int) -> DisturbedService:
        return DisturbedService(peer, number, disturbance)

    with client_of(serve, [DisturbedService.run], PATIENT) as client:
        yield from _opened(client)


def _opened(client: Inworld) -> Iterator[RealtimeSession]:
    with client.realtime.connect(Session(tools=[weather]), **_DEADLINES) as session:
        yield session


def _say(session: RealtimeSession, numbers: random.Random) -> None:
    session.send_message(numbers.choice(["hello", "weather"])).wait()


def _read_text(session: RealtimeSession, numbers: random.Random) -> None:
    for _ in session.send_message("hello").text_stream():
        if numbers.random() < 0.05:
            session.interrupt()


def _read_audio(session: RealtimeSession, numbers: random.Random) -> None:
    response = session.send_message("hello")
    for _ in response.audio:
        if numbers.random() < 0.2:
            response.cancel()


def _respond(session: RealtimeSession, _: random.Random) -> None:
    session.respond().wait()


def _update(session: RealtimeSession, numbers: random.Random) -> None:
    session.update(Session(instructions=f"number {numbers.random()}"))


def _change_items(session: RealtimeSession, numbers: random.Random) -> None:
    item_id = session.add(Message.user("an item"))
    if numbers.random() < 0.5:
        session.retrieve(item_id)
    if numbers.random() < 0.5:
        session.truncate(item_id, 100)
    session.delete(item_id)


def _interrupt(session: RealtimeSession, _: random.Random) -> None:
    session.interrupt()


def _send_audio(session: RealtimeSession, _: random.Random) -> None:
    session.send_audio(bytes(9600))
    session.clear()


def _check(session: RealtimeSession) -> None:
    assert session.stats is not None, "the session has no connection"
    text = session.send_message("after all").wait().text
    assert text.strip() == "You said after all", f"the answer is {text!r}"


HISTORY = History(
    _open,
    (_say, _read_text, _read_audio, _respond, _update, _change_items, _interrupt, _send_audio),
    _check,
)
