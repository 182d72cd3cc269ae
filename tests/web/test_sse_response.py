"""Tests of server-sent events of sessions, streams and contexts."""

from __future__ import annotations

import json
import logging
from typing import ClassVar

import pytest

from inworld_sync import ConfigError, Inworld, errors, web
from inworld_sync.models.events import StreamEnded
from inworld_sync.models.realtime import (
    TextDelta,
    TextDone,
    TranscriptDelta,
    TranscriptDone,
    UserTranscriptCompleted,
    UserTranscriptUpdated,
)
from inworld_sync.models.stt import SpeechStarted, Transcription
from inworld_sync.models.turns import Word
from inworld_sync.sessions.event_source import EventSource
from inworld_sync.sessions.event_stream import EventStream
from inworld_sync.sessions.mailbox import MAX_WAITING_BYTES
from inworld_sync.sessions.monitor import Monitor
from inworld_sync.web import event_response

from support.web_pages import Page, events_of


class Source(EventSource[object]):
    """A source whose events the test adds."""

    _description: ClassVar[str] = "a test"
    _event_classes: ClassVar[tuple[type, ...]] = (object,)

    def __init__(self, *events: object) -> None:
        self.monitor = Monitor("a test")
        logger = logging.getLogger("test")
        self.stream = EventStream[object](
            self.monitor, name="a test", dispatch="poll", logger=logger
        )
        super().__init__(self.stream)
        self.add(*events)

    def add(self, *events: object) -> None:
        with self.monitor:
            for event in events:
                self.stream.append(event, 1)

    def end(self, error: errors.InworldError | None = None) -> Source:
        with self.monitor:
            self.stream.end(StreamEnded("server", error=error))
        return self


def sent(source: Source, page: Page | None = None) -> list[tuple[str, dict[str, object]]]:
    """Return all events of the response for a source that has ended."""
    answer = (page or Page("flask")).call(lambda request: web.sse_response(request, source))
    assert 200 == answer.status
    events = events_of(answer.body)
    assert [{"retry": "2000"}] == events[:1]
    assert not [event for event in events if "id" in event]
    return [(event["event"], json.loads(event["data"])) for event in events[1:]]


def test_transcripts_of_a_stream(page: Page) -> None:
    """The transcripts of a stream are sent in order, and the last event is "end"."""
    word = Word("Hi", 10, 250)
    source = Source(
        SpeechStarted(),
        Transcription("Hi"),
        Transcription("Hi\nyou.", is_final=True, words=(word,)),
    ).end()

    assert [
        ("transcript", {"role": "user", "text": "Hi", "is_final": False, "words": []}),
        (
            "transcript",
            {
                "role": "user",
                "text": "Hi\nyou.",
                "is_final": True,
                "words": [{"text": "Hi", "start_ms": 10, "end_ms": 250}],
            },
        ),
        ("end", {}),
    ] == sent(source, page)


def test_transcripts_of_a_session() -> None:
    """Each event has the whole text so far, so a page replaces the earlier text."""
    part = {"response_id": "r1", "output_index": 0, "item_id": "a"}
    source = Source(
        UserTranscriptUpdated(item_id="u", transcript="Hel"),
        UserTranscriptCompleted(item_id="u", transcript="Hello"),
        TranscriptDelta(delta="Good ", **part),
        TextDelta(delta="x", **{**part, "item_id": "b"}),
        TranscriptDelta(delta="day", **part),
        TranscriptDone(transcript="Good day.", **part),
        TextDone(text="xy", **{**part, "item_id": "b"}),
        TranscriptDelta(delta="Next", **part),
    ).end()
    found = [tuple(data.values()) for name, data in sent(source) if name == "transcript"]

    assert [
        ("user", "Hel", False, "u"),
        ("user", "Hello", True, "u"),
        ("assistant", "Good ", False, "a"),
        ("assistant", "x", False, "b"),
        ("assistant", "Good day", False, "a"),
        ("assistant", "Good day.", True, "a"),
        ("assistant", "xy", True, "b"),
        ("assistant", "Next", False, "a"),
    ] == found


