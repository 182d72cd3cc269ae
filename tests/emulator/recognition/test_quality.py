"""The recognition has a minimum quality. ``pytest -rP`` shows the measured figures."""

from __future__ import annotations

import difflib
import sys

import numpy as np
import pytest

from inworld_sync.emulator.recognition.events import (
    FinalTranscript,
    PartialTranscript,
    SpeechStarted,
)
from inworld_sync.emulator.recognition.listener import Listener
from inworld_sync.emulator.recognition.turns import TurnSettings

from support.engines import needs_pocketsphinx
from support.sentences import SENTENCES, TWO_CITIES, word_errors, words_of
from support.speech import noise, pcm_of, recording, say, silence


def hear(engine, pcm, **turns):
    """Return all events of a stream of 100 ms chunks, by default without partial transcripts."""
    listener = Listener(engine, TurnSettings(**{"partial_interval_ms": 0, **turns}))
    events = [
        event for at in range(0, len(pcm), 3200) for event in listener.feed(pcm[at : at + 3200])
    ]
    return [*events, *listener.finish()]


def tell(figure):
    sys.stdout.write(f"{figure}\n")


def text_of(events):
    return " ".join(event.text for event in events if isinstance(event, FinalTranscript))


@pytest.fixture(scope="module")
def heard(engine):
    """Return each sentence with its synthesized speech and its recognized words."""
    return [
        (say(text), hear(engine, silence(0.5) + say(text).pcm + silence(1))) for text in SENTENCES
    ]


def test_synthetic_speech(heard):
    """At most 5 % of the words in the emulator's own speech are wrong."""
    errors = sum(word_errors(spoken.text, text_of(events)) for spoken, events in heard)
    words = sum(len(words_of(text)) for text in SENTENCES)
    tell(f"synthetic speech: {errors} errors in {words} words, {errors / words:.1%}")

    assert 0.05 > errors / words


@pytest.mark.parametrize(
    ("name", "text", "bound"),
    [
        ("two_cities.wav", TWO_CITIES, 0.12),
        ("beckett.wav", "Ever tried. Ever failed. No matter. Try again. Fail again. Fail better.",
         0.25),
    ],
)  # fmt: skip
def test_human_speech(engine, name, text, bound):
    """If a person reads aloud, the share of wrong words in the transcript is below *bound*."""
    errors, words = word_errors(text, text_of(hear(engine, recording(name)))), len(words_of(text))
    tell(f"{name}: {errors} errors in {words} words, {errors / words:.1%}")

    assert bound > errors / words


@needs_pocketsphinx
def test_word_times(heard):
    """Apart from a constant offset, the starts of words have a mean error of less than 40 ms."""
    differences = []
    for spoken, events in heard:
        words = [word for event in events if isinstance(event, FinalTranscript)
                 for word in event.words]  # fmt: skip
        said = [str(words_of(word)) for word, _, _ in spoken.words]
        got = [str(words_of(word.text)) for word in words]
        matcher = difflib.SequenceMatcher(None, said, got, autojunk=False)
        for match in matcher.get_matching_blocks():
            for i in range(match.size):
                start_ms = words[match.b + i].start_ms - 500
                differences.append(start_ms - spoken.words[match.a + i][1])
    bias = np.median(differences)
    error = np.abs(np.array(differences) - bias).mean()
    tell(f"word starts: {len(differences)} words, bias {bias:+.0f} ms, mean error {error:.0f} ms")

    assert 40 > error
    assert 120 > abs(bias)


def test_one_turn_each(heard):
    """More than 90 % of the sentences are recognized as one turn."""
    turns = [sum(isinstance(event, FinalTranscript) for event in events) for _, events in heard]

    assert 0.9 < np.mean([count == 1 for count in turns])


def test_partials(engine):
    """More than 80 % of the words in partial transcripts are in the final transcript."""
    wrong = total = 0
    for text in SENTENCES[:6]:
        events = hear(engine, say(text).pcm + silence(1), partial_interval_ms=400)
        final = words_of(text_of(events))
        partials = [words_of(event.text) for event in events if type(event) is PartialTranscript]
        assert 3 <= len(partials)
        for partial in partials:
            total += len(partial)
            wrong += word_errors(" ".join(final[: len(partial)]), " ".join(partial))
    tell(f"partials: {wrong} of {total} words were rewritten, {wrong / total:.1%}")

    assert 0.2 > wrong / total


@pytest.mark.parametrize("snr_db", [20, 10, 5])
def test_speech_in_noise(engine, snr_db):
    """Speech in pink noise is one turn with at most one wrong word. Noise alone starts no turn."""
    spoken = say(SENTENCES[0])
    wave = np.frombuffer(silence(2) + spoken.pcm + silence(3), "<i2") / 32768
    level = (np.frombuffer(spoken.pcm, "<i2") / 32768).std() * 10 ** (-snr_db / 20)

    events = hear(engine, pcm_of(wave + noise(len(wave) / 16_000, level)))

    assert 1 >= word_errors(spoken.text, text_of(events))
    assert 1 == sum(isinstance(event, SpeechStarted) for event in events)


@pytest.mark.parametrize("level", [0.0, 0.003, 0.03, 0.3])
def test_no_speech(engine, level):
    """Twenty seconds of silence or noise give no event."""
    assert [] == hear(engine, pcm_of(noise(20, level) if level else np.zeros(320_000)))


@pytest.mark.slow
def test_ten_hours_of_silence(engine):
    """During ten hours of faint noise there is no event, and the memory does not grow."""
    listener = Listener(engine)
    minute = pcm_of(noise(60, 0.001))
    listener.feed(minute)
    before = _resident_bytes()

    events = [event for _ in range(600) for event in listener.feed(minute)]

    assert [] == events
    assert 4_000_000 > _resident_bytes() - before


def _resident_bytes() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
