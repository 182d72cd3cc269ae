"""
Adapts the default engine, hibari-tts. The engine is a small neural model, which makes a second of
speech in about 10 ms.

The engine speaks English. Characters that it cannot read are left out. The same text gives the same
samples, because the noise in the voice comes from a fixed seed.

Threads: one sentence is synthesized at a time, in the order of the requests, so that all contexts
are served and the engine uses only one core.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import numpy as np

from inworld_sync.emulator.fair_lock import FairLock
from inworld_sync.emulator.onnx import open_model
from inworld_sync.emulator.synthesis import Phoneme, SpokenSentence
from inworld_sync.emulator.synthesis.alignment import (
    EngineWord,
    align_words,
    spread_words,
    written_words,
)
from inworld_sync.emulator.synthesis.durations import expose_output
from inworld_sync.emulator.voices import EmulatedVoice

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["HibariSynthesizer"]

_logger = logging.getLogger("inworld_sync.emulator")
_SEED = 0
# The largest number of phonemes in one run. With more phonemes, the model makes mistakes. hibari
# has this limit too.
_MAX_PHONEMES = 400
_SILENT_MARKS = "ˈˌ "
# The model's alphabet has one letter for each diphthong. Its other letters are IPA.
_IPA = {
    "A": "eɪ",
    "I": "aɪ",
    "O": "oʊ",
    "Q": "əʊ",
    "W": "aʊ",
    "Y": "ɔɪ",
    "T": "ɾ",
    "ᵊ": "ə",
    "ᵻ": "ɪ",
}
_PAUSE_MARKS = ';:,.!?—…"()“”'
# Phonetic spelling, such as /kriːt/. Source: see ``inworld_sync.emulator.tts.markup``.
_PHONETIC = re.compile(r"(?<![\w/])/([^\s/]+)/(?![\w/])")
_PAUSE_SECONDS = 0.1
_PARAGRAPH = re.compile(r"[^\n]+")
# A longer sentence is cut after a clause or a word, because it would delay the other contexts.
_MAX_SENTENCE_CHARACTERS = 300
_CLAUSE_END = re.compile(r"[,;:—]\s+")
_SPACE = re.compile(r"\s+")
# hibari has no word for a number of more than 36 digits. Each digit is then a word. A number may
# have commas between its digits.
_LONG_NUMBER = re.compile(r"\d(?:,?\d){36,}")


@attrs.define
class _ReadWord:
    """A word as the model reads it. Punctuation is a part of the word before it."""

    text: str = ""
    phonemes: str = ""


class HibariSynthesizer:
    """
    Speaks with the voice in the hibari-tts wheel, modified for each emulated voice.

    Raises:
        ImportError: hibari-tts or onnxruntime is not installed.

    Attributes:
        sample_rate_hz: The sample rate of the engine, 24000.

    Thread safety: any thread may use this object.
    """

    languages = ("en",)

    def __init__(self) -> None:
        from hibari import Hibari, dsp
        from hibari.g2p.normalize import normalize

        self._engine = Hibari(threads=1)
        self._g2p = self._engine.g2p
        self._dsp = dsp
        self._normalize = normalize
        self.sample_rate_hz: int = dsp.SR
        self._lock = FairLock()
        self._session = self._engine.sess
        self._outputs: list[str] | None = None
        try:
            model, durations = expose_output(Path(self._engine.model_path).read_bytes(), "CumSum")
        except (LookupError, ValueError, OSError) as error:
            _logger.warning("word times are estimated, because the model reports none: %s", error)
        else:
            names = [output.name for output in self._session.get_outputs()]
            self._session = open_model(model)
            self._engine.sess = self._session  # frees the session without durations
            self._outputs = [*names, durations]

    def speak(
        self, text: str, voice: EmulatedVoice, *, speaking_rate: float = 1.0, normalize: bool = True
    ) -> Iterator[SpokenSentence]:
        """Speak a text; see :class:`~inworld_sync.emulator.synthesis.Synthesizer`."""
        for start, end in self._sentences(text):
            sentence = text[start:end]
            with self._lock:
                spoken = self._normalize(sentence) if normalize else sentence
                words = self._read(_PHONETIC.sub(_as_link, spoken))
                wave, heard = self._say(words, voice, speaking_rate)
            spans = written_words(text, start, end)
            pcm = (np.clip(wave, -1, 1) * 32767).astype("<i2").tobytes()
            if self._outputs is None:
                yield SpokenSentence(pcm, spread_words(spans, len(wave)))
            else:
                yield SpokenSentence(pcm, align_words(text, spans, heard))

    def _sentences(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield the start and end of the engine's sentences, which have all words of the text."""
        for paragraph in _PARAGRAPH.finditer(text):
            at = paragraph.start()
            for sentence in self._engine.split_sentences(paragraph.group()):
                start = text.index(sentence, at)
                at = start + len(sentence)
                yield from _cut(text, start, at)

    def _read(self, text: str) -> list[_ReadWord]:
        """Divide text into words with their phonemes in the alphabet of the model."""
        known = self._engine.vocab
        words: list[_ReadWord] = []
        starts_word = True
        text = _LONG_NUMBER.sub(lambda number: " ".join(number[0].replace(",", "")), text)
        for token in self._g2p.phonemize_tokens(self._g2p.tokenize(text)):
            if starts_word:
                words.append(_ReadWord())
            words[-1].text += token.text
            words[-1].phonemes += "".join(sound for sound in token.phonemes or "" if sound in known)
            starts_word = bool(token.whitespace)
        return words

    def _say(
        self, words: Sequence[_ReadWord], voice: EmulatedVoice, speaking_rate: float
    ) -> tuple[NDArray[np.float32], list[EngineWord]]:
        """Speak words in one or more runs of the model. Return a pause if there are no phonemes."""
        waves: list[NDArray[np.float32]] = []
        heard: list[EngineWord] = []
        for group in _grouped(words):
            wave, ends = self._run(group, voice, speaking_rate)
            heard += _heard(group, ends, sum(map(len, waves)))
            waves.append(wave)
        if not waves:
            waves = [np.zeros(round(self.sample_rate_hz * _PAUSE_SECONDS), np.float32)]
        return np.concatenate(waves), heard

    def _run(
        self, words: Sequence[_ReadWord], voice: EmulatedVoice, speaking_rate: float
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Run the model once. Return the samples, and the position at which each input ends."""
        vocabulary = self._engine.vocab
        ids = [vocabulary[sound] for sound in " ".join(word.phonemes for word in words)]
        # Resampling shifts the formants, but also the speed and the pitch, so the speed and
        # the pitch are corrected.
        speed = speaking_rate * voice.speed / voice.formant
        outputs = self._session.run(
            self._outputs,
            {"ids": np.asarray([[0, *ids, 0]], np.int64), "speed": np.asarray([speed], np.float32)},
        )
        spectrum = [np.asarray(tensor)[0] for tensor in outputs[:6]]
        spectrum[5] = spectrum[5] * (voice.pitch / voice.formant)  # the fundamental frequency
        wave = self._dsp.synth(*spectrum, np.random.default_rng(_SEED))  # pyright: ignore[reportCallIssue] - six tensors
        if voice.formant != 1.0:
            import soxr

            wave = soxr.resample(wave, self.sample_rate_hz * voice.formant, self.sample_rate_hz)
        if self._outputs is None:
            return wave, np.linspace(0.0, len(wave), len(ids) + 2)
        ends = np.asarray(outputs[6], np.float64).reshape(-1)
        return wave, ends * (len(wave) / ends[-1])


def _as_link(found: re.Match[str]) -> str:
    """Write phonetic spelling in hibari's form: a link to phonemes of hibari's alphabet."""
    phonemes = found[1].replace("tʃ", "ʧ").replace("dʒ", "ʤ").replace("g", "ɡ")
    for letter, symbol in _IPA.items():
        if len(symbol) > 1:
            phonemes = phonemes.replace(symbol, letter)
    phonemes = phonemes.translate({ord("r"): "ɹ", ord("ː"): None, ord("."): None})
    return f"[{found[1]}](/{phonemes}/)"


def _cut(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Divide a sentence that is too long."""
    while end - start > _MAX_SENTENCE_CHARACTERS:
        limit = start + _MAX_SENTENCE_CHARACTERS
        ends = [*_CLAUSE_END.finditer(text, start, limit)] or [*_SPACE.finditer(text, start, limit)]
        at = ends[-1].end() if ends else limit
        yield start, at
        start = at
    yield start, end


def _grouped(words: Sequence[_ReadWord]) -> Iterator[list[_ReadWord]]:
    """Divide words into groups, each for one run of the model. Skip words without phonemes."""
    group: list[_ReadWord] = []
    count = 0
    for word in words:
        if not word.phonemes:
            continue
        if group and count + len(word.phonemes) > _MAX_PHONEMES:
            yield group
            group, count = [], 0
        group.append(word)
        count += len(word.phonemes) + 1
    if group:
        yield group


def _heard(words: Sequence[_ReadWord], ends: NDArray[np.float64], at: int) -> list[EngineWord]:
    """
    Return each word with its time.

    The values of *ends* are samples, counted from *at*. The first value is the end of the silence
    before the words.
    """
    heard = []
    index = 1
    for word in words:
        places = [
            (sound, at + round(ends[place - 1]), at + round(ends[place]))
            for place, sound in enumerate(word.phonemes, index)
            if sound not in _PAUSE_MARKS
        ]
        index += len(word.phonemes) + 1
        if places:
            phonemes = tuple(
                Phoneme(_IPA.get(sound, sound), start, end)
                for sound, start, end in places
                if sound not in _SILENT_MARKS
            )
            heard.append(EngineWord(word.text, places[0][1], places[-1][2], phonemes))
    return heard
