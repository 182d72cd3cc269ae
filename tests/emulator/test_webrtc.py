"""The emulator's sessions over WebRTC have events, tools, and audio in both directions."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from inworld_sync.emulator import Emulator, Settings
from inworld_sync.emulator.realtime.settings import RealtimeSettings
from inworld_sync.emulator.recognition.engine import SpeechEngine
from inworld_sync.emulator.recognition.protocols import HeardWord

from support.realtime_client import Event
from support.rtc_client import RATE_HZ, RtcClient, open_rtc
from support.scripted_recognizer import ScriptedAligner
from support.tone import ToneSynthesizer, tone_seconds

BUFFER = "output_audio_buffer"
# The simulated user speaks each text as a tone of this frequency.
HELLO_HZ, COUNT_HZ = 400, 800
WORDS = {HELLO_HZ: "hello", COUNT_HZ: "Count to ninety."}
# Opus changes the start and the end of a tone. A measured duration is wrong by up to this time.
EDGE_SECONDS = 0.04


class ToneVad:
    """Reports speech for every window that is not silent."""

    window_samples = 512

    def probability(self, window: bytes) -> float:
        return 1.0 if np.abs(np.frombuffer(window, "<i2")).max() > 500 else 0.0


class ToneRecognizer:
    """Recognizes each text by the frequency of the tone."""

    languages = ("en",)

    def recognize(self, pcm: bytes) -> tuple[HeardWord, ...]:
        samples = np.frombuffer(pcm, "<i2").astype(float)
        strengths = np.abs(np.fft.rfft(samples))
        found_hz = np.argmax(strengths) * 16000 / len(samples)
        word = min(WORDS, key=lambda hz: abs(hz - found_hz))
        return (HeardWord(WORDS[word], 0.9),)


def tone(frequency_hz: float, seconds: float = 0.5) -> np.ndarray[Any, Any]:
    """Return a tone. The track is silent after the tone, and this silence ends the turn."""
    times = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    samples = 12000 * np.sin(2 * np.pi * frequency_hz * times)
    return samples.astype("<i2")


def sounding_seconds(heard: np.ndarray[Any, Any]) -> float:
    """Return how many seconds of the audio are not silent. Blocks of 10 ms are counted."""
    step = RATE_HZ // 100
    steps = heard[: len(heard) // step * step].reshape(-1, step)
    return float((np.abs(steps.astype(int)).max(axis=1) > 1000).sum()) / 100


def until_sounding(client: RtcClient) -> None:
    """Wait until a reply is heard."""
    assert any(sounding_seconds(client.rtc.listen(0.1)) > 0.1 for _ in range(100))


@contextmanager
def call(**quirks: Any) -> Iterator[RtcClient]:
    """Yield a call to a server that speaks tones and recognizes tones."""
    engine = SpeechEngine(ToneRecognizer(), aligner=ScriptedAligner(), new_vad=ToneVad)
    settings = Settings(realtime=RealtimeSettings(**quirks))
    with (
        Emulator(synthesizer=ToneSynthesizer(), speech_engine=engine, settings=settings) as server,
        open_rtc(server) as client,
    ):
        quick = {"type": "server_vad", "silence_duration_ms": 400}
        client.update(audio={"input": {"turn_detection": quick}})
        yield client


def kinds(events: list[Event]) -> list[str]:
    return [event["type"] for event in events]


def test_written_turn(rtc_server: Emulator) -> None:
    """A reply is heard on the track, in real time and without a gap, and no event has audio."""
    with open_rtc(rtc_server) as client:
        assert sounding_seconds(client.rtc.listen(0.1)) == 0
        began = time.monotonic()
        events = client.ask("Say one two three.")
        events += client.until(f"{BUFFER}.stopped")
        elapsed = time.monotonic() - began
        heard = client.rtc.listen(0.3)

    expected = tone_seconds("one two three.")
    assert elapsed >= expected
    assert sounding_seconds(heard) == pytest.approx(expected, abs=EDGE_SECONDS)
    assert is_one_tone(heard)
    assert "response.output_audio.delta" not in kinds(events)
    assert "response.output_audio.done" in kinds(events)
    started = next(event for event in events if event["type"] == f"{BUFFER}.started")
    done = next(event for event in events if event["type"] == "response.done")
    assert started["response_id"] == events[-1]["response_id"] == done["response"]["id"]
    assert "one two three." == done["response"]["output"][0]["content"][0]["transcript"]


def is_one_tone(heard: np.ndarray[Any, Any]) -> bool:
    """Return whether the sound has one frequency and no gap."""
    sounds = np.flatnonzero(np.abs(heard.astype(int)) > 1000)
    middle = heard[sounds[0] + 2400 : sounds[-1] - 2400].astype(float)
    strengths = np.abs(np.fft.rfft(middle * np.hanning(len(middle)))) ** 2
    peak = int(np.argmax(strengths))
    return bool(strengths[peak - 3 : peak + 4].sum() > 0.999 * strengths.sum())


def test_spoken_turns_and_interruption() -> None:
    """
    The audio of the microphone is transcribed. Speech in this audio ends the audio of a reply, even
    if the response is already done.
    """
    with call() as client:
        client.rtc.speak(tone(COUNT_HZ))
        first = client.until("response.done")
        until_sounding(client)
        client.rtc.speak(tone(HELLO_HZ))
        second = client.until(f"{BUFFER}.cleared")
        third = client.until("response.done")
        stopped = client.next(f"{BUFFER}.stopped")
        heard = client.rtc.listen(0.3)

    completed = "conversation.item.input_audio_transcription.completed"
    turns = [each for each in (*first, *second, *third) if each["type"] == completed]
    assert ["Count to ninety.", "hello"] == [each["transcript"] for each in turns]
    begin = next(each for each in first if each["type"].endswith("speech_started"))
    end = next(each for each in first if each["type"].endswith("speech_stopped"))
    assert 400 <= end["audio_end_ms"] - begin["audio_start_ms"] <= 1500
    response, reply = first[-1]["response"], third[-1]["response"]
    assert response["status"] == "completed"
    assert second[-1]["response_id"] == response["id"]
    assert stopped["response_id"] == reply["id"] != response["id"]
    whole = tone_seconds(response["output"][0]["content"][0]["transcript"])
    spoken = tone_seconds(reply["output"][0]["content"][0]["transcript"])
    assert whole > 10
    assert spoken < sounding_seconds(heard) < whole


def test_interruption_by_command(rtc_server: Emulator) -> None:
    """``output_audio_buffer.clear`` ends the audio of a reply, and the next reply is complete."""
    with open_rtc(rtc_server) as client:
        events = client.ask("Count to ninety.")
        until_sounding(client)
        client.send(f"{BUFFER}.clear")
        cleared = client.next(f"{BUFFER}.cleared")
        before = sounding_seconds(client.rtc.listen(0.3))
        events += client.ask("Say one.")
        events += client.until(f"{BUFFER}.stopped")
        heard = client.rtc.listen(0.3)

    first = next(event for event in events if event["type"] == "response.done")["response"]
    assert cleared["response_id"] == first["id"]
    after = sounding_seconds(heard) - before
    assert after == pytest.approx(tone_seconds("one."), abs=EDGE_SECONDS)
    assert kinds(events).count(f"{BUFFER}.stopped") == 1


def test_truncation(rtc_server: Emulator) -> None:
    """After a truncation, an interrupted reply has only the words that the user has heard."""
    with open_rtc(rtc_server) as client:
        events = client.ask("Say one two three four.")
        item = next(each for each in events if each["type"] == "response.done")["response"][
            "output"
        ][0]
        client.send("output_audio_buffer.clear")
        client.send(
            "conversation.item.truncate", item_id=item["id"], content_index=0, audio_end_ms=200
        )
        client.next("conversation.item.truncated")
        client.send("conversation.item.retrieve", item_id=item["id"])
        kept = client.next("conversation.item.retrieved")["item"]

    assert "one two" == kept["content"][0]["transcript"]


def test_tool_call(rtc_server: Emulator) -> None:
    """A function is called, and its output is in the spoken reply."""
    tool = {
        "type": "function",
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    }
    with open_rtc(rtc_server) as client:
        client.update(tools=[tool], providerData={"auto_tool_response": False})
        events = client.ask("What is the weather in London?")
        done = next(each for each in events if each["type"].endswith("arguments.done"))
        output = {"type": "function_call_output", "call_id": done["call_id"], "output": "rain"}
        client.send("conversation.item.create", item=output)
        client.send("response.create")
        reply = client.next("response.done")["response"]["output"][0]

    assert "rain" in reply["content"][0]["transcript"]


def test_formats_of_the_session_have_no_effect(rtc_server: Emulator) -> None:
    """The tracks use Opus, even if the session has other formats."""
    with open_rtc(rtc_server) as client:
        g711 = {"format": {"type": "audio/pcmu"}}
        client.update(audio={"input": g711, "output": g711})
        client.ask("Say one two.")
        client.until(f"{BUFFER}.stopped")
        heard = client.rtc.listen(0.3)

    assert sounding_seconds(heard) == pytest.approx(tone_seconds("one two."), abs=EDGE_SECONDS)


def test_word_times(rtc_server: Emulator) -> None:
    """The times of words are sent in an event without audio."""
    with open_rtc(rtc_server) as client:
        client.update(providerData={"tts": {"timestamp_type": "WORD"}})
        events = client.ask("Say one two.")

    deltas = [each for each in events if each["type"] == "response.output_audio.delta"]
    assert not any("delta" in each for each in deltas)
    words = [each["timestamp_info"]["word_alignment"]["words"] for each in deltas]
    assert ["one", " ", "two", "."] == [word for group in words for word in group]


def test_appended_audio_is_refused(rtc_server: Emulator) -> None:
    """An event with audio gets an error, because the audio of a call is in a track."""
    with open_rtc(rtc_server) as client:
        client.send("input_audio_buffer.append", audio="AAAA")

        assert "on the audio track" in client.error()["message"]


def test_binary_message(rtc_server: Emulator) -> None:
    """A binary message on the data channel causes an error, and the session continues."""
    with open_rtc(rtc_server) as client:
        client.rtc.send(b"\x00\xff")
        assert "invalid_json" == client.error()["code"]

        assert client.ask("Say one.")


def test_text_only(rtc_server: Emulator) -> None:
    """A response in text has no events of the audio buffer."""
    with open_rtc(rtc_server) as client:
        events = client.ask("Say one.", output_modalities=["text"])

    assert "response.output_text.done" in kinds(events)
    assert not [kind for kind in kinds(events) if kind.startswith(BUFFER)]
