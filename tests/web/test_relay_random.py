"""Random messages of a browser never make a relay fail."""

from __future__ import annotations

import json
import random
import time

import pytest

from inworld_sync.web import Relay

from support.scripted_realtime import Service, realtime

KINDS = ["start", "push", "text", "heard", "interrupted", "finished", "unknown", 5, None]
VALUES = [0, 1, 2, -1, 1.5, 1e9, 1e400, True, None, "1", "hello", "\ud800", [], {}, 100, 5000]
SIZES = [2, 960, 961, 4800, 70_000]
MESSAGES = 150


class RandomBrowser:
    """A socket with random messages. After the last message, ``receive`` raises an error."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._count = 0

    def receive(self, timeout: float) -> str | bytes | None:
        if self._is(0.1):
            time.sleep(timeout)
            return None
        self._count += 1
        if self._count > MESSAGES:
            raise ConnectionResetError
        if self._count == 1:
            return json.dumps({"type": "start", "mode": self._random.choice(["open", "push"])})
        return bytes(self._random.choice(SIZES)) if self._is(0.3) else json.dumps(self._message())

    def send(self, data: object) -> None: ...

    def _is(self, share: float) -> bool:
        return self._random.random() < share

    def _message(self) -> dict[str, object]:
        names = [name for name in ("mode", "down", "text", "item", "ms") if self._is(0.7)]
        message = {name: self._random.choice(VALUES) for name in names}
        if self._is(0.7):
            message.update(down=self._is(0.5), item=self._random.randint(0, 4), ms=20, text="Hi")
        return {"type": self._random.choice(KINDS), **message}


def talk(service: Service) -> None:
    """Answer every request, and interrupt every third reply."""
    service.open()
    number = 0
    while True:
        command = service.command()
        if command["type"] == "response.create":
            number += 1
            service.speak(command, number, "Yes", bytes(48_000))
            if number % 3 == 0:
                service.event("input_audio_buffer.speech_started", item_id=f"u{number}")
        elif command["type"] == "conversation.item.create":
            service.acknowledge(command)
        elif command["type"] == "session.update":
            service.event("session.updated", session=service.session)


@pytest.mark.parametrize("seed", range(3))
def test_random_messages(seed: int) -> None:
    """The conversation ends because the browser leaves or sends too many wrong messages."""
    with realtime(talk) as iw:
        source = lambda _: iw.realtime.connect()  # noqa: E731
        summary = Relay(RandomBrowser(seed), source, verify_origin=False).run()

    assert summary.end in ("browser_left", "wrong_messages")
    assert summary.wrong_messages > 0
