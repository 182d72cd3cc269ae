"""
The default engine: hibari-tts, a small neural model that runs a hundred times faster than speech.

It speaks English; characters that it cannot read are left out.  Everything here is deterministic:
the noise in the voice comes from a fixed seed.

Threads: a turnstile lets one sentence through at a time, so that many contexts get their turns in
order and the machine keeps a core for everything else.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inworld_sync.emulator.synthesis import Phone, SpokenSentence
from inworld_sync.emulator.synthesis.alignment import (
    HeardWord,
    align_words,
    spread_words,
    written_words,
)
from inworld_sync.emulator.synthesis.durations import expose_output
from inworld_sync.emulator.synthesis.turnstile import Turnstile
from inworld_sync.emulator.voices import Voice

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["HibariSynthesizer"]

_logger = logging.getLogger("inworld_sync.emulator")
_SEED = 0
# More phonemes than this at once and the model's attention wanders; hibari splits there too.
_MAX_PHONEMES = 400
_SILENT_MARKS = "ˈˌ "
# The model's alphabet has one letter for each diphthong; the rest of it is IPA.
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
_SPOKEN_PAUSE_SECONDS = 0.1
_PARAGRAPH = re.compile(r"[^\n]+")
# A longer sentence is cut, at the end of a clause if there is one and of a word if not: it would
# hold up everybody else for too long.
_MAX_SENTENCE_CHARACTERS = 300
_CLAUSE_END = re.compile(r"[,;:—]\s+")
_SPACE = re.compile(r"\s+")


class HibariSynthesizer:
    """
    Speaks with the voice in the hibari-tts wheel, bent into several.

    Raises:
        ImportError: hibari-tts or onnxruntime is not installed.

    Thread safety: any thread.
    """

    def __init__(self) -> None:
        import onnxruntime
        from hibari import Hibari, dsp
        from hibari.g2p.normalize import normalize

        self._engine = Hibari(threads=1)
        self._g2p = self._engine.g2p
        self._dsp = dsp
        self._normalize = normalize
        self._rate: int = dsp.SR
        self._turnstile = Turnstile()
        self._session = self._engine.sess
        self._outputs: list[str] | None = None
        try:
            model, durations = expose_output(Path(self._engine.model_path).read_bytes(), "CumSum")
        except (LookupError, ValueError, OSError) as error:
            _logger.warning("word times will be estimated, the model hides them: %s", error)
        else:
            names = [output.name for output in self._session.get_outputs()]
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            options.log_severity_level = 3
            self._session = onnxruntime.InferenceSession(
                model, options, providers=["CPUExecutionProvider"]
            )
            self._outputs = [*names, durations]

    @property
    def sample_rate_hz(self) -> int:
        """24000."""
        return self._rate

    def speak(
        self, text: str, voice: Voice, *, speaking_rate: float = 1.0, normalize: bool = True
    ) -> Iterator[SpokenSentence]:
        """Say a text; see :class:`~inworld_sync.emulator.synthesis.Synthesizer`."""
        for start, end in self._sentences(text):
            with self._turnstile:
                pieces = list(self._speak(text, start, end, voice, speaking_rate, normalize))
            yield from pieces

    def _sentences(self, text: str) -> Iterator[tuple[int, int]]:
        """Find the engine's sentences in the text; together they hold all its words."""
        for paragraph in _PARAGRAPH.finditer(text):
            at = paragraph.start()
            for sentence in self._engine.split_sentences(paragraph.group()):
                start = text.index(sentence, at)
                at = start + len(sentence)
                yield from _cut(text, start, at)

    def _speak(
        self,
        text: str,
        start: int,
        end: int,
        voice: Voice,
        speaking_rate: float,
        normalize: bool,
    ) -> Iterator[SpokenSentence]:
        spans = written_words(text, start, end)
        sentence = text[start:end]
        read = self._normalize(sentence) if normalize else sentence
        words = self._read(read)
        samples: list[NDArray[np.float32]] = []
        heard: list[HeardWord] = []
        done = 0
        for group in self._grouped(words):
            wave, group_heard = self._say(group, voice, speaking_rate, done)
            samples.append(wave)
            heard += group_heard
            done += len(wave)
        if not samples:
            samples = [np.zeros(round(self._rate * _SPOKEN_PAUSE_SECONDS), np.float32)]
            done = len(samples[0])
        pcm = (np.clip(np.concatenate(samples), -1, 1) * 32767).astype("<i2").tobytes()
        if self._outputs is None:
            yield SpokenSentence(pcm, spread_words(spans, done))
        else:
            yield SpokenSentence(pcm, align_words(text, spans, heard))

    def _read(self, text: str) -> list[tuple[str, str, bool]]:
        """Return words as text, phonemes, and whether a space follows."""
        known = self._engine.vocab
        words: list[tuple[str, str, bool]] = []
        open_word = False
        for token in self._g2p.phonemize_tokens(self._g2p.tokenize(text)):
            phonemes = "".join(sound for sound in token.phonemes or "" if sound in known)
            if open_word:
                before_text, before, _ = words.pop()
                word = (before_text + token.text, before + phonemes, bool(token.whitespace))
            else:
                word = (token.text, phonemes, bool(token.whitespace))
            words.append(word)
            open_word = not token.whitespace
        return words

    @staticmethod
    def _grouped(words: Sequence[tuple[str, str, bool]]) -> Iterator[list[tuple[str, str, bool]]]:
        """Cut a long sentence where the model would lose its way; skip what has no sound."""
        group: list[tuple[str, str, bool]] = []
        count = 0
        for word in words:
            if group and count + len(word[1]) > _MAX_PHONEMES:
                yield group
                group, count = [], 0
            group.append(word)
            count += len(word[1]) + 1
        if any(phonemes for _, phonemes, _ in group):
            yield group

    def _say(
        self, words: Sequence[tuple[str, str, bool]], voice: Voice, speaking_rate: float, at: int
    ) -> tuple[NDArray[np.float32], list[HeardWord]]:
        ids = [0]
        places: list[tuple[str, list[tuple[str, int]]]] = []
        for text, phonemes, has_space in words:
            sounds = []
            for sound in phonemes:
                sounds.append((sound, len(ids)))
                ids.append(self._engine.vocab[sound])
            places.append((text, sounds))
            if has_space:
                ids.append(self._engine.vocab[" "])
        ids.append(0)
        # A shifted formant changes the speed too, which the model makes up for.
        speed = speaking_rate * voice.speed / voice.formant
        outputs = self._session.run(
            self._outputs,
            {"ids": np.asarray([ids], np.int64), "speed": np.asarray([speed], np.float32)},
        )
        spectrum = [tensor[0] for tensor in outputs[:6]]
        # The last of the six is the melody; a resampling by the formant will raise it again.
        spectrum[5] = spectrum[5] * (voice.pitch / voice.formant)
        wave = self._dsp.synth(*spectrum, np.random.default_rng(_SEED))
        if voice.formant != 1.0:
            wave = self._shifted(wave, voice.formant)
        if self._outputs is None:
            return wave, []
        ends = np.asarray(outputs[6], np.float64).reshape(-1)
        return wave, _heard(places, ends * (len(wave) / ends[-1]), at)

    def _shifted(self, wave: NDArray[np.float32], formant: float) -> NDArray[np.float32]:
        import soxr

        shifted: NDArray[np.float32] = soxr.resample(wave, self._rate * formant, self._rate)
        return shifted


def _cut(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Divide a sentence that is too long."""
    while end - start > _MAX_SENTENCE_CHARACTERS:
        limit = start + _MAX_SENTENCE_CHARACTERS
        ends = [*_CLAUSE_END.finditer(text, start, limit)] or [*_SPACE.finditer(text, start, limit)]
        at = ends[-1].end() if ends else limit
        yield start, at
        start = at
    yield start, end


def _heard(
    places: Sequence[tuple[str, Sequence[tuple[str, int]]]], ends: NDArray[np.float64], at: int
) -> list[HeardWord]:
    """Turn places in the phoneme sequence into samples; *ends* tells where each one ends."""
    heard = []
    for text, sounds in places:
        audible = [(sound, index) for sound, index in sounds if sound not in _PAUSE_MARKS]
        if not audible:
            continue
        phones = tuple(
            Phone(_IPA.get(sound, sound), at + round(ends[index - 1]), at + round(ends[index]))
            for sound, index in audible
            if sound not in _SILENT_MARKS
        )
        first, last = audible[0][1], audible[-1][1]
        heard.append(HeardWord(text, at + round(ends[first - 1]), at + round(ends[last]), phones))
    return heard
