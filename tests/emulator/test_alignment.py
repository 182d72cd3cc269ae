"""Spoken words are matched with written words. A changed model also returns the ends of sounds."""

from __future__ import annotations

from pathlib import Path

import pytest

from inworld_sync.emulator.synthesis import default_synthesizer
from inworld_sync.emulator.synthesis.alignment import (
    EngineWord,
    align_words,
    spread_words,
    written_words,
)
from inworld_sync.emulator.synthesis.durations import expose_output
from inworld_sync.emulator.synthesis.hibari import HibariSynthesizer
from inworld_sync.emulator.voices import VOICES

# (written text, spoken text, number of spoken words for each written word)
ALIGNMENTS = [
    ("Hello there.", "Hello there.", [1, 1]),
    ("$5 now", "five dollars now", [2, 1]),
    ("at 7:30 pm sharp", "at seven thirty PM sharp", [1, 2, 1, 1]),
    ("Well — yes", "Well yes", [1, 0, 1]),
    ("a b", "a big b", [2, 1]),
    ("42", "forty two", [2]),
    ("—", "", [0]),
    ("one two", "eins zwei", [1, 1]),
]


@pytest.mark.parametrize(("written", "spoken", "counts"), ALIGNMENTS)
def test_align(written: str, spoken: str, counts: list[int]) -> None:
    """
    A written word has the times of its spoken words. A word that is not spoken has the duration 0.
    """
    heard = [
        EngineWord(word, number * 100, number * 100 + 100)
        for number, word in enumerate(spoken.split())
    ]
    words = align_words(written, written_words(written, 0, len(written)), heard)

    assert [count * 100 for count in counts] == [w.end_samples - w.start_samples for w in words]
    assert written.split() == [written[word.start_char : word.end_char] for word in words]


def test_align_nothing() -> None:
    """Spoken words without any written word are ignored."""
    assert () == align_words("", [], [EngineWord("what", 0, 10)])


def test_spread() -> None:
    """If the engine reports no times, a longer word gets a longer part of the duration."""
    words = spread_words(written_words("aaa a", 0, 5), 600)

    assert [(0, 400), (400, 600)] == [(word.start_samples, word.end_samples) for word in words]


def model_path() -> Path:
    import hibari

    return Path(hibari.__file__).parent / "assets" / "hibari.onnx"


def test_exposed_output_is_one_more() -> None:
    """The changed model has one more output, and makes the same speech as the original model."""
    import numpy as np
    import onnxruntime

    model = model_path().read_bytes()
    changed, name = expose_output(model, "CumSum")
    before, after = (
        onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        for data in (model, changed)
    )
    names = [output.name for output in before.get_outputs()]
    inputs = {"ids": np.array([[0, 50, 86, 54, 31, 0]]), "speed": np.ones(1, np.float32)}
    *spectrum, ends = after.run([*names, name], inputs)

    assert [*names, name] == [output.name for output in after.get_outputs()]
    for one, other in zip(before.run(names, inputs), spectrum, strict=True):
        assert np.array_equal(one, other)
    assert 6 == ends.size
    assert list(ends.reshape(-1)) == sorted(ends.reshape(-1))


def test_model_without_the_node() -> None:
    """A model that does not have the requested node is refused with a LookupError."""
    with pytest.raises(LookupError, match="Teleport"):
        expose_output(model_path().read_bytes(), "Teleport")


@pytest.mark.parametrize("data", [b"", b"\x0b", b"not a model at all, but some text"])
def test_no_model(data: bytes) -> None:
    """Bytes that are not a model are refused with a ValueError."""
    with pytest.raises(ValueError):
        expose_output(data, "CumSum")


def test_speech_without_durations(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a later model has no durations, speech still works and word times are estimated."""

    def refuse(model: bytes, op_type: str) -> tuple[bytes, str]:
        raise LookupError(op_type)

    exact_engine = default_synthesizer()  # this shared engine must be made before the patch
    monkeypatch.setattr("inworld_sync.emulator.synthesis.hibari.expose_output", refuse)
    text = "Hello there, my world."
    (sentence,) = HibariSynthesizer().speak(text, VOICES[0])
    (exact,) = exact_engine.speak(text, VOICES[0])

    assert exact.pcm == sentence.pcm
    assert text.split() == [text[word.start_char : word.end_char] for word in sentence.words]
    assert len(sentence.pcm) // 2 == sentence.words[-1].end_samples


@pytest.mark.parametrize("number", ["9" * 37, "9,999" * 10, "1" * 200])
def test_number_without_a_word(number: str) -> None:
    """The digits of a number that is too long for a word are spoken one by one."""
    (sentence,) = default_synthesizer().speak(f"Call {number} now.", VOICES[0])

    assert 3 == len(sentence.words)
    assert len(sentence.pcm) > len(number) * 2 * 1000
