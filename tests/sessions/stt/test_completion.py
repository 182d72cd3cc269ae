"""Messages of the service and the end of the connection complete a transcript."""

from __future__ import annotations

import math

import pytest

from inworld_sync import (
    ConnectionLost,
    DeadlineExceeded,
    RemoteProtocolError,
    ServiceError,
    SpeechStarted,
    SpeechStopped,
    StreamEnded,
    SttUsage,
    Transcription,
    UnknownEvent,
)
from inworld_sync.sessions.stt import completion as completion_module
from inworld_sync.sessions.stt.completion import Completion, CompletionState, is_regular_close
from inworld_sync.wire.stt_turns import SttEvent, TurnLog

from support.clock import Clock

# (the end of a connection, whether the end is regular)
ENDS: list[tuple[StreamEnded, bool]] = [
    (StreamEnded("server", 1000), True),
    (StreamEnded("server", 1000, "", ConnectionLost("x")), True),
    (StreamEnded("server", 1001, "", ConnectionLost("x")), False),
    (StreamEnded("server", 1000, "", ServiceError("x")), False),
    (StreamEnded("server", 1011), False),
    (StreamEnded("network", 1006), False),
    (StreamEnded("client", 1000), False),
]


@pytest.mark.parametrize(("ended", "expected"), ENDS)
def test_regular_close(ended: StreamEnded, expected: bool) -> None:
    """
    A close is regular if its code is 1000 and the service has reported no error.
    """
    assert expected is is_regular_close(ended)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(completion_module, "time", clock)
    return clock


class Stream:
    """The completion of a stream whose connection is being closed."""

    def __init__(self, *events: SttEvent, speech_ms: float = 0.0) -> None:
        self.speech_ms = speech_ms
        self.log = TurnLog(is_manual=False)
        self.completion = Completion(self.log, lambda until_ms: self.speech_ms)
        self.handle(*events)
        self.completion.close_sent = True

    def handle(self, *events: SttEvent) -> None:
        for event in events:
            self.completion.handle(event, self.log.handle(event, 1000.0))

    def state(self, ended: StreamEnded | None = None) -> CompletionState:
        return self.completion.state(ended)

    def restart(self) -> None:
        """Restart for a connection that only confirms the end, and mark closeStream as sent."""
        self.completion.restart(is_confirming=True)
        self.completion.close_sent = True


REGULAR = StreamEnded("server", 1000)


def test_usage_completes() -> None:
    """If no turn is open, the usage after closeStream completes the transcript."""
    stream = Stream(SttUsage(1))
    assert CompletionState.PENDING is stream.state(), "usage before closeStream"
    stream.handle(SttUsage(2))

    assert CompletionState.COMPLETE is stream.state()


def test_usage_completes_speech_without_words() -> None:
    """After the usage, speech without words is no error, because the service has detected noise."""
    stream = Stream(speech_ms=5000.0)
    stream.handle(SttUsage(1))

    assert CompletionState.COMPLETE is stream.state()


def test_usage_in_an_open_turn(clock: Clock) -> None:
    """If no final transcript follows within a second of the usage, the end is unconfirmed."""
    stream = Stream(SpeechStarted(0))
    stream.handle(SttUsage(1))

    clock.now += 0.99
    assert CompletionState.PENDING is stream.state()
    clock.now += 0.02
    assert CompletionState.UNCONFIRMED is stream.state()


def test_close_instead_of_the_usage() -> None:
    """Without the usage, the first regular close is unconfirmed, and the second is accepted."""
    stream = Stream()
    assert CompletionState.UNCONFIRMED is stream.state(REGULAR)
    stream.completion.restart(is_confirming=True)
    assert CompletionState.PENDING is stream.state()
    stream.completion.close_sent = True

    assert CompletionState.COMPLETE is stream.state(REGULAR)


def test_close_without_an_answer_to_speech() -> None:
    """A second regular close is an error if there is speech without an answer."""
    stream = Stream(speech_ms=1500.0)
    assert CompletionState.UNCONFIRMED is stream.state(REGULAR)
    stream.restart()

    with pytest.raises(ConnectionLost, match=r"1\.5 s of speech have no final transcript"):
        stream.state(REGULAR)


