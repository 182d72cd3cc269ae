"""The package's client works with the emulator. The two share no code for the protocol."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import pytest

from inworld_sync import Inworld, ResponseStarted, ServiceError, tool
from inworld_sync.emulator import Emulator, Settings
from inworld_sync.emulator.realtime.settings import RealtimeSettings
from inworld_sync.models.realtime import (
    InputSpeechStarted,
    ManualTurns,
    OutputAudio,
    PcmFormat,
    ServerVad,
    Session,
    UserTranscriptCompleted,
)
from inworld_sync.sessions.realtime.session import RealtimeSession

from support.scripted_recognizer import ScriptedRecognizer, engine_for, sound
from support.tone import ToneSynthesizer

PATIENCE_SECONDS = 30.0


@tool
def get_weather(city: str) -> str:
    """Weather for a city."""
    return f"sunny in {city}"


@pytest.fixture
def session() -> Iterator[RealtimeSession]:
    """Open a session with a scripted recognizer. Replies arrive at 20 times real time."""
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
    """The conversation has all messages, even a reply whose ``Response`` was not kept."""
    assert "Nice to meet you, Alice." == "".join(
        session.send_message("My name is Alice.").text_stream()
    )
    reply = session.send_message("What is my name?").wait(PATIENCE_SECONDS)

    assert ("completed", "Your name is Alice.") == (reply.status, reply.text)


def test_interruption(session: RealtimeSession) -> None:
    """An interrupted reply is cancelled on both sides, and the next reply is complete."""
    reply = session.send_message("Count to 90.")
    next(reply.text_stream())
    session.interrupt()

    assert "cancelled" == reply.wait(PATIENCE_SECONDS).status
    assert "enough." == session.send_message("Say enough.").wait(PATIENCE_SECONDS).text


def test_spoken_turn_with_a_call(session: RealtimeSession) -> None:
    """A spoken question is transcribed, a tool is run, and the reply has the output of the tool."""
    heard: list[str] = []
    session.on(UserTranscriptCompleted, lambda event: heard.append(event.transcript))
    started = session.subscribe()
    session.send_audio(sound(20, 0.8, word=1) + sound(40, 0.0), 16000)
    while not isinstance(event := started.get(PATIENCE_SECONDS), InputSpeechStarted):
        pass
    while "The weather says: sunny in Oslo." not in transcripts_of(session):
        event = started.get(PATIENCE_SECONDS)

    assert event is not None
    assert ["What is the weather in Oslo?"] == heard


def test_manual_turn(session: RealtimeSession) -> None:
    """Without turn detection, the client commits the audio and requests the response."""
    session.update(Session(turn_detection=ManualTurns()))
    session.send_audio(sound(20, 0.8, word=2), 16000)
    session.commit()

    reply = session.respond().wait(PATIENCE_SECONDS)
    assert "Hello! How can I help you?" == reply.text


@tool
def current_time() -> str:
    """The time of day."""
    return "noon"


# Each entry has one deviation of a service from the reference. The last entry has all deviations.
QUIRKS: list[dict[str, bool]] = [
    {},
    {"beta_names": True},
    {"openai_part_names": True},
    {"named_calls": False},
    {"identified_calls": False},
    {"empty_arguments": True},
    {"calls_have_previous": True},
    {"rolling_transcription": False},
    {"stable_transcription": False},
    {"transcription_usage": True},
    {"camel_case_times": True},
    {"repeats_completed": True},
    {"text_beside_transcript": True},
    {"usage_beside_response": True},
    {"lists_attempts": True},
    {"truncates_on_24khz": False},
    {"explains_errors": False},
    {"output_buffer_events": True},
    {"turn_suggestions": False},
]
QUIRKS.append({name: value for quirk in QUIRKS[1:] for name, value in quirk.items()})


@pytest.mark.parametrize("quirk", QUIRKS, ids=lambda quirk: " ".join(quirk)[:30] or "none")
def test_quirks(quirk: dict[str, bool]) -> None:
    """With any deviation of a service, users see the same conversation as without a deviation."""
    realtime = RealtimeSettings(**quirk)
    engine = engine_for(ScriptedRecognizer("What is the current time?"))
    session = Session(
        input_format=PcmFormat(16000),
        turn_detection=ServerVad(silence_duration_ms=500),
        tools=[current_time],
    )
    with Emulator(
        synthesizer=ToneSynthesizer(), speech_engine=engine, settings=Settings(realtime=realtime)
    ) as server:
        with Inworld(base_url=server.url, api_key=server.api_key) as iw:
            with iw.realtime.connect(session) as rt:
                rt.cancel()  # a refused cancel is not an error of the session
                hello = rt.send_message("Hello!").wait(PATIENCE_SECONDS)
                told = rt.subscribe()
                rt.send_audio(sound(20, 0.8, word=1) + sound(40, 0.0), 16000)
                answer = hello
                while answer is hello:
                    event = told.get(PATIENCE_SECONDS)
                    if isinstance(event, ResponseStarted):
                        answer = event.response
                answer.wait(PATIENCE_SECONDS)
                seconds = hello.audio.read().duration_ms, answer.audio.read().duration_ms
                items = [entry.item for entry in rt.conversation]

    assert "Hello! How can I help you?" == hello.text
    assert "The current time says: noon." == answer.text
    assert (1050, 1200) == seconds
    assert hello.usage is not None
    assert 0 < hello.usage.total_tokens
    kinds = ["message", "message", "message", "function_call", "function_call_output", "message"]
    assert kinds == [item.type for item in items]
    spoken = [part.transcript for part in getattr(items[2], "content", ())]
    assert ["What is the current time?"] == spoken


def test_every_quirk_is_tested() -> None:
    """The table above has each switch of the emulator that a client can notice."""
    switches = {field.name for field in attrs.fields(RealtimeSettings) if field.type == "bool"}

    # Two switches are not in the table. The next test uses the switch explains_failures. The switch
    # calls_apply_session concerns calls over WebRTC only.
    assert switches - {"explains_failures", "calls_apply_session"} == set(QUIRKS[-1])


def test_an_unexplained_failure() -> None:
    """A reply that fails without a reason is still an error."""
    settings = Settings(realtime=RealtimeSettings(explains_failures=False, max_responses=1))
    with Emulator(synthesizer=ToneSynthesizer(), settings=settings) as server:
        with Inworld(base_url=server.url, api_key=server.api_key) as iw:
            with iw.realtime.connect() as rt:
                rt.send_message("Hello!").wait(PATIENCE_SECONDS)
                with pytest.raises(ServiceError, match="gives no reason"):
                    rt.send_message("Hello!").wait(PATIENCE_SECONDS)
