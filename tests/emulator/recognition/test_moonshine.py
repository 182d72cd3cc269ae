"""Moonshine returns words for speech, and no words for other audio."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from inworld_sync.emulator.recognition import moonshine
from inworld_sync.emulator.recognition.moonshine import Moonshine, find_weights
from inworld_sync.emulator.recognition.protocols import HeardWord
from inworld_sync.errors import ConfigError

from support.sentences import word_errors
from support.speech import noise, pcm_of, say, silence


@pytest.fixture(scope="module")
def recognizer() -> Moonshine:
    return Moonshine()


# (spoken text, accepted transcripts)
SPOKEN = [
    ("Yes.", {"yes"}),
    ("No.", {"no"}),
    ("Stop!", {"stop"}),
    ("Seven.", {"seven", "7"}),
    ("Good morning.", {"good morning"}),
]

TONE = 0.3 * np.sin(np.arange(48_000) * 2 * np.pi * 440 / 16_000)
NOTHING = {
    "no sound": b"",
    "one sample": b"\x00\x10",
    "silence": silence(2),
    "long silence": silence(12),
    "soft noise": pcm_of(noise(8, 0.003, pink=False)),
    "noise": pcm_of(noise(3, 0.03, pink=False)),
    "short noise": pcm_of(noise(0.3, 0.3, pink=False)),
    "pink noise": pcm_of(noise(3, 0.1)),
    "tone": pcm_of(TONE),
}


@pytest.mark.parametrize(("text", "heard"), SPOKEN)
def test_short_speech(recognizer, text, heard):
    """A text of one or two words is recognized."""
    words = recognizer.recognize(say(text).pcm)

    assert " ".join(word.text.strip(".,!?").lower() for word in words) in heard


@pytest.mark.parametrize("pcm", NOTHING.values(), ids=NOTHING)
def test_nothing(recognizer, pcm):
    """Audio without speech gives no words."""
    assert () == recognizer.recognize(pcm)


def test_confidences(recognizer):
    """Clear words have a higher confidence than the same words in loud noise."""
    clear = np.frombuffer(say("The children were laughing in the garden.").pcm, "<i2") / 32768
    noisy = clear + noise(len(clear) / 16_000, 0.6 * clear.std(), pink=False)

    sure, unsure = (
        np.mean([word.confidence for word in recognizer.recognize(pcm_of(wave))])
        for wave in (clear, noisy)
    )

    assert 0.9 < sure <= 1
    assert sure > unsure


def test_fifteen_seconds(recognizer):
    """A segment of the maximum length is recognized to the end."""
    texts = [
        "The museum opens at ten and closes at six in the evening.",
        "There are twelve months in a year and seven days in a week.",
        "Turn left at the bridge and follow the river for a mile.",
    ]
    pcm = b"".join(say(text).pcm for text in texts)

    heard = " ".join(word.text for word in recognizer.recognize(pcm))

    assert 2 >= word_errors(" ".join(texts), heard)


# (words of the decoder, words that are kept). The last repetition may be incomplete.
LOOPS = [
    ("a b a b a b a b", "a b"),
    ("so a b c a b c a b c a b c a b", "so a b c"),
    ("Low, low, low, low, low", "Low,"),
    ("no no no", "no no no"),
    ("one two three four five", "one two three four five"),
    ("", ""),
]


@pytest.mark.parametrize(("said", "kept"), LOOPS)
def test_loops(said, kept):
    """A phrase that the decoder repeats is kept once."""
    words = [HeardWord(text, 0.9) for text in said.split()]

    assert kept == " ".join(word.text for word in moonshine._without_loop(words))


# (pieces of the decoder, texts of the words)
PIECES = [
    ([b" Hel", b"lo", b" you", b"."], ["Hello", "you."]),
    ([b" caf", b"\xc3", b"\xa9"], ["café"]),
    ([b" o'clock", b".", b"."], ["o'clock."]),
    ([b" ", b"A"], ["A"]),
    ([], []),
]


@pytest.mark.parametrize(("pieces", "texts"), PIECES)
def test_words(pieces, texts):
    """Pieces are joined to words, and a repeated punctuation mark is written once."""
    assert texts == [word.text for word in moonshine._words((piece, 0.5) for piece in pieces)]


def test_no_weights(monkeypatch):
    """If the weights are not installed, the error names the extra to install."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    with pytest.raises(ConfigError, match=r"inworld-sync\[local\]"):
        find_weights()
