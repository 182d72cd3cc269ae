"""The completion of a transcript, by the messages of the service and the end of the connection."""

from __future__ import annotations

import pytest

from inworld_sync import (
    ConnectionLost,
    RemoteProtocolError,
    ServiceError,
    SpeechStarted,
    StreamEnded,
    Transcription,
)
from inworld_sync.sessions.stt import completion as completion_module
from inworld_sync.sessions.stt.completion import Completion, CompletionState, is_regular_close
from inworld_sync.wire.stt_turns import TurnLog

from support.clock import Clock

# (the end of a connection, whether it is regular)
ENDS: list[tuple[StreamEnded, bool]] = [
    (StreamEnded("server", 1000), True),
    (StreamEnded("server", 1001, "", ConnectionLost("x")), True),
    (StreamEnded("server", 1000, "", ServiceError("x")), False),
    (StreamEnded("server", 1011), False),
    (StreamEnded("network", 1006), False),
    (StreamEnded("client", 1000), False),
]


@pytest.mark.parametrize(("ended", "expected"), ENDS)
def test_regular_close(ended: StreamEnded, expected: bool) -> None:
    """A close is regular if the service sent it without an error."""
    assert expected is is_regular_close(ended)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(completion_module, "time", clock)
    return clock


def log_of(*events: SpeechStarted | Transcription) -> TurnLog:
    log = TurnLog(is_manual=False)
    for event in events:
        log.handle(event, 1000.0)
    return log


def closing() -> Completion:
    completion = Completion()
    completion.close_sent = True
    return completion


REGULAR = StreamEnded("server", 1000)


def test_usage_completes() -> None:
    """The usage after closeStream completes a transcript without an open turn."""
    completion, log = Completion(), log_of()
    completion.handle_usage()
    completion.close_sent = True
    assert CompletionState.PENDING is completion.state(log, None), "usage before closeStream"
    completion.handle_usage()

    assert CompletionState.COMPLETE is completion.state(log, None)


def test_usage_in_an_open_turn(clock: Clock) -> None:
    """A final transcript may follow the usage for a second; then the end is unconfirmed."""
    completion, log = closing(), log_of(SpeechStarted(0))
    completion.handle_usage()

    clock.now += 0.99
    assert CompletionState.PENDING is completion.state(log, None)
    clock.now += 0.02
    assert CompletionState.UNCONFIRMED is completion.state(log, None)


def test_close_instead_of_the_usage() -> None:
    """A regular close without the usage is unconfirmed once, and accepted the second time."""
    completion, log = closing(), log_of()
    assert CompletionState.UNCONFIRMED is completion.state(log, REGULAR)
    completion.restart(is_confirming=True)
    assert CompletionState.PENDING is completion.state(log, None)
    completion.close_sent = True

    assert CompletionState.COMPLETE is completion.state(log, REGULAR)


def test_progress_needs_another_confirmation() -> None:
    """Progress of the transcript makes the next such end unconfirmed again."""
    completion, log = closing(), log_of()
    completion.restart(is_confirming=True)
    completion.close_sent = True
    completion.handle_progress()

    assert CompletionState.UNCONFIRMED is completion.state(log, REGULAR)


def test_lost_connection_is_pending() -> None:
    """A connection that is lost, or closed in an open turn, does not end the transcript."""
    assert CompletionState.PENDING is closing().state(log_of(), StreamEnded("network", 1006))
    assert CompletionState.PENDING is closing().state(log_of(SpeechStarted(0)), REGULAR)


def test_missing_final(clock: Clock) -> None:
    """A turn with words and without a final transcript is an error the second time."""
    completion = closing()
    log = log_of(SpeechStarted(0), Transcription("a"))
    completion.restart(is_confirming=True)
    completion.close_sent = True
    completion.handle_usage()

    with pytest.raises(RemoteProtocolError, match="final transcript of the last turn"):
        completion.state(log, REGULAR)


def test_accepted() -> None:
    """A caller that gives up waiting accepts the transcript as it is."""
    completion = Completion()
    completion.is_accepted = True

    assert CompletionState.COMPLETE is completion.state(log_of(), None)
