"""For a realtime message with audio, the fast path and the JSON parser return the same event."""

from __future__ import annotations

import json

import pytest

from inworld_sync.models.realtime import AudioDelta, BackchannelDelta
from inworld_sync.sessions.realtime.connection import MessageReader

PLACES = {"response_id": "r", "item_id": "i", "output_index": 1, "content_index": 2}

# A delta of audio, the same delta with its older name, and a text that happens to be base64.
BODIES = [
    {"type": "response.output_audio.delta", **PLACES, "delta": "AAECAw==", "further": [1]},
    {"delta": "", "type": "response.output_audio.delta", **PLACES},
    {"type": "response.audio.delta", **PLACES, "delta": "AAECAw=="},
    {"type": BackchannelDelta.type, "backchannel_id": "b", "delta": "AAEC"},
    {"type": "response.output_audio_transcript.delta", **PLACES, "delta": "well"},
]


@pytest.mark.parametrize("body", BODIES)
def test_both_ways_agree(body: dict[str, object]) -> None:
    """The fast path and the JSON parser return the same event for every spelling of a message."""
    plain = json.dumps(body)
    # The fast path does not read a key with an escape, so the JSON parser reads this message.
    escaped = plain.replace('"delta"', '"d\\u0065lta"')

    assert MessageReader()._splitter.split(escaped.encode()) is None
    slowly, quickly = (MessageReader().read(m.encode()) for m in (escaped, plain))
    assert slowly == quickly


def test_audio() -> None:
    """The event of an audio delta has the decoded audio and the other fields of the message."""
    event = MessageReader().read(json.dumps(BODIES[0]).encode())

    assert isinstance(event, AudioDelta)
    assert (b"\0\1\2\3", 1, 2) == (event.audio, event.output_index, event.content_index)
    assert {"further": [1]} == event.extra


def test_text_that_looks_like_base64() -> None:
    """A transcript that looks like base64 remains text."""
    event = MessageReader().read(json.dumps(BODIES[4]).encode())

    assert event.delta == "well"
