"""A handler can be added for a class of events or for a name."""

from __future__ import annotations

import logging
from typing import Protocol, get_args

import attrs
import pytest

import inworld_sync.realtime
from inworld_sync import (
    AudioChunk,
    ConfigError,
    FlushCompleted,
    SpeechStarted,
    StreamEnded,
    Transcription,
    UnknownEvent,
)
from inworld_sync.sessions.event_source import EventSource
from inworld_sync.sessions.event_stream import EventStream
from inworld_sync.sessions.monitor import Monitor


@attrs.frozen
class Base:
    value: int


@attrs.frozen
class First(Base):
    pass


@attrs.frozen
class Second(Base):
    type = "the.second"


class HasValue(Protocol):
    value: int


Event = First | Second | UnknownEvent


class Source(EventSource[Event]):
    _description = "a test source"
    _event_classes = get_args(Event)


class Session(EventSource[object]):
    _description = "a realtime session"
    _event_classes = (
        inworld_sync.realtime.InputSpeechStarted,
        inworld_sync.realtime.InputSpeechStopped,
    )


class Several(EventSource[object]):
    _description = "a realtime session"
    _event_classes = (
        inworld_sync.realtime.TranscriptDelta,
        inworld_sync.realtime.TranscriptDone,
    )


class Contexts(EventSource[object]):
    _description = "a TTS context"
    _event_classes = (AudioChunk, FlushCompleted)


def stream_of(monitor: Monitor) -> EventStream[object]:
    return EventStream(
        monitor, name="test", dispatch="poll", logger=logging.getLogger("inworld_sync.test")
    )


def give(monitor: Monitor, stream: EventStream[object], *events: object) -> None:
    with monitor:
        for event in events:
            stream.append(event)


def test_every_way_to_ask_for_events() -> None:
    """
    A handler can be registered for a class, for a base class, and for the name of a message that
    has no class.
    """
    monitor = Monitor("the test's stream")
    stream = stream_of(monitor)
    source = Source(stream)  # type: ignore[arg-type]
    called: list[tuple[str, object]] = []
    kinds: list[type | str] = [
        *(First, Base, object, UnknownEvent, StreamEnded),
        *("First", "second", "the.second", "some.new.event"),
    ]
    for kind in kinds:
        name = kind if isinstance(kind, str) else kind.__name__
        source.on(name if isinstance(kind, str) else kind, lambda e, n=name: called.append((n, e)))
    first, second, unknown = First(1), Second(2), UnknownEvent("some.new.event", {})
    give(monitor, stream, first, second, unknown)
    with monitor:
        stream.end(StreamEnded("client"))

    assert 3 == source.poll(10_000)
    assert [
        *(("First", first), ("Base", first), ("object", first), ("First", first)),
        *(("Base", second), ("object", second), ("second", second), ("the.second", second)),
        *(("object", unknown), ("UnknownEvent", unknown), ("some.new.event", unknown)),
        *(("object", source.ended), ("StreamEnded", source.ended)),
    ] == called


# (a source, a class that this source never emits, the error)
NEVER: list[tuple[type[EventSource[object]], type, str]] = [
    (
        Several,
        Transcription,
        (
            "a realtime session never emits inworld_sync.Transcription; did you mean "
            "inworld_sync.realtime.TranscriptDone or inworld_sync.realtime.TranscriptDelta?"
        ),
    ),
    (
        Session,
        SpeechStarted,
        (
            "a realtime session never emits inworld_sync.SpeechStarted; did you mean "
            "inworld_sync.realtime.InputSpeechStarted?"
        ),
    ),
    (
        Contexts,
        inworld_sync.realtime.AudioDelta,
        (
            "a TTS context never emits inworld_sync.realtime.AudioDelta; its event classes are "
            "AudioChunk, FlushCompleted, StreamEnded"
        ),
    ),
    (
        Contexts,
        type("AudioChunk", (), {"__module__": "elsewhere"}),
        "a TTS context never emits elsewhere.AudioChunk; did you mean inworld_sync.AudioChunk?",
    ),
    (
        Contexts,
        type("FlushComplete", (FlushCompleted,), {"__module__": "elsewhere"}),
        (
            "a TTS context never emits elsewhere.FlushComplete; did you mean "
            "inworld_sync.FlushCompleted?"
        ),
    ),
]


@pytest.mark.parametrize(("source", "kind", "error"), NEVER)
def test_a_class_that_is_never_emitted(
    source: type[EventSource[object]], kind: type, error: str
) -> None:
    """A class of another service is refused, and the error suggests the right class."""
    with pytest.raises(ConfigError) as caught:
        source(stream_of(Monitor("the test's stream"))).on(kind, print)

    assert error == str(caught.value)


def test_a_protocol_that_cannot_be_checked() -> None:
    """A class that isinstance() cannot check is refused when the handler is added."""
    source = Source(stream_of(Monitor("the test's stream")))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"kind must be a class of events, got .*HasValue"):
        source.on(HasValue, print)


def test_iteration_and_figures() -> None:
    """A source uses the iteration, the queues and the counters of its stream."""
    monitor = Monitor("the test's stream")
    stream = stream_of(monitor)
    source = Source(stream)  # type: ignore[arg-type]
    queue = source.subscribe()
    give(monitor, stream, First(1), First(2))
    with pytest.raises(ConfigError, match="timeout must be a number"):
        source.events("soon")  # type: ignore[arg-type]
    assert source.waiting_bytes > 0
    assert source.ended is None
    with monitor:
        stream.end(StreamEnded("client"))
    source.on(StreamEnded, lambda _: 1 // 0)
    source.poll()

    assert [First(1), First(2)] == list(queue)
    assert [] == list(source)
    assert 1 == source.handler_errors
