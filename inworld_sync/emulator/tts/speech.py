"""Makes encoded audio with timestamps for the text of one flush, for WebSocket and HTTP."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import attrs

from inworld_sync.audio.resample import Resampler
from inworld_sync.emulator.shared_state import SharedState
from inworld_sync.emulator.status import INVALID_ARGUMENT, Refused
from inworld_sync.emulator.synthesis import SpokenSentence
from inworld_sync.emulator.tts.config import AudioConfig, ContextConfig
from inworld_sync.emulator.tts.encoders import encoded_rate_hz, open_encoder
from inworld_sync.emulator.tts.markup import Passage, check_readable, is_phonetic, read_markup
from inworld_sync.emulator.voices import EmulatedVoice

__all__ = ["AudioPiece", "TimedText", "TimedWord", "check_text", "speak"]

_logger = logging.getLogger("inworld_sync.emulator")
# A text or the symbol of a phoneme, and the seconds at which it starts and ends.
TimedText = tuple[str, float, float]


@attrs.frozen
class TimedWord:
    """
    A word of the user's text. Times are seconds from the start of the flush.

    Attributes:
        text: The word with its punctuation, without markup.
        gap: The white space before the word.
        end_char: The index after the word's last character in the flushed text.
        is_listed: Whether timestamps list the word. Phonetic spelling is not listed.
    """

    text: str
    gap: str
    end_char: int
    start: float
    end: float
    phonemes: tuple[TimedText, ...]
    is_listed: bool = True


@attrs.frozen
class AudioPiece:
    """
    The audio and the words of one message.

    Attributes:
        audio: The encoded audio.
        words: The words that begin in the audio.
        duration: The length of the audio in seconds.
    """

    audio: bytes = attrs.field(repr=False)
    words: tuple[TimedWord, ...]
    duration: float


def check_text(text: str, config: ContextConfig, shared: SharedState) -> str:
    """
    Check that the synthesizer can speak a text.

    Returns:
        A warning about characters that are left out, or an empty string.

    Raises:
        Refused: The synthesizer does not support the language, or can read nothing of the text.
    """
    languages = getattr(shared.synthesizer, "languages", None)
    if not isinstance(languages, tuple) or not shared.settings.check_language:
        return ""
    language = config.language.replace("_", "-").partition("-")[0].lower()
    if language not in ("", "auto", *languages):
        raise Refused(
            INVALID_ARGUMENT,
            f"language {config.language!r} is not supported: the emulator speaks "
            f"{', '.join(languages)} only",
        )
    unread = check_readable(text)
    return f"characters that cannot be spoken were left out: {unread[:40]}" if unread else ""


def speak(
    text: str,
    config: ContextConfig,
    shared: SharedState,
    *,
    whole: bool = False,
    voice: EmulatedVoice | None = None,
) -> Iterator[AudioPiece]:
    """
    Speak a text with the configuration of a context.

    Args:
        text: The text. White space alone yields nothing.
        config: The voice and the format.
        shared: The state of the server.
        whole: Whether to encode the audio as one file.
        voice: A voice that replaces the voice of *config*; None replaces nothing.

    Yields:
        Pieces of about ``Settings.chunk_ms``. Each piece has audio.

    Raises:
        Refused: See ``check_text``.
    """
    voice = voice or shared.voice(config.voice_id)
    if voice is None or not text.strip():
        return
    if warning := check_text(text, config, shared):
        _logger.warning("%s", warning)
    synthesizer = shared.synthesizer
    rate_hz = synthesizer.sample_rate_hz
    cutter = _Cutter(config.audio, rate_hz, shared.settings.chunk_ms, whole)
    for passage in read_markup(text):
        if passage.text.strip():
            for sentence in synthesizer.speak(
                passage.text,
                voice,
                speaking_rate=config.audio.speaking_rate,
                normalize=config.normalize,
            ):
                yield from cutter.add(sentence, passage)
        if passage.pause_seconds:
            silence = bytes(2 * round(rate_hz * passage.pause_seconds))
            yield from cutter.add(SpokenSentence(silence, ()), passage)
    yield from cutter.finish()


class _Cutter:
    """Divides the audio of sentences into encoded pieces of equal length."""

    def __init__(self, audio: AudioConfig, engine_hz: int, chunk_ms: int, whole: bool) -> None:
        self._rate_hz = encoded_rate_hz(audio.encoding, audio.sample_rate_hz)
        self._resampler = Resampler(engine_hz, self._rate_hz)
        self._encoder = open_encoder(audio.encoding, self._rate_hz, audio.bit_rate, whole=whole)
        self._words = _Words(engine_hz)
        self._chunk_bytes = 2 * max(1, self._rate_hz * chunk_ms // 1000)
        self._waiting = bytearray()
        self._encoded_samples = 0
        self._sent_samples = 0

    def add(self, sentence: SpokenSentence, passage: Passage) -> Iterator[AudioPiece]:
        """Add a sentence of a passage; yield the pieces that are full."""
        self._words.add(sentence, passage)
        self._waiting += self._resampler.feed(sentence.pcm)
        while len(self._waiting) >= self._chunk_bytes:
            yield from self._encode()

    def finish(self) -> Iterator[AudioPiece]:
        """Yield the remaining pieces."""
        self._waiting += self._resampler.finish()
        while self._waiting:
            yield from self._encode()
        if audio := self._encoder.finish():
            yield AudioPiece(audio, self._words.until(None), self._unsent_seconds())

    def _encode(self) -> Iterator[AudioPiece]:
        """Encode one chunk. The encoder may keep the chunk for the next piece."""
        pcm = bytes(self._waiting[: self._chunk_bytes])
        del self._waiting[: self._chunk_bytes]
        self._encoded_samples += len(pcm) // 2
        if audio := self._encoder.feed(pcm):
            words = self._words.until(self._encoded_samples / self._rate_hz)
            yield AudioPiece(audio, words, self._unsent_seconds())

    def _unsent_seconds(self) -> float:
        samples = self._encoded_samples - self._sent_samples
        self._sent_samples = self._encoded_samples
        return samples / self._rate_hz


class _Words:
    """The words that are synthesized but not sent yet."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._made_samples = 0
        self._waiting: list[TimedWord] = []

    def add(self, sentence: SpokenSentence, passage: Passage) -> None:
        for word in sentence.words:
            phonemes = tuple(
                (one.symbol, self._time(one.start_samples), self._time(one.end_samples))
                for one in word.phonemes
            )
            before = passage.text[: word.start_char]
            text = passage.text[word.start_char : word.end_char]
            self._waiting.append(
                TimedWord(
                    text=text,
                    gap=before[len(before.rstrip()) :],
                    end_char=passage.places[word.end_char - 1] + 1,
                    start=self._time(word.start_samples),
                    end=self._time(word.end_samples),
                    phonemes=phonemes,
                    is_listed=not is_phonetic(text),
                )
            )
        self._made_samples += len(sentence.pcm) // 2

    def until(self, seconds: float | None) -> tuple[TimedWord, ...]:
        """Remove and return the words that begin before *seconds*; None means all words."""
        count = sum(seconds is None or word.start < seconds for word in self._waiting)
        begun, self._waiting = self._waiting[:count], self._waiting[count:]
        return tuple(begun)

    def _time(self, samples: int) -> float:
        return round((self._made_samples + samples) / self._rate_hz, 3)