def test_progress_needs_another_confirmation() -> None:
    """After progress of the transcript, the next regular close must be confirmed again."""
    stream = Stream()
    stream.restart()
    stream.completion.handle_progress()

    assert CompletionState.UNCONFIRMED is stream.state(REGULAR)


def test_lost_connection_is_pending() -> None:
    """A connection that is lost, or closed in an open turn, does not end the transcript."""
    assert CompletionState.PENDING is Stream().state(StreamEnded("network", 1006))
    assert CompletionState.PENDING is Stream(SpeechStarted(0)).state(REGULAR)


def test_missing_final(clock: Clock) -> None:
    """If a turn with words has no final transcript on two connections, an error is raised."""
    stream = Stream(SpeechStarted(0), Transcription("a"))
    stream.restart()
    stream.handle(SttUsage(1))

    with pytest.raises(RemoteProtocolError, match="final transcript of the last turn"):
        stream.state(REGULAR)


# (events of a stream, unanswered speech in milliseconds, words of the error at the deadline)
EXPIRED: list[tuple[tuple[SttEvent, ...], float, str]] = [
    ((), 0.0, ""),
    ((), 999.0, ""),
    ((), 1000.0, "1.0 s of speech have no final transcript"),
    ((SpeechStarted(0),), 0.0, "the last turn has no final transcript"),
    ((SpeechStarted(0), SpeechStopped(300)), 0.0, ""),
    (
        (SpeechStarted(0), Transcription("a"), SpeechStopped(300)),
        0.0,
        "the last turn has no final transcript",
    ),
]


@pytest.mark.parametrize(("events", "speech_ms", "missing"), EXPIRED)
def test_deadline_of_the_end(
    clock: Clock, events: tuple[SttEvent, ...], speech_ms: float, missing: str
) -> None:
    """At the deadline a transcript is accepted only if nothing is missing."""
    stream = Stream(*events, speech_ms=speech_ms)
    stream.completion.begin_end(10.0)
    assert clock.now + 10.0 == stream.completion.deadline(0.0)
    if not missing:
        stream.completion.expire()
        assert CompletionState.COMPLETE is stream.state()
        return
    with pytest.raises(DeadlineExceeded, match=rf"within 10 s after the last audio, but {missing}"):
        stream.completion.expire()


def test_deadline_before_all_audio_was_sent() -> None:
    """A transcript is not accepted while audio waits to be sent."""
    stream = Stream()
    stream.completion.restart(is_confirming=False)
    stream.completion.begin_end(10.0)

    with pytest.raises(DeadlineExceeded, match="not all audio was sent"):
        stream.completion.expire()


def test_progress_moves_the_deadline(clock: Clock) -> None:
    """Audio and new messages move the deadline. Repeated or unknown messages do not move it."""
    stream = Stream(Transcription("a"))
    stream.completion.begin_end(10.0)
    start = clock.now
    clock.now += 5.0
    stream.handle(Transcription("a"), UnknownEvent("x", {"n": 1}), Transcription("a"))
    assert start + 10.0 == stream.completion.deadline(0.0)
    assert start + 13.0 == stream.completion.deadline(start + 3.0)
    stream.handle(Transcription("a b"))

    assert start + 15.0 == stream.completion.deadline(0.0)


def test_deadline_of_a_turn(clock: Clock) -> None:
    """After the end of a turn, the final transcript of this turn has a deadline."""
    stream = Stream(speech_ms=2000.0)
    assert math.inf == stream.completion.deadline(0.0)
    stream.completion.handle_turn_end(1000.0, 30.0)
    assert clock.now + 30.0 == stream.completion.deadline(0.0)
    with pytest.raises(DeadlineExceeded, match=r"within 30 s after the end of a turn, but 2\.0 s"):
        stream.completion.expire()
    stream.handle(Transcription("a", is_final=True))

    assert math.inf == stream.completion.deadline(0.0)


def test_deadline_of_a_silent_turn() -> None:
    """A turn without speech needs no answer."""
    stream = Stream()
    stream.completion.handle_turn_end(1000.0, 30.0)
    stream.completion.expire()

    assert math.inf == stream.completion.deadline(0.0)
    assert not stream.completion.is_accepted
