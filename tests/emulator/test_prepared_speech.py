"""Prepared speech for load tests uses the same recording for all texts."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from inworld_sync.emulator import EmulatedVoice, Emulator, Settings
from inworld_sync.emulator.synthesis import SpokenSentence

from support.tone import ToneSynthesizer
from support.tts_client import audio_of, open_tts

SETTINGS = Settings(prepared_speech=True, max_connections=100)


class Counting(ToneSynthesizer):
    """A tone generator that counts its texts."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def speak(
        self, text: str, voice: EmulatedVoice, *, speaking_rate: float = 1.0, normalize: bool = True
    ) -> Iterator[SpokenSentence]:
        self.texts.append(text)
        return super().speak(text, voice, speaking_rate=speaking_rate)


def spoken(server: Emulator, text: str, **audio: object) -> tuple[float, list[str], list[float]]:
    """Speak a text. Return the seconds of audio, the words, and the end of each word."""
    config = {"audioEncoding": "PCM", "sampleRateHertz": 24000, **audio}
    with open_tts(server) as client:
        client.create(audioConfig=config, timestampType="WORD")
        client.text(text)
        client.flush()
        results = client.until("flushCompleted")
    infos = [result.get("audioChunk", {}).get("timestampInfo") for result in results]
    found = [info["wordAlignment"] for info in infos if info]
    words = [word for one in found for word in one["words"]]
    ends = [end for one in found for end in one["wordEndTimeSeconds"]]
    return len(audio_of(results)) / 48000, words, ends


def test_one_recording() -> None:
    """The synthesizer speaks once, and every text gets audio and times of its own length."""
    counting = Counting()
    with Emulator(synthesizer=counting, settings=SETTINGS) as server:
        for text in ("One two three.", "A longer text. It has two sentences. " * 20):
            seconds, words, ends = spoken(server, text)

            assert text.split() == "".join(words).split()
            assert len(text) / 15 == pytest.approx(seconds, rel=0.1)
            assert abs(ends[-1] - seconds) < 0.1

    assert 1 == len(counting.texts)


def test_speaking_rate() -> None:
    """The duration of prepared speech is divided by the speaking rate too."""
    text = "One two three four five."
    with Emulator(synthesizer=ToneSynthesizer(), settings=SETTINGS) as server:
        normal, fast = (spoken(server, text, speakingRate=rate)[0] for rate in (1.0, 1.5))

    assert normal / fast == pytest.approx(1.5, rel=0.01)


def test_many_sessions() -> None:
    """
    Fifty sessions get audio at the same time, because the synthesizer does not speak each text.
    """
    results: list[float] = []
    with Emulator(synthesizer=Counting(), settings=SETTINGS) as server:
        threads = [
            threading.Thread(target=lambda: results.append(spoken(server, "Hello there.")[0]))
            for _ in range(50)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

    assert 50 == len(results)
    assert 1 == len(set(results))
