"""If another connection continues a session, the audio of an open turn is sent again."""

from __future__ import annotations

import base64
import threading

import pytest

from inworld_sync.models.realtime import InputSpeechStarted, ManualTurns, PingReceived, Session
from inworld_sync.sessions.realtime import input as realtime_input
from inworld_sync.sessions.realtime.events import SessionReconnected
from inworld_sync.sessions.realtime.session import RealtimeSession

from support.scripted_realtime import Service, realtime

PATIENCE_SECONDS = 30.0


def reconnected(rt: RealtimeSession) -> SessionReconnected:
    events = rt.events(timeout=PATIENCE_SECONDS)
    return next(event for event in events if isinstance(event, SessionReconnected))


def sent_audio(service: Service, count: int) -> list[int]:
    """Return the first bytes of the next *count* messages with audio."""
    commands = [service.until("input_audio_buffer.append") for _ in range(count)]
    return [base64.b64decode(command["audio"])[0] for command in commands]


# Blocks of 100 ms. The first byte of each block is the number of the block.
BLOCKS = b"".join(bytes([number]) * 4800 for number in range(1, 7))


def test_the_audio_of_an_open_turn_is_sent_again() -> None:
    """A new connection gets the audio of the open turn, then new audio, then the commit."""
    seen: list[object] = []
    is_lost = threading.Event()

    def first(service: Service) -> None:
        service.open()
        seen.append(sent_audio(service, 3))
        is_lost.set()
        service.hang_up()

    def second(service: Service) -> None:
        service.open()
        seen.append(sent_audio(service, 6))
        seen.append(service.until("input_audio_buffer.commit")["type"])
        service.event("input_audio_buffer.committed", item_id="u1", previous_item_id=None)
        service.speak(service.request(), 1, "heard")
        service.until_left()

    with (
        realtime(first, second) as iw,
        iw.realtime.connect(Session(turn_detection=ManualTurns())) as rt,
    ):
        rt.send_audio(BLOCKS[: 3 * 4800])
        assert is_lost.wait(PATIENCE_SECONDS)
        assert 0.0 == reconnected(rt).lost_input_ms
        rt.send_audio(BLOCKS[3 * 4800 :])
        rt.commit()
        assert "heard" == rt.respond().wait(PATIENCE_SECONDS).text.strip()

    assert [[1, 2, 3], [1, 2, 3, 4, 5, 6], "input_audio_buffer.commit"] == seen


def test_a_commit_is_sent_again() -> None:
    """If a connection is lost before the answer to a commit, audio and commit are sent again."""
    seen: list[object] = []

    def first(service: Service) -> None:
        service.open()
        service.until("input_audio_buffer.commit")
        service.hang_up()

    def second(service: Service) -> None:
        service.open()
        seen.append(sent_audio(service, 2))
        seen.append(service.command()["type"])
        service.event("ping", timestamp=1)
        service.until_left()

    with (
        realtime(first, second) as iw,
        iw.realtime.connect(Session(turn_detection=ManualTurns())) as rt,
    ):
        rt.send_audio(BLOCKS[: 2 * 4800])
        rt.commit()
        events = rt.events(timeout=PATIENCE_SECONDS)
        next(event for event in events if isinstance(event, PingReceived))

    assert [[1, 2], "input_audio_buffer.commit"] == seen


def test_lost_input_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a turn is too long to be sent again, the missing audio is reported as lost."""
    monkeypatch.setattr(realtime_input, "_MAX_KEPT_MS", 200.0)
    seen: list[list[int]] = []
    is_sent = threading.Event()

    def first(service: Service) -> None:
        service.open()
        service.event("input_audio_buffer.speech_started", item_id="u1", audio_start_ms=0)
        sent_audio(service, 5)
        # The client counts a block after it has sent the block.
        assert is_sent.wait(PATIENCE_SECONDS)
        service.hang_up()

    def second(service: Service) -> None:
        service.open()
        seen.append(sent_audio(service, 2))
        service.event("ping", timestamp=1)
        service.until_left()

    with realtime(first, second) as iw, iw.realtime.connect() as rt:
        events = rt.events(timeout=PATIENCE_SECONDS)
        next(event for event in events if isinstance(event, InputSpeechStarted))
        rt.send_audio(BLOCKS[: 5 * 4800])
        is_sent.set()

        assert 300.0 == reconnected(rt).lost_input_ms
        next(event for event in events if isinstance(event, PingReceived))
    assert [[4, 5]] == seen


def test_audio_between_turns_is_not_sent_again() -> None:
    """After a lost connection, audio that belongs to no turn is not sent again."""
    seen: list[list[int]] = []
    is_sent = threading.Event()

    def first(service: Service) -> None:
        service.open()
        sent_audio(service, 3)
        # The client sends a block again if the connection is lost before send_audio() has returned.
        is_sent.wait(PATIENCE_SECONDS)
        service.hang_up()

    def second(service: Service) -> None:
        service.open()
        seen.append(sent_audio(service, 1))
        service.event("ping", timestamp=1)
        service.until_left()

    with realtime(first, second) as iw, iw.realtime.connect() as rt:
        rt.send_audio(BLOCKS[: 3 * 4800])
        is_sent.set()
        assert 0.0 == reconnected(rt).lost_input_ms
        rt.send_audio(BLOCKS[3 * 4800 : 4 * 4800])
        events = rt.events(timeout=PATIENCE_SECONDS)
        next(event for event in events if isinstance(event, PingReceived))
    assert [[4]] == seen
