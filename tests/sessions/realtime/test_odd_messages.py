"""Odd and unreadable messages: they lose no more than the field or the message itself."""

from __future__ import annotations

import logging

import pytest

from inworld_sync.models.realtime import AudioDelta, ResponseDone

from support.scripted_realtime import Event, Service, place, realtime


def item(content: object, **fields: object) -> Event:
    """A message that an item was added."""
    body = {"id": "x1", "type": "message", "role": "user", "content": content, **fields}
    return {"type": "conversation.item.added", "previous_item_id": None, "item": body}


# By name: messages about something else than the output of a response.
ODD: dict[str, Event] = {
    "deleted without an item": {"type": "conversation.item.deleted"},
    "transcript null": {
        "type": "conversation.item.input_audio_transcription.completed",
        "item_id": "u1",
        "transcript": None,
    },
    "transcript without an item": {
        "type": "conversation.item.input_audio_transcription.failed",
        "error": {"message": "x"},
    },
    "rate limit without a name": {"type": "rate_limits.updated", "rate_limits": [{"limit": 5}]},
    "rate limit as text": {
        "type": "rate_limits.updated",
        "rate_limits": [{"name": "tokens", "reset_seconds": "6ms"}],
    },
    "committed without an item": {"type": "input_audio_buffer.committed"},
    "truncated without an end": {
        "type": "conversation.item.truncated",
        "item_id": "x",
        "content_index": 0,
    },
    "speech at a float": {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": 12.5},
    "speech at a text": {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": "700"},
    "session null": {"type": "session.updated", "session": None},
    "session id as number": {"type": "session.updated", "session": {"id": 5}},
    "ping as text": {"type": "ping", "timestamp": "2026-01-01T00:00:00Z"},
    "item without an id": item([], id=None),
    "item without a picture": item([{"type": "input_image", "image_url": ""}]),
    "item with a text": item("hi"),
    "item with a number": item(5),
    "item after a number": {**item([]), "previous_item_id": 3},
    "output as an array": item([], type="function_call_output", call_id="c", output=[{}]),
    "backchannel without an id": {"type": "response.backchannel.audio.done"},
    "part as a number": {"type": "response.content_part.added", **place("r1", "a1"), "part": 5},
    "item of a response without an id": {
        "type": "response.output_item.added",
        "response_id": "r1",
        "item": {"type": "message", "role": "assistant"},
    },
    "event id as number": {"type": "rate_limits.updated", "event_id": 17, "rate_limits": []},
}


@pytest.mark.parametrize("message", ODD.values(), ids=ODD)
def test_an_odd_message_does_not_change_a_response(message: Event) -> None:
    """A malformed message about something else leaves the response and the session as they are."""

    def script(service: Service) -> None:
        service.open()
        request = service.request()
        service.created("r1", request)
        service.item("r1", "a1")
        service.text("r1", "a1", "Hel")
        service.send(message)
        service.text("r1", "a1", "lo")
        service.done("r1", request=request)
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect() as rt:
        reply = rt.respond().wait(30)

        assert ("completed", "Hello") == (reply.status, reply.text)
        assert rt.ended is None


def test_ignored_fields_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    """Audio with malformed fields beside it is played; the fields are counted and logged once."""

    def script(service: Service) -> None:
        service.open()
        request = service.request()
        service.created("r1", request)
        for number in range(3):
            fields = {**place("r1", "a1"), "output_index": "0", "event_id": number}
            service.send({"type": AudioDelta.type, **fields, "delta": "AAA="})
        service.event(
            ResponseDone.type,
            response={"id": "r1", "status": "completed", "usage": {"total_tokens": "9"}},
        )
        service.until_left()

    with (
        caplog.at_level(logging.WARNING),
        realtime(script) as iw,
        iw.realtime.connect() as rt,
    ):
        reply = rt.respond()
        data = reply.audio.read(30).data
        reply.wait(30)
        stats = rt.stats

    assert (bytes(6), "completed") == (data, reply.status)
    assert stats is not None
    assert {
        "response.output_audio.delta.output_index": 3,
        "response.output_audio.delta.event_id": 3,
        "response.done.total_tokens": 1,
    } == stats.warnings
    logged = [each.getMessage() for each in caplog.records if "ignored" in each.getMessage()]
    assert len(stats.warnings) == len(logged)


# Text in later messages.

OUTPUT: Event = {
    "id": "a1",
    "type": "message",
    "role": "assistant",
    "content": [{"type": "audio", "transcript": "Hello"}],
}
PART: Event = {"type": "audio", "transcript": "Hello"}

# The only message with the text of a response.
TEXTS: dict[str, Event] = {
    "part delta": {
        "type": "response.content_part.delta",
        **place("r1", "a1"),
        "delta": {"type": "text", "text": "Hello"},
    },
    "part done": {"type": "response.content_part.done", **place("r1", "a1"), "part": PART},
    "item done": {"type": "response.output_item.done", "response_id": "r1", "item": OUTPUT},
    "response done": {
        "type": "response.done",
        "response": {"id": "r1", "status": "completed", "output": [OUTPUT]},
    },
}


@pytest.mark.parametrize("message", TEXTS.values(), ids=TEXTS)
def test_text_in_one_message_only(message: Event) -> None:
    """The text of a response is in ``text`` and in its stream, in whatever message it arrives."""

    def script(service: Service) -> None:
        service.open()
        request = service.request()
        service.created("r1", request)
        service.item("r1", "a1")
        service.send(message)
        service.done("r1", request=request)
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect() as rt:
        reply = rt.respond()

        assert ["Hello"] == list(reply.text_stream(30))
        assert "Hello" == reply.wait(30).text
