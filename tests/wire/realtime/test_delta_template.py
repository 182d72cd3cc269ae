"""A message is not parsed if only its audio and event id differ from the previous message."""

from __future__ import annotations

import json

import pytest

from inworld_sync.models.realtime import AudioDelta
from inworld_sync.wire.codec import load_object
from inworld_sync.wire.realtime.delta_template import DeltaTemplate
from inworld_sync.wire.realtime.events import read_object

BODY: dict[str, object] = {
    "type": "response.output_audio.delta",
    "event_id": "event_1",
    "response_id": "resp_1",
    "item_id": "item_1",
    "output_index": 1,
    "content_index": 2,
    "delta": "",
}


def text(**changes: object) -> bytes:
    return json.dumps({**BODY, **changes}).encode()


def parsed(message: bytes, audio: bytes) -> AudioDelta:
    event = read_object(load_object(message), audio)
    assert isinstance(event, AudioDelta)
    return event


def learned(message: bytes, event_id: bytes | None) -> DeltaTemplate:
    template = DeltaTemplate()
    template.learn(message, event_id, parsed(message, b"12"))
    return template


@pytest.mark.parametrize("event_id", ["event_2", "", "event_1", "x" * 200, "\u007e{}[],:"])
def test_repeated(event_id: str) -> None:
    """The event has the new audio and event id, and all other fields of the template."""
    message = text(event_id=event_id)

    event = learned(text(), b"event_1").read(message, event_id.encode(), b"3456")

    assert parsed(message, b"3456") == event


# A message, and the text of its event id.
OTHERS = [
    (text(item_id="item_2"), b"event_1"),
    (text(output_index=10), b"event_1"),
    (text(further=1), b"event_1"),
    (text(event_id=None), b"null"),
    (text(event_id=2), b"2"),
    (text().replace(b", ", b","), b"event_1"),
    (text().replace(b"event_1", b"event\x011"), b"event\x011"),
    (text().replace(b"event_1", "ev\u00e9nt".encode()), "ev\u00e9nt".encode()),
    (text().replace(b"event_1", b"event\xff1"), b"event\xff1"),
    (text(), None),
]


@pytest.mark.parametrize(("message", "event_id"), OTHERS)
def test_another_message(message: bytes, event_id: bytes | None) -> None:
    """A message must be parsed if another field differs, or if the id has unusual characters."""
    assert learned(text(), b"event_1").read(message, event_id, b"34") is None


# In these messages, it is not clear whether the text in the second column is the event id.
UNCLEAR = [
    (text(item_id="event_1"), b"event_1"),
    (text(event_id="type"), b"type"),
    (text(event_id=None), b"null"),
    (text(event_id=None, item_id="null"), b"null"),
    (text(further=1), b"event_1"),
    (text(), None),
]


@pytest.mark.parametrize(("message", "event_id"), UNCLEAR)
def test_no_template(message: bytes, event_id: bytes | None) -> None:
    """A message with an unclear event id is no template, even if the same message follows."""
    assert learned(message, event_id).read(message, event_id, b"34") is None


def test_the_latest_message_is_the_template() -> None:
    """A message that cannot be a template removes the previous template."""
    template = learned(text(), b"event_1")
    template.learn(text(further=1), b"event_1", parsed(text(further=1), b""))

    assert template.read(text(), b"event_1", b"12") is None
