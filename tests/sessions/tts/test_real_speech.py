"""Words and phonemes of the emulator's engine have the times at which they are heard."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from inworld_sync import AudioConfig, Inworld, Speech
from inworld_sync.emulator import Emulator

TEXT = "The quick brown fox jumps over the lazy dog. Was it seven or eleven? I do not know!"


@pytest.fixture(scope="module")
def speech(inworld_local: Emulator) -> Speech:
    with Inworld(api_key=inworld_local.api_key, base_url=inworld_local.url) as iw:
        return iw.tts.synthesize(TEXT)


def test_every_word_once(speech: Speech) -> None:
    """The words of the speech are those of the text, in order. Their times are within the audio."""
    assert TEXT.split() == [word.text for word in speech.words]
    assert all(a.end_ms <= b.start_ms + 1 for a, b in itertools.pairwise(speech.words))
    assert speech.words[-1].end_ms <= (speech.duration_ms or 0)


def test_phonemes_belong_to_their_words(speech: Speech) -> None:
    """Every phoneme is within the word of its ``word_index``, over all chunks and sentences."""
    assert len(speech.phonemes) > len(TEXT.split())
    for phoneme in speech.phonemes:
        word = speech.words[phoneme.word_index]
        assert word.start_ms - 1 <= phoneme.start_ms <= phoneme.end_ms <= word.end_ms + 1
    assert set(range(len(speech.words))) == {phoneme.word_index for phoneme in speech.phonemes}


def test_words_are_louder_than_pauses(speech: Speech) -> None:
    """The audio is loud within words and quiet between sentences."""
    samples = speech.numpy().astype(np.float64)

    def loudness(start_ms: float, end_ms: float) -> float:
        part = samples[round(start_ms * 24) : round(end_ms * 24)]
        return float(np.sqrt(np.mean(part**2)))

    within = [loudness(word.start_ms, word.end_ms) for word in speech.words]
    sentences = [word for word in speech.words if word.text[-1] in ".?!"][:-1]
    following = [speech.words[speech.words.index(word) + 1] for word in sentences]
    between = [
        loudness(a.end_ms + 60, b.start_ms - 20) for a, b in zip(sentences, following, strict=True)
    ]

    assert max(between) < np.median(within) / 3


@pytest.mark.parametrize("encoding", ["LINEAR16", "WAV", "MULAW", "ALAW"])
def test_encodings_with_samples(inworld_local: Emulator, speech: Speech, encoding: str) -> None:
    """LINEAR16, WAV, MULAW and ALAW give speech of the same duration and loudness."""
    rate = 8000 if "LAW" in encoding else 24000
    with Inworld(api_key=inworld_local.api_key, base_url=inworld_local.url) as iw:
        other = iw.tts.synthesize(TEXT, audio=AudioConfig(encoding, rate))
    expected, found = (s.numpy().astype(np.float64) for s in (speech, other))

    assert pytest.approx(speech.duration_ms, abs=5) == other.duration_ms
    assert pytest.approx(np.sqrt(np.mean(expected**2)), rel=0.15) == np.sqrt(np.mean(found**2))
    if rate == 24000:
        assert np.array_equal(expected, found)


@pytest.mark.parametrize("encoding", ["MP3", "OGG_OPUS", "FLAC"])
def test_encodings_that_are_files(inworld_local: Emulator, encoding: str) -> None:
    """In a compressed encoding, the speech is a whole file, and its words have times."""
    with Inworld(api_key=inworld_local.api_key, base_url=inworld_local.url) as iw:
        speech = iw.tts.synthesize(TEXT, audio=AudioConfig(encoding, 24000))

    assert len(speech.data) > 10_000
    assert speech.duration_ms is None
    assert TEXT.split() == [word.text for word in speech.words]
    assert sorted(w.start_ms for w in speech.words) == [w.start_ms for w in speech.words]
