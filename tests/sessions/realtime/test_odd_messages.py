"""A field with a wrong value is ignored, and a message that cannot be read is skipped."""

from __future__ import annotations

import base64
import logging
import sys
from typing import Any

import pytest

from inworld_sync import NullSpeaker, WordTime
from inworld_sync.errors import (
    ConfigError,
    LocalProtocolError,
    RemoteProtocolError,
    ServiceError,
)
from inworld_sync.models.events import UnknownEvent
from inworld_sync.models.realtime import AudioDelta, PingReceived, ResponseConfig, ResponseDone
from inworld_sync.sessions import event_stream
from inworld_sync.sessions.realtime.events import InvalidMessage

from support.peers import BINARY, TEXT
from support.scripted_realtime import Event, Service, obedient, place, realtime


def item(content: object, **fields: object) -> Event:
    """Return a message that reports a new item."""
    body = {"id": "x1", "type": "message", "role": "user", "content": content, **fields}
    return {"type": "conversation.item.added", "previous_item_id": None, "item": body}


# Malformed messages that are not about the output of a response, by name.
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
    """A malformed message that has no output of a response does not affect the response."""

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
    """
    The audio of a message with malformed fields is played. Each malformed field is counted, and its
    name is logged once.
    """

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


# Unreadable messages.

