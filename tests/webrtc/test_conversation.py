"""A conversation with the emulator over WebRTC: speech, a tool and an interruption."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from inworld_sync import Inworld, Session, Speech, WavSink, tool
from inworld_sync.emulator import Emulator
from inworld_sync.models.realtime import UserTranscriptCompleted
from inworld_sync.realtime import Interrupted, Message, RealtimeSession, ResponseStarted

from support.sentences import words_of
from support.udp_relay import open_relay

PATIENCE_SECONDS = 60.0
ANSWER = "The weather says: It rains in Oslo."


@pytest.fixture
def server() -> Iterator[Emulator]:
    with Emulator() as server:
        yield server


@tool
def weather(city: str) -> str:
    """Weather for a city."""
    return f"It rains in {city}."


def speech(iw: Inworld) -> list[Speech]:
    """Return the user's speech: a question, and words that interrupt."""
    texts = {"What is the weather in Oslo?": "Dennis", "Please stop now.": "Ashley"}
    return [iw.tts.synthesize(text, voice=voice) for text, voice in texts.items()]


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def talk(rt: RealtimeSession, question: Speech, stop: Speech, speaker: WavSink) -> list[object]:
    """Ask by voice, hear the answer, and interrupt the next answer by voice."""
    events = rt.subscribe()
    found: list[object] = []

    def until(kind: type[object]) -> object:
        while not isinstance(event := events.get(timeout=PATIENCE_SECONDS), kind):
            pass
        found.append(event)
        return event

    rt.play(speaker)
    rt.send_audio(question.pcm, question.sample_rate_hz)
    until(UserTranscriptCompleted)
    reply = until(ResponseStarted).response  # type: ignore[attr-defined]
    reply.wait(PATIENCE_SECONDS)
    rt.drain(PATIENCE_SECONDS)
    answered = speaker.heard_samples

    rt.send_message("Count to ninety.")
    wait_for(lambda: speaker.heard_samples > answered + speaker.sample_rate_hz)
    rt.send_audio(stop.pcm, stop.sample_rate_hz)
    until(Interrupted)
    found.append(speaker.heard_samples - answered)
    until(UserTranscriptCompleted)
    rt.play(None)
    return found


def check(iw: Inworld, rt: RealtimeSession, found: list[object], heard: Path) -> None:
    """Both sides have heard all words, and the interrupted item ends where it was heard."""
    asked, _, interrupted, heard_samples, stop = found
    assert isinstance(asked, UserTranscriptCompleted)
    assert isinstance(stop, UserTranscriptCompleted)
    assert isinstance(interrupted, Interrupted)
    assert isinstance(heard_samples, int)
    assert words_of(asked.transcript) == words_of("What is the weather in Oslo?")
    assert words_of(stop.transcript) == words_of("Please stop now.")
    texts = [entry.item.text for entry in rt.conversation if isinstance(entry.item, Message)]
    assert ANSWER in texts

    [(item_id, heard_ms)] = interrupted.heard_ms.items()
    assert heard_ms == pytest.approx(heard_samples / 24.0, abs=60)
    entry = rt.item(item_id)
    assert entry is not None
    wait_for(lambda: rt.item(item_id).truncated_ms is not None)  # type: ignore[union-attr]
    assert rt.item(item_id).truncated_ms == pytest.approx(heard_ms, abs=1)  # type: ignore[union-attr]

    words = words_of(iw.stt.transcribe(str(heard)).text)
    said = words_of(ANSWER)
    assert words[: len(said)] == said
    assert words[len(said) : len(said) + 2] == ["one", "two"]


@pytest.mark.timeout(300)
def test_conversation(server: Emulator, tmp_path: Path) -> None:
    """On the loopback interface."""
    heard = tmp_path / "heard.wav"
    session = Session(voice="Dennis", tools=[weather])
    with Inworld(server.api_key, base_url=server.url) as iw:
        question, stop = speech(iw)
        with iw.connect_webrtc(session, offer_form="json") as rt:
            with WavSink(heard, 24000, realtime=True) as speaker:
                found = talk(rt, question, stop, speaker)
            check(iw, rt, found, heard)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(5))
def test_conversation_over_a_bad_network(server: Emulator, tmp_path: Path, seed: int) -> None:
    """5 % of the packets are lost, and each packet is delayed by 0 to 60 ms."""
    heard = tmp_path / "heard.wav"
    session = Session(voice="Dennis", tools=[weather])
    with (
        Inworld(server.api_key, base_url=server.url) as iw,
        open_relay(server.url, seed=seed) as (url, relay),
    ):
        question, stop = speech(iw)
        with Inworld(server.api_key, base_url=url) as far, far.connect_webrtc(session) as rt:
            with WavSink(heard, 24000, realtime=True) as speaker:
                found = talk(rt, question, stop, speaker)
            check(iw, rt, found, heard)
    assert relay.dropped > 20
    assert relay.passed > 500
