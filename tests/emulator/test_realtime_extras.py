"""The emulator simulates memory, backchannels, fillers, pings and limits."""

from __future__ import annotations

import base64
import threading
from array import array
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from inworld_sync.emulator import Emulator, Settings
from inworld_sync.emulator.realtime.replies import ReplyPart, ReplyRequest
from inworld_sync.emulator.realtime.settings import RealtimeSettings

from support.realtime_client import Event, RealtimeClient, open_realtime
from support.scripted_recognizer import ScriptedRecognizer, engine_for, sound
from support.tone import ToneSynthesizer, tone_seconds


def server_with(**settings: Any) -> Emulator:
    realtime = RealtimeSettings(**settings)
    return Emulator(synthesizer=ToneSynthesizer(), settings=Settings(realtime=realtime))


def said_in(events: list[Event]) -> str:
    content = events[-1]["response"]["output"][0]["content"][0]
    return str(content.get("text") or content.get("transcript"))


# Memory.


def test_memory_cycle(realtime: RealtimeClient) -> None:
    """After the configured number of turns, the server sends an update with the memory."""
    memory = {"enabled": True, "turn_interval": 2}
    realtime.update(output_modalities=["text"], providerData={"memory": memory})
    realtime.ask("My name is Alice.")
    realtime.ask("I like green tea.")

    state = realtime.next("session.updated")["session"]["providerData"]["memory"]["state"]

    assert ["My name is Alice.", "I like green tea."] == state["facts"]
    assert (1, 2, 0, 0) == tuple(
        state[name] for name in ("version", "total_turns", "turns_since_gen", "items_trimmed")
    )
    assert "Alice" in state["context_text"]
    assert "green tea" in state["summary"]


def test_memory_after_its_items_are_removed(realtime: RealtimeClient) -> None:
    """With trimming, items of the conversation are removed, but their facts are kept and used."""
    memory = {
        "enabled": True,
        "turn_interval": 1,
        "trim_after_summarize": True,
        "max_transcript_items": 1,
    }
    realtime.update(output_modalities=["text"], providerData={"memory": memory})
    realtime.ask("My name is Alice.")
    state = realtime.next("session.updated")["session"]["providerData"]["memory"]["state"]

    assert 1 == state["items_trimmed"]
    assert "Your name is Alice." == said_in(realtime.ask("What is my name?"))


def test_no_memory(realtime: RealtimeClient) -> None:
    """If memory is not enabled, the server sends no update by itself."""
    realtime.update(output_modalities=["text"])
    for _ in range(6):
        realtime.ask("My name is Alice.")
    realtime.send("session.update", event_id="mine", session={"instructions": "Now."})

    assert "Now." == realtime.receive()["session"]["instructions"]


# Backchannel.


def backchannel_of(options: dict[str, Any], windows: int = 150) -> list[Event]:
    """Return the backchannel events during speech. The speech has *windows* windows of 32 ms."""
    engine = engine_for(ScriptedRecognizer("hello"))
    with Emulator(synthesizer=ToneSynthesizer(), speech_engine=engine) as server:
        with open_realtime(server) as client:
            audio = {
                "format": {"type": "audio/pcm", "rate": 16000},
                "turn_detection": {"type": "server_vad", "create_response": False},
            }
            client.update(
                audio={"input": audio}, providerData={"backchannel": {"enabled": True, **options}}
            )
            client.hear(sound(windows, word=1) + sound(60, 0.0))
            events = client.until("input_audio_buffer.committed")
    return [event for event in events if "backchannel" in event["type"]]


def test_backchannel() -> None:
    """During a long turn, a short phrase is sent, in PCM at 24 kHz and at half volume."""
    events = backchannel_of({"allowed_phrases": ["yes"], "max_per_turn": 1})

    pcm = b"".join(base64.b64decode(event["delta"]) for event in events if "delta" in event)
    assert "response.backchannel.audio.done" == events[-1]["type"]
    assert "yes" == events[-1]["phrase"]
    assert 1 == len({event["backchannel_id"] for event in events})
    assert round(tone_seconds("yes") * 24000) == len(pcm) // 2
    assert 4000 < max(array("h", pcm)) < 5000


# (options, the number of phrases in five seconds of speech)
RHYTHMS = [
    ({"min_gap_ms": 0, "max_per_turn": 9}, 6),
    ({"min_gap_ms": 0}, 3),
    ({"min_gap_ms": 2000, "max_per_turn": 9}, 2),
    ({"min_gap_ms": 0, "max_per_turn": 9, "min_speech_ms": 4000}, 2),
    ({"min_gap_ms": 0, "max_per_turn": 9, "decider_kind": "rule"}, 3),
    ({"enabled": False}, 0),
    ({"require_pause": True}, 0),
]


@pytest.mark.parametrize(("options", "count"), RHYTHMS, ids=[str(row[0]) for row in RHYTHMS])
def test_backchannel_rhythm(options: dict[str, Any], count: int) -> None:
    """The number of backchannel phrases depends only on the user's audio and the options."""
    done = [event for event in backchannel_of(options) if event["type"].endswith(".done")]

    assert count == len(done)