def test_words_of_a_context(iw: Inworld, page: Page) -> None:
    """The words of a context have their times, which never decrease."""
    with iw.tts.connect() as connection, connection.context(timestamp_type="WORD") as context:
        context.send("Hello, you there.")
        context.close()
        answer = page.call(lambda request: web.sse_response(request, context))
    events = events_of(answer.body)[1:]
    words = {data["index"]: data for data in (json.loads(event["data"]) for event in events[:-1])}

    assert "end" == events[-1]["event"]
    assert ["Hello,", "you", "there."] == [word["text"] for word in words.values()]
    assert [word["start_ms"] for word in words.values()] == sorted(
        word["start_ms"] for word in words.values()
    )


@pytest.mark.parametrize("error", [errors.ConnectionLost("x"), errors.DeadlineExceeded("x")])
def test_a_source_that_fails(error: errors.InworldError, caplog) -> None:
    """If a source fails, "failed" is the last event. The error is logged once. No event is lost."""
    source, page = Source(Transcription("Hi")), Page("flask")
    with page.request() as request:
        response = web.sse_response(request, source)
    source.end(error)
    blocks = list(page.blocks(response))
    response.close()
    events = events_of(b"".join(blocks))[1:]

    assert ["transcript", "failed"] == [event["event"] for event in events]
    assert {"error", "message"} == json.loads(events[-1]["data"]).keys()
    assert 1 == len(caplog.records)


def test_a_source_that_has_failed(page: Page) -> None:
    """If the source failed before the response began, the response has an error status."""
    source = Source().end(errors.ConnectionLost("x"))
    answer = page.call(lambda request: web.sse_response(request, source))

    assert (502, "service_failed") == (answer.status, json.loads(answer.body)["error"])


def test_pings(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """If there is no event for some time, a comment is sent. Later events are still sent."""
    monkeypatch.setattr(event_response, "_PING_SECONDS", 0.01)
    source = Source()
    with page.request() as request:
        response = web.sse_response(request, source)
    blocks = page.blocks(response)

    assert b"retry: 2000\n\n" == next(blocks)
    assert b": ping\n\n" == next(blocks)
    source.add(Transcription("Hi"))
    assert [{"event": "transcript"}] == [
        {"event": event["event"]} for event in events_of(next(blocks))
    ]
    response.close()


def test_closing_ends_the_subscription(page: Page) -> None:
    """
    After the response was closed, the source stays open, and keeps no events for the response.
    """
    source = Source()
    with page.request() as request:
        response = web.sse_response(request, source)
    queue = source.subscribe()
    before = len(source.stream._mailboxes)
    response.close()
    source.add(Transcription("Hi"))

    assert before - 1 == len(source.stream._mailboxes)
    assert Transcription("Hi") == queue.get(0)
    assert source.ended is None


def test_head(page: Page) -> None:
    source = Source()
    answer = page.call(lambda request: web.sse_response(request, source), "HEAD")

    assert (200, b"") == (answer.status, answer.body)
    assert "text/event-stream; charset=utf-8" == answer.headers["Content-Type"]
    assert ("no", "no-store") == (
        answer.headers["X-Accel-Buffering"],
        answer.headers["Cache-Control"],
    )


def test_a_wrong_source(page: Page) -> None:
    with page.request() as request, pytest.raises(ConfigError, match="source must be a realtime"):
        web.sse_response(request, [])


def test_a_browser_that_reads_nothing() -> None:
    """If a browser reads nothing, its response ends with an error. The source is not delayed."""
    source, page = Source(), Page("flask")
    with page.request() as request:
        response = web.sse_response(request, source)
    for _ in range(3):
        with source.monitor:
            source.stream.append(object(), MAX_WAITING_BYTES)
    assert not source.stream.is_full
    for _ in range(2):
        with source.monitor:
            source.stream.append(object(), MAX_WAITING_BYTES)
    events = events_of(b"".join(page.blocks(response)))
    response.close()

    assert "failed" == events[-1]["event"]
    assert not source.stream.is_full