# (first byte of the frame, payload).
UNREADABLE: dict[str, tuple[int, bytes]] = {
    "empty": (TEXT, b""),
    "not JSON": (TEXT, b"not JSON"),
    "cut": (TEXT, b'{"type": "ping"'),
    "two": (TEXT, b'{"type": "ping"}\n{"type": "ping"}'),
    "array": (TEXT, b"[1, 2]"),
    "null": (TEXT, b"null"),
    "NaN": (TEXT, b'{"type": "ping", "timestamp": NaN}'),
    "byte order mark": (TEXT, b'\xef\xbb\xbf{"type": "ping"}'),
    "deep": (TEXT, b'{"type": "x", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "long integer": (TEXT, b'{"type": "ping", "timestamp": ' + b"9" * 5000 + b"}"),
    "binary": (BINARY, b"\xff\x00\x01"),
    "error without a type": (TEXT, b'{"error": {"code": 3, "message": "bad request"}}'),
}


@pytest.mark.parametrize(("first", "payload"), UNREADABLE.values(), ids=UNREADABLE)
def test_an_unreadable_message_is_an_event(first: int, payload: bytes) -> None:
    """An unreadable message becomes an ``InvalidMessage``. The response and session continue."""

    def script(service: Service) -> None:
        service.open()
        request = service.request()
        service.created("r1", request)
        service.text("r1", "a1", "Hel")
        service.peer.send_frame(first, payload)
        service.text("r1", "a1", "lo")
        service.done("r1", request=request)
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect() as rt:
        reply = rt.respond().wait(30)
        event = next(e for e in rt.events(timeout=30) if isinstance(e, InvalidMessage))

        assert ("completed", "Hello") == (reply.status, reply.text)
        assert ("", None) == (event.type, event.response_id)
        assert isinstance(event.error, (RemoteProtocolError, ServiceError))
        assert rt.ended is None


def test_json_in_a_binary_frame() -> None:
    """A JSON message in a binary frame is read, and ``stats`` counts the frame."""

    def script(service: Service) -> None:
        service.open()
        service.peer.send_frame(BINARY, b'{"type": "ping", "timestamp": 5}')
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect() as rt:
        event = next(e for e in rt.events(timeout=30) if isinstance(e, PingReceived))
        stats = rt.stats

    assert 5 == event.timestamp
    assert stats is not None
    assert 1 == stats.binary_messages


def test_an_error_without_a_type_before_the_end() -> None:
    """
    If the service sends an error without a type and then closes, the session ends with this error.
    """

    def script(service: Service) -> None:
        service.open()
        service.send({"error": {"code": 3, "message": "bad request"}})
        service.close(1011)
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect() as rt:
        with pytest.raises(ServiceError, match="bad request"):
            list(rt.events(timeout=30))


def test_an_error_without_a_type_while_opening() -> None:
    """
    If the service reports an error without a type, ``connect`` raises this error, even if the
    connection stays open.
    """

    def script(service: Service) -> None:
        service.event("session.created", session=service.session)
        service.until("session.update")
        service.send({"error": {"code": 3, "message": "bad request"}})
        service.until_left()

    with realtime(script) as iw, pytest.raises(ServiceError, match="bad request"):
        iw.realtime.connect(timeout=60)


def test_deep_settings() -> None:
    """Deeply nested settings do not end the session, even if many such messages arrive."""
    depth = 900
    value = '{"a": ' * depth + "5" + "}" * depth
    text = f'{{"type": "session.updated", "session": {{"x": {value}}}}}'

    def script(service: Service) -> None:
        service.open()
        for _ in range(3):
            service.send(text)
        service.speak(service.request(), 1, "Hello")
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect() as rt:
        assert "Hello" == rt.respond().wait(30).text.strip()


def test_an_unnamed_end_of_one_of_two_responses() -> None:
    """If two responses are in progress, a ``response.done`` without an id ends neither response."""

    def script(service: Service) -> None:
        service.open()
        for number, request in enumerate((service.request(), service.request())):
            service.created(f"r{number}", request)
        service.send({"type": "response.done"})
        service.send({"type": "response.output_text.delta", "item_id": "a1"})
        for number in range(2):
            service.text(f"r{number}", f"a{number}", "Hello")
            service.done(f"r{number}")
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect() as rt:
        replies = [rt.respond(ResponseConfig(conversation="none")) for _ in range(2)]

        assert ["Hello", "Hello"] == [each.wait(30).text for each in replies]


# Text in later messages.

OUTPUT: Event = {
    "id": "a1",
    "type": "message",
    "role": "assistant",
    "content": [{"type": "audio", "transcript": "Hello"}],
}
PART: Event = {"type": "audio", "transcript": "Hello"}

# Each of these messages is the only message with the text of a response.
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
    """``text`` and the text stream have the text of a response, whichever message contains it."""

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


# Times of words.


def test_words_are_heard_with_the_speech(caplog: pytest.LogCaptureFixture) -> None:
    """
    The times of words count from the start of a response's audio.

    ``on_word`` gets all words in order. An exception of a handler goes to the client's logger.
    """
    times = {"word_start_time_seconds": [0.0], "word_end_time_seconds": [0.05]}

    def script(service: Service) -> None:
        service.open()
        request = service.request()
        service.created("r1", request)
        for item_id, word in (("a1", "One"), ("a1", "two"), ("a2", "three")):
            service.event(
                AudioDelta.type,
                **place("r1", item_id),
                delta=base64.b64encode(bytes(4800)).decode(),
                timestamp_info={"word_alignment": {"words": [word], **times}},
            )
        service.done("r1", request=request)
        service.until_left()

    heard: list[WordTime] = []

    def note(word: WordTime) -> None:
        heard.append(word)
        raise ValueError("no")

    logger = logging.getLogger("the client's")
    with realtime(script, logger=logger) as iw, iw.realtime.connect() as rt:
        playback = rt.respond().audio.play(NullSpeaker(24000), on_word=note)
        playback.wait(30)

    assert {"the client's"} == {record.name for record in caplog.records if record.exc_info}
    expected = [("One", 0.0, 50.0), ("two", 100.0, 150.0), ("three", 200.0, 250.0)]
    assert expected == [(word.text, word.start_ms, word.end_ms) for word in heard]


def test_size_of_an_event() -> None:
    """
    The counted size of an event is close to its size in memory, and not to the smaller size of its
    JSON.
    """

    def script(service: Service) -> None:
        service.open()
        request = service.request()
        service.event("future.event", empty=[{} for _ in range(10_000)])
        service.speak(request, 1, "hello")
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect() as rt:
        queue = rt.subscribe()
        rt.send_message("hi").wait(30)
        counted_bytes = rt.waiting_bytes
        event = next(event for event in queue if event.type == "future.event")

    assert isinstance(event, UnknownEvent)
    empty = event.raw["empty"]
    assert isinstance(empty, list)
    assert counted_bytes > (sys.getsizeof(empty) + sum(map(sys.getsizeof, empty))) / 4


def test_flood_while_a_thread_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a queue that nobody reads overflows, only that queue ends, and the session continues."""
    monkeypatch.setattr(event_stream, "MAX_BEHIND_BYTES", 1_000_000)

    def script(service: Service) -> None:
        service.open()
        for number in (1, 2):
            request = service.request()
            for _ in range(1000):
                service.event("future.event", text="x" * 1000)
            service.speak(request, number, "hello")
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect() as rt:
        queue = rt.subscribe()
        for _ in range(2):
            assert "hello" in rt.send_message("hi").wait(30).text
        with pytest.raises(LocalProtocolError, match="did not take them"):
            queue.get(30)


@pytest.mark.parametrize("timeout", [-1, float("nan"), "3", 10**400])
def test_wrong_timeout_without_a_wait(timeout: Any) -> None:
    """A call refuses a wrong timeout even if the call would not wait."""
    with realtime(obedient) as iw, iw.realtime.connect() as rt, rt.subscribe() as queue:
        with pytest.raises(ConfigError, match="timeout must be a number"):
            queue.get(timeout)
        with pytest.raises(ConfigError, match="timeout must be a number"):
            rt.send_audio(bytes(2), timeout=timeout)