def test_backchannel_misses_its_deadline() -> None:
    """A backchannel phrase that would be late is skipped, and an event says so."""
    events = backchannel_of({"hard_deadline_ms": 0, "max_per_turn": 1})

    assert {"response.backchannel.skipped"} == {event["type"] for event in events}
    assert "deadline_missed" == events[0]["reason"]


# Fillers.


class SlowMaker:
    """Replies "Done." after an event is set."""

    def __init__(self) -> None:
        self.may_answer = threading.Event()

    def __call__(self, request: ReplyRequest) -> Iterator[ReplyPart]:
        assert self.may_answer.wait(30)
        yield "Done."


def test_filler() -> None:
    """While the reply is late, a filler is spoken as ordinary audio of the response."""
    maker = SlowMaker()
    options = {
        "enabled": True,
        "initial_wait_timeout_ms": 10,
        "enable_filler_on_first_assistant_reply": True,
        "pause_text": "Let me think. ",
    }
    with Emulator(synthesizer=ToneSynthesizer(), reply_maker=maker) as server:
        with open_realtime(server) as client:
            client.update(providerData={"responsiveness": options})
            client.write("Hi there!")
            client.send("response.create")
            client.next("response.output_audio.delta")
            maker.may_answer.set()
            said = said_in(client.until("response.done"))

    assert "Let me think. Done." == said


def test_no_filler_on_the_first_reply() -> None:
    """By default, only the first reply has no filler."""
    options = {"enabled": True, "initial_wait_timeout_ms": 0}
    with server_with(reply_delay_ms=30) as server, open_realtime(server) as client:
        client.update(output_modalities=["text"], providerData={"responsiveness": options})
        first, second = (said_in(client.ask("Say yes.")) for _ in range(2))

    assert ("yes.", "Let me see. yes.") == (first, second)


# Ping, limits, quota.


def test_ping() -> None:
    """The server sends ping events with whole milliseconds."""
    with server_with(ping_interval=0.01) as server, open_realtime(server) as client:
        event = client.next("ping")

    assert isinstance(event["timestamp"], int)
    assert isinstance(event["event_id"], str)


def test_rate_limit() -> None:
    """Too many events in a second are refused. Events with audio do not count."""
    with server_with(max_events_per_second=2) as server, open_realtime(server) as client:
        for _ in range(5):
            client.send("input_audio_buffer.append", audio="")
        for _ in range(3):
            client.send("input_audio_buffer.clear")

        assert "rate_limit_exceeded" == client.error()["code"]


def test_exhausted_session() -> None:
    """If its resources are exhausted, a session gets a message without ``type``, and is closed."""
    with server_with(max_session_responses=1) as server, open_realtime(server) as client:
        client.ask("Hi there!")
        frame = client.receive()
        with pytest.raises(ConnectionClosed):
            client.receive()

    assert "type" not in frame
    assert "SESSION_RESOURCES_EXHAUSTED" == frame["errorType"]


def test_disconnect_during_a_reply() -> None:
    """If a client disconnects during a reply, no thread keeps running (see tests/conftest.py)."""
    with Emulator(synthesizer=ToneSynthesizer(), settings=Settings(pace=1)) as server:
        with open_realtime(server) as client:
            client.write("Count to 90.")
            client.send("response.create")
            client.next("response.output_audio.delta")


# Values that are wrong for most fields of providerData.
ODD = [1e308, -1, "x", [], {}, None]


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_odd_provider_data(realtime: RealtimeClient, odd: Any) -> None:
    """A wrong value in providerData is not refused, and the default applies."""
    fields = {
        "stt": ("vad_threshold", "min_end_of_turn_silence", "max_turn_silence"),
        "memory": ("turn_interval", "max_facts", "state"),
        "backchannel": ("eval_interval_ms", "volume_gain", "allowed_phrases"),
        "responsiveness": ("initial_wait_timeout_ms", "min_filler_gap_ms", "pause_text"),
    }
    branches = {
        branch: {"enabled": True, **dict.fromkeys(names, odd)} for branch, names in fields.items()
    }
    realtime.update(providerData=branches)

    assert "completed" == realtime.ask("Hi there!")[-1]["response"]["status"]


def test_failing_recognizer() -> None:
    """If the recognizer fails, the turn fails with an event, and the session continues."""

    class Broken(ScriptedRecognizer):
        def recognize(self, pcm: bytes) -> tuple[Any, ...]:
            raise RuntimeError("no engine")

    engine = engine_for(Broken())
    with Emulator(synthesizer=ToneSynthesizer(), speech_engine=engine) as server:
        with open_realtime(server) as client:
            audio = {"format": {"type": "audio/pcm", "rate": 16000}, "turn_detection": None}
            client.update(audio={"input": audio})
            client.hear(sound(10, word=1))
            client.send("input_audio_buffer.commit")
            failed = client.next("conversation.item.input_audio_transcription.failed")
            again = client.ask("Hi there!")[-1]["response"]["status"]

    assert "RuntimeError: no engine" == failed["error"]["message"]
    assert "completed" == again
