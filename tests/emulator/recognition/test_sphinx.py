"""PocketSphinx finds the times of known words."""

from __future__ import annotations

import numpy as np
import pytest

from inworld_sync.emulator.recognition import sphinx
from inworld_sync.emulator.recognition.sphinx import (
    SphinxAligner,
    SphinxRecognizer,
    spoken_forms,
)

from support.engines import needs_pocketsphinx
from support.sentences import SENTENCES, words_of
from support.speech import noise, pcm_of, say


@pytest.fixture(scope="module")
def aligner() -> SphinxAligner:
    return SphinxAligner()


# (written word, words to look up)
FORMS = [
    ("London?", ["london"]),
    ("sea-shells,", ["sea", "shells"]),
    ("o'clock", ["o'clock"]),
    ("It’s", ["it's"]),
    ("'tis'", ["tis"]),
    ("$12.50", ["one", "two", "five", "zero"]),
    ("Café", ["cafe"]),
    ("3rd", ["three", "rd"]),
    ("—", []),
    ("日本", []),
]


@pytest.mark.parametrize(("written", "spoken"), FORMS)
def test_spoken_forms(written, spoken):
    """A written word is looked up without punctuation and accents, and each digit is one word."""
    assert spoken == spoken_forms(written)


@needs_pocketsphinx
def test_near_the_truth(aligner):
    """Apart from a constant offset, the starts of words have a mean error of less than 40 ms."""
    differences = []
    for text in SENTENCES[:8]:
        spoken = say(text)
        spans = aligner.align(spoken.pcm, [word for word, _, _ in spoken.words])
        differences += [
            found - start for (found, _), (_, start, _) in zip(spans, spoken.words, strict=True)
        ]
        edges = [edge for span in spans for edge in span]
        assert edges == sorted(edges)

    # The synthesizer and PocketSphinx treat the silence before a plosive differently.
    bias = np.median(differences)
    assert 120 > abs(bias)
    assert 40 > np.abs(np.array(differences) - bias).mean()


@needs_pocketsphinx
def test_unknown_words(aligner):
    """Names that are not in the dictionary are found between other words."""
    spoken = say("Please ask Zbigniew Xochitl about the garden.")

    spans = aligner.align(spoken.pcm, spoken.text.split())

    starts = [start for _, start, _ in spoken.words]
    assert 200 > max(abs(span[0] - start) for span, start in zip(spans, starts, strict=True))


@needs_pocketsphinx
def test_words_without_sound(aligner):
    """A dash has a position and no duration."""
    spans = aligner.align(say("Good night.").pcm, ["Good", "—", "night."])

    assert spans[0][1] == spans[1][0] == spans[1][1] <= spans[2][0]


@needs_pocketsphinx
def test_misfit(aligner):
    """Nothing is aligned if there are no words, or too many words for the audio."""
    assert aligner.align(say("Yes.").pcm, SENTENCES[1].split() * 3) is None
    assert aligner.align(say("Yes.").pcm, []) is None
    assert aligner.align(b"", ["yes"]) is None


@needs_pocketsphinx
def test_no_memory(aligner):
    """Earlier alignments do not change later alignments."""
    spoken = say(SENTENCES[2])
    words = spoken.text.split()
    first = aligner.align(spoken.pcm, words)

    aligner.align(pcm_of(noise(3, 0.3)), words)
    aligner.align(say(SENTENCES[3]).pcm, SENTENCES[3].split())

    assert first == aligner.align(spoken.pcm, words)


@needs_pocketsphinx
def test_bounded_dictionary(monkeypatch):
    """If too many words were added to the dictionary, added words are removed again."""
    monkeypatch.setattr(sphinx, "_MAX_ADDED_WORDS", 3)
    aligner = SphinxAligner()
    pcm = say("Good night.").pcm

    for number in range(10):
        aligner.align(pcm, ["Good", "qx" * (number + 1)])
        assert 4 >= len(aligner._added)


@needs_pocketsphinx
def test_recognizer():
    """PocketSphinx recognizes simple speech, with times and confidences."""
    spoken = say("Good morning, how are you?")

    words = SphinxRecognizer().recognize(spoken.pcm)

    assert {"good", "morning"} <= set(words_of(" ".join(word.text for word in words)))
    assert all(0 <= word.confidence <= 1 for word in words)
    assert all(word.start_ms < word.end_ms for word in words)
