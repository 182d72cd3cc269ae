"""The emulator detects the ends of spoken turns, sends their events, and handles interruptions."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from inworld_sync.emulator import Emulator, Settings
from inworld_sync.emulator.realtime.settings import RealtimeSettings

from support.realtime_client import Event, RealtimeClient, kinds_of, open_realtime
from support.scripted_recognizer import WINDOW_MS, ScriptedRecognizer, engine_for, sound
from support.tone import ToneSynthesizer

PCM_16K = {"type": "audio/pcm", "rate": 16000}
TRANSCRIPTION = "conversation.item.input_audio_transcription"
# This silence is longer than every silence that may end a turn.
SILENCE = sound(50, 0.0)
HELLO, BOB, COUNT = (sound(20, word=number) for number in (1, 2, 3))


@contextmanager
def session(
    turn_detection: dict[str, Any] | None, *, pace: float = 0, **quirks: Any
) -> Iterator[RealtimeClient]:
    """Yield a session with a scripted recognizer. Replies are spoken only if a pace is set."""
    recognizer = ScriptedRecognizer("hello", "Bob.", "Count to ninety.")
    settings = Settings(pace=pace, realtime=RealtimeSettings(**quirks))
    with Emulator(
        synthesizer=ToneSynthesizer(), speech_engine=engine_for(recognizer), settings=settings
    ) as server:
        with open_realtime(server) as client:
            client.update(
                output_modalities=["audio"] if pace else ["text"],
                audio={"input": {"format": PCM_16K, "turn_detection": turn_detection}},
            )
            yield client


def event_of(events: list[Event], kind: str) -> Event:
    return next(event for event in events if event["type"] == kind)


def deltas_of(events: list[Event]) -> list[str]:
    return [event["delta"] for event in events if event["type"] == f"{TRANSCRIPTION}.delta"]


def test_manual_turn() -> None:
    """Without turn detection, there are no events until the client commits the audio."""
    with session(None) as client:
        client.hear(HELLO + SILENCE)
        client.send("input_audio_buffer.commit")
        client.send("response.create")
        events = client.until("response.done")

    expected = [
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "deltas",
        f"{TRANSCRIPTION}.completed",
        "response.created",
    ]
    assert expected == kinds_of(events)[:6]
    item_ids = {event["item_id"] for event in events[:5] if "item_id" in event}
    assert {events[1]["item"]["id"]} == item_ids
    assert "hello" == event_of(events, f"{TRANSCRIPTION}.completed")["transcript"]
    assert "Hello! How can I help you?" == event_of(events, "response.output_text.done")["text"]


def test_detected_turn() -> None:
    """A detected turn has all events, from the start of the speech to the response."""
    with session({"type": "semantic_vad"}) as client:
        client.hear(sound(5, 0.0) + HELLO + SILENCE)
        events = client.until("response.created")

    kinds = [kind for kind in kinds_of(events) if "suggestion" not in kind]
    expected = [
        "input_audio_buffer.speech_started",
        "deltas",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        f"{TRANSCRIPTION}.completed",
        "response.created",
    ]
    assert expected == kinds
    assert 1 == len({event["item_id"] for event in events if "item_id" in event})
    started, stopped = events[0], event_of(events, "input_audio_buffer.speech_stopped")
    assert 5 * WINDOW_MS == started["audio_start_ms"]
    assert 25 * WINDOW_MS == stopped["audio_end_ms"]


@pytest.mark.parametrize(("padding_ms", "expected"), [(0, 160), (100, 60), (300, 0)])
def test_padding(padding_ms: int, expected: int) -> None:
    """
    ``server_vad`` adds the padding before the turn. If the earlier audio is shorter than the
    padding, all earlier audio is added.
    """
    detection = {"type": "server_vad", "prefix_padding_ms": padding_ms}
    with session(detection) as client:
        client.hear(sound(5, 0.0) + HELLO)

        assert expected == client.next("input_audio_buffer.speech_started")["audio_start_ms"]


def test_silence_of_server_vad() -> None:
    """``server_vad`` ends a turn after enough silence. A shorter pause is part of the turn."""
    with session({"type": "server_vad", "silence_duration_ms": 600}) as client:
        client.hear(HELLO + sound(12, 0.0) + BOB + SILENCE)
        events = client.until(f"{TRANSCRIPTION}.completed")

    assert "hello Bob." == events[-1]["transcript"]


def test_rolling_transcription() -> None:
    """Every partial transcript has all words of the turn so far."""
    with session({"type": "server_vad"}) as client:
        client.hear(HELLO + BOB + SILENCE)
        rolling = deltas_of(client.until(f"{TRANSCRIPTION}.completed"))

    assert ("hello", "hello Bob.") == (rolling[0], rolling[-1])


def test_incremental_transcription() -> None:
    """Without rolling transcription, the partial transcripts together are the whole transcript."""
    with session({"type": "server_vad"}, rolling_transcription=False) as client:
        client.hear(HELLO + BOB + SILENCE)
        pieces = deltas_of(client.until(f"{TRANSCRIPTION}.completed"))

    assert "hello Bob." == "".join(pieces)


def test_no_transcription() -> None:
    """A session without transcription gets no transcripts, and still gets replies."""
    with session({"type": "server_vad"}) as client:
        client.update(audio={"input": {"transcription": None}})
        client.hear(HELLO + SILENCE)
        events = client.until("response.done")

    assert not [event for event in events if event["type"].startswith(TRANSCRIPTION)]
    assert "Hello! How can I help you?" == event_of(events, "response.output_text.done")["text"]


def test_no_response_wanted() -> None:
    """If ``create_response`` is false, a response is created only when the client requests it."""
    with session({"type": "server_vad", "create_response": False}) as client:
        client.hear(HELLO + SILENCE)
        client.until(f"{TRANSCRIPTION}.completed")
        client.send("response.create", event_id="mine")

        assert "response.created" == client.receive()["type"]


def test_interruption() -> None:
    """Speech cancels the reply that is being spoken, and the next turn gets a reply."""
    with session({"type": "server_vad"}, pace=1) as client:
        client.hear(COUNT + SILENCE)
        item_id = client.next("response.output_audio.delta")["item_id"]
        client.hear(HELLO + SILENCE)
        events = client.until("response.done")
        client.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=10)
        client.next("conversation.item.truncated")
        client.send("conversation.item.retrieve", item_id=item_id)
        heard = client.next("conversation.item.retrieved")["item"]["content"][0]["transcript"]
        client.send("response.cancel")
        second = client.next("response.done")["response"]

    response = events[-1]["response"]
    assert "input_audio_buffer.speech_started" in kinds_of(events)
    assert ("cancelled", "turn_detected") == (
        response["status"],
        response["status_details"]["reason"],
    )
    assert "One." == heard
    assert "cancelled" == second["status"]


def test_no_interruption_wanted() -> None:
    """If ``interrupt_response`` is false, speech does not end a reply. The next reply follows."""
    detection = {"type": "server_vad", "interrupt_response": False}
    with session(detection, pace=40) as client:
        client.hear(HELLO + SILENCE + BOB + SILENCE)
        statuses = [client.next("response.done")["response"]["status"] for _ in range(2)]

    assert ["completed", "completed"] == statuses


def test_noise_without_words() -> None:
    """A turn without recognized words ends and gets no reply."""
    with session({"type": "server_vad"}) as client:
        client.hear(sound(20) + SILENCE)
        assert "" == client.next(f"{TRANSCRIPTION}.completed")["transcript"]
        client.send("response.create")

        assert "response.created" == client.receive()["type"]


@pytest.mark.parametrize("milliseconds", [0, 96])
def test_commit_of_too_little(milliseconds: int) -> None:
    """A commit of less than 100 ms of audio is refused."""
    with session(None) as client:
        client.hear(sound(milliseconds // WINDOW_MS))
        client.send("input_audio_buffer.commit")

        assert "input_audio_buffer_commit_empty" == client.error()["code"]


def test_clear() -> None:
    """Appended audio that is not committed can be cleared."""
    with session(None) as client:
        client.hear(HELLO)
        client.send("input_audio_buffer.clear")
        client.next("input_audio_buffer.cleared")
        client.hear(BOB)
        client.send("input_audio_buffer.commit")

        assert "Bob." == client.next(f"{TRANSCRIPTION}.completed")["transcript"]


def test_times_continue_after_a_clear() -> None:
    """Times include all audio of the session, even cleared audio."""
    with session({"type": "server_vad", "prefix_padding_ms": 0}) as client:
        client.hear(sound(25, 0.0))
        client.send("input_audio_buffer.clear")
        client.hear(sound(5, 0.0) + HELLO)

        started = client.next("input_audio_buffer.speech_started")
        assert 30 * WINDOW_MS == started["audio_start_ms"]


def test_turn_suggestion() -> None:
    """
    At a pause, the server suggests the end of the turn. The server revokes the suggestion if the
    user continues.
    """
    detection = {"type": "semantic_vad", "eagerness": "low"}
    with session(detection) as client:
        client.hear(HELLO + sound(12, 0.0) + BOB + sound(100, 0.0))
        events = client.until("input_audio_buffer.speech_stopped")

    kinds = [event["type"] for event in events if "suggestion" in event["type"]]
    suggestion = "input_audio_buffer.turn_suggestion"
    assert [suggestion, f"{suggestion}_revoked", suggestion] == kinds
    told = event_of(events, suggestion)
    assert 200 <= told["trailing_silence_ms"] < 400
    assert 0 <= told["probability"] <= 1
    assert events[0]["item_id"] == told["item_id"]


def test_idle_timeout() -> None:
    """After a reply and a silence of idle_timeout_ms, the server responds again."""
    with session({"type": "server_vad", "idle_timeout_ms": 500}) as client:
        client.hear(HELLO + SILENCE)
        client.until("response.done")
        client.hear(SILENCE)
        events = client.until("response.done")

    told = event_of(events, "input_audio_buffer.timeout_triggered")
    assert 500 <= told["audio_end_ms"] - told["audio_start_ms"] < 700
    assert "input_audio_buffer.committed" in kinds_of(events)


def test_voice_profile() -> None:
    """The server sends the voice profile to a client that requests the profile."""
    with session(None) as client:
        client.update(providerData={"stt": {"voice_profile": True}})
        client.hear(HELLO)
        client.send("input_audio_buffer.commit")

        told = client.next(f"{TRANSCRIPTION}.completed")
        assert {"label", "confidence"} == set(told["providerData"]["voiceProfile"]["age"][0])


def test_message_with_audio() -> None:
    """A message can contain a recording. The recording is transcribed and gets a reply."""
    with session(None) as client:
        part = {"type": "input_audio", "audio": base64.b64encode(HELLO).decode()}
        item = {"type": "message", "role": "user", "content": [part]}
        client.send("conversation.item.create", item=item)
        client.send("response.create")
        events = client.until("response.done")

    assert "hello" == event_of(events, f"{TRANSCRIPTION}.completed")["transcript"]
    assert "Hello! How can I help you?" == event_of(events, "response.output_text.done")["text"]


def test_telephone_audio() -> None:
    """A second of silence in mu-law at 8 kHz has no words."""
    with session(None) as client:
        client.update(audio={"input": {"format": "g711_ulaw"}})
        client.hear(b"\xff" * 8000, 800)
        client.send("input_audio_buffer.commit")

        assert "" == client.next(f"{TRANSCRIPTION}.completed")["transcript"]
