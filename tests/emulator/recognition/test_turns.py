"""The silence after a turn and the text of the turn decide whether the turn is over."""

import pytest

from inworld_sync.emulator.recognition.turns import (
    TurnSettings,
    end_of_turn_confidence,
    is_turn_over,
)
from inworld_sync.errors import ConfigError

# (text, confidence that the text is complete)
TEXTS = [
    ("", 1.0),
    ("...", 1.0),
    ("Is it raining?", 0.9),
    ("Stop!", 0.9),
    ("seven", 0.5),
    ("Well,", 0.3),
    ("He said:", 0.3),
    ("I would like to", 0.1),
    ("I would like to.", 0.1),
    ("It’s", 0.5),
    ("I think it’s", 0.1),
    ("And", 0.5),
]

# (silence in ms, confidence, whether the turn is over). The short silence is 300 ms, the long
# silence is 1000 ms, and the confidence must be at least 0.4 for the short silence.
SILENCES = [
    (299, 1.0, False),
    (300, 0.4, True),
    (300, 0.39, False),
    (999, 0.39, False),
    (1000, 0.0, True),
]

# (setting, value) with values just out of each range, and values of a wrong type.
WRONG = [
    ("vad_threshold", -0.1),
    ("vad_threshold", 1.1),
    ("vad_threshold", float("nan")),
    ("vad_threshold", "0.5"),
    ("end_confidence", 2),
    ("min_silence_ms", -1),
    ("min_silence_ms", 0.5),
    ("max_silence_ms", 60_001),
    ("partial_interval_ms", True),
    ("max_turn_ms", 999),
]


@pytest.mark.parametrize(("text", "confidence"), TEXTS)
def test_confidence(text, confidence):
    """The last punctuation mark decides how complete a text seems, unless a word must follow."""
    assert confidence == end_of_turn_confidence(text)


@pytest.mark.parametrize(("silence_ms", "confidence", "is_over"), SILENCES)
def test_silence(silence_ms, confidence, is_over):
    """The short silence ends only a turn with enough confidence. The long silence ends any turn."""
    settings = TurnSettings(end_confidence=0.4, min_silence_ms=300, max_silence_ms=1000)

    assert is_over is is_turn_over(silence_ms, confidence, settings)


def test_manual():
    """No silence ends a manual turn."""
    assert not is_turn_over(100_000, 1.0, TurnSettings(vad_threshold=0))


def test_long_short_silence():
    """If only the short silence is set, the long silence is not shorter than the short silence."""
    assert 2500 == TurnSettings(min_silence_ms=2500).max_silence_ms


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_ranges(name, value):
    """A setting that is out of range raises an error that names the setting."""
    with pytest.raises(ConfigError, match=name):
        TurnSettings(**{name: value})
