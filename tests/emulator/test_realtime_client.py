"""The package's own client and the local server: two readings of the same protocol."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from inworld_sync import Inworld, tool
from inworld_sync.emulator import Emulator, Settings
from inworld_sync.models.realtime import (
    OFF,
    OutputAudio,
    PcmFormat,
    ServerVad,
    Session,
    SpeechStarted,
    UserTranscriptCompleted,
)
from inworld_sync.sessions.realtime.session import RealtimeSession

from support.scripted_ears import ScriptedRecognizer, engine_for, sound
from support.tone import ToneSynthesizer

PATIENCE_SECONDS = 20


@tool
def get_weather(city: str) -> str:
    """Weather for a city."""
    return f"sunny in {city}"


@pytest.fixture
def session() -> Iterator[RealtimeSession]:
    """Replies last a twentieth of their time; speech is scripted, at 16 kHz."""
    engine = engine_for(ScriptedRecognizer("What is the weather in Oslo?", "hello"))
    settings = Session(
        input_format=PcmFormat(16000),
        turn_detection=ServerVad(silence_duration_ms=500),
        tools=[get_weather],
    )
    with Emulator(
        synthesizer=ToneSynthesizer(), speech_engine=engine, settings=Settings(pace=20)
    ) as server:
        with Inworld(base_url=server.url, api_key=server.api_key) as iw:
            with iw.realtime.connect(settings) as session:
                yield session


def transcripts_of(session: RealtimeSession) -> list[str]:
    return [
        part.transcript or ""
        for entry in session.conversation
        for part in getattr(entry.item, "content", ())
        if isinstance(part, OutputAudio)
    ]


def test_written_turns(session: RealtimeSession) -> None:
    """What was said is remembered, also by a reply of which only the text is held."""
    assert "Nice to meet you, Alice." == "".join(session.say("My name is Alice.").text_stream())
    reply = session.say("What is my name?").wait(PATIENCE_SECONDS)

    assert ("completed", "Your name is Alice.") == (reply.status, reply.text)


def test_interruption(session: RealtimeSession) -> None:
    """An interrupted reply is cancelled on both sides, and the next one is whole."""
    reply = session.say("Count to 90.")
    next(reply.text_stream())
    session.interrupt()

    assert "cancelled" == reply.wait(PATIENCE_SECONDS).status
    assert "enough." == session.say("Say enough.").wait(PATIENCE_SECONDS).text


def test_spoken_turn_with_a_call(session: RealtimeSession) -> None:
    """A spoken question is heard, its tool is run, and the answer says what it gave."""
    heard: list[str] = []
    session.on(UserTranscriptCompleted, lambda event: heard.append(event.transcript))
    started = session.subscribe()
    session.send_audio(sound(20, 0.8, word=1) + sound(40, 0.0), 16000)
    while not isinstance(event := started.get(PATIENCE_SECONDS), SpeechStarted):
        pass
    while "The weather says: sunny in Oslo." not in transcripts_of(session):
        event = started.get(PATIENCE_SECONDS)

    assert event is not None
    assert ["What is the weather in Oslo?"] == heard


def test_manual_turn(session: RealtimeSession) -> None:
    """With turn detection off the client commits and asks."""
    session.update(Session(turn_detection=OFF))
    session.send_audio(sound(20, 0.8, word=2), 16000)
    session.commit()

    reply = session.respond().wait(PATIENCE_SECONDS)
    assert "Hello! How can I help you?" == reply.text
