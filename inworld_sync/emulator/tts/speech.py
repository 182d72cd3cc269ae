"""Text in, encoded audio with its timestamps out: one flush, the same for WebSocket and HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

import attrs

from inworld_sync.emulator.backend import Backend
from inworld_sync.emulator.synthesis import SpokenSentence
from inworld_sync.emulator.tts.config import ContextConfig
from inworld_sync.emulator.tts.encoders import encoded_rate_hz, open_encoder
from inworld_sync.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["AudioPiece", "TimedPhone", "TimedWord", "speak"]


@attrs.frozen
class TimedPhone:
    """A speech sound; times in seconds from the start of the flush."""

    symbol: str
    start: float
    end: float


@attrs.frozen
class TimedWord:
    """
    A word of the user's text; times in seconds from the start of the flush.

    Attributes:
        start_char: Its first character in the flushed text.
        end_char: One past its last.
    """

    start_char: int
    end_char: int
    start: float
    end: float
    phones: tuple[TimedPhone, ...]


@attrs.frozen
class AudioPiece:
    """
    What one message carries.

    Attributes:
        audio: Encoded.
        words: The words that begin in it.
        duration: Seconds of sound that went into it.
    """

    audio: bytes = attrs.field(repr=False)
    words: tuple[TimedWord, ...]
    duration: float


def speak(
    text: str, config: ContextConfig, backend: Backend, *, whole: bool = False
) -> Iterator[AudioPiece]:
    """
    Say a text as a context is configured.

    Args:
        text: What to say; white space alone gives nothing.
        config: Voice and format.
        backend: The server's.
        whole: Encode as one file.

    Yields:
        Pieces of about ``Settings.chunk_ms``; each has audio.
    """
    voice = backend.voice(config.voice_id)
    if voice is None or not text.strip():
        return
    synthesizer = backend.synthesizer
    rate_hz = encoded_rate_hz(config.audio.encoding, config.audio.sample_rate_hz)
    encoder = open_encoder(config.audio.encoding, rate_hz, config.audio.bit_rate, whole=whole)
    resampler = _open_resampler(synthesizer.sample_rate_hz, rate_hz)
    chunk_bytes = 2 * max(1, rate_hz * backend.settings.chunk_ms // 1000)
    words = _Words(synthesizer.sample_rate_hz)
    waiting = bytearray()
    encoded_samples = sent_samples = 0

    def pieces(*, last: bool = False) -> Iterator[AudioPiece]:
        nonlocal encoded_samples, sent_samples
        while waiting and (last or len(waiting) >= chunk_bytes):
            pcm = bytes(waiting[:chunk_bytes])
            del waiting[:chunk_bytes]
            encoded_samples += len(pcm) // 2
            if audio := encoder.feed(pcm):
                duration = (encoded_samples - sent_samples) / rate_hz
                sent_samples = encoded_samples
                yield AudioPiece(audio, words.until(encoded_samples / rate_hz), duration)

    for sentence in synthesizer.speak(
        text, voice, speaking_rate=config.audio.speaking_rate, normalize=config.normalize
    ):
        words.add(sentence)
        waiting += resampler.feed(sentence.pcm)
        yield from pieces()
    waiting += resampler.finish()
    yield from pieces(last=True)
    if audio := encoder.finish():
        duration = (encoded_samples - sent_samples) / rate_hz
        yield AudioPiece(audio, words.until(None), duration)


class _Words:
    """The words that were made but not sent yet."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._made_samples = 0
        self._waiting: list[TimedWord] = []

    def add(self, sentence: SpokenSentence) -> None:
        for word in sentence.words:
            phones = tuple(
                TimedPhone(
                    phone.symbol, self._time(phone.start_samples), self._time(phone.end_samples)
                )
                for phone in word.phones
            )
            start, end = self._time(word.start_samples), self._time(word.end_samples)
            self._waiting.append(TimedWord(word.start_char, word.end_char, start, end, phones))
        self._made_samples += len(sentence.pcm) // 2

    def until(self, seconds: float | None) -> tuple[TimedWord, ...]:
        """Take the words that begin before a time, or all."""
        count = sum(seconds is None or word.start < seconds for word in self._waiting)
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return tuple(taken)

    def _time(self, samples: int) -> float:
        return round((self._made_samples + samples) / self._rate_hz, 3)


class _Resampler(Protocol):
    def feed(self, pcm: bytes) -> bytes: ...

    def finish(self) -> bytes: ...


class _SameRate:
    def feed(self, pcm: bytes) -> bytes:
        return pcm

    def finish(self) -> bytes:
        return b""


class _Soxr:
    """Keeps its state over the pieces, so that no seam is heard."""

    def __init__(self, from_hz: int, to_hz: int) -> None:
        try:
            import soxr
        except ImportError as error:
            raise ConfigError(
                f"speech at {to_hz} Hz needs soxr, part of the extra 'local': "
                "pip install 'inworld-sync[local]'"
            ) from error
        self._stream = soxr.ResampleStream(from_hz, to_hz, 1, dtype="int16")

    def feed(self, pcm: bytes) -> bytes:
        return self._step(pcm, last=False)

    def finish(self) -> bytes:
        return self._step(b"", last=True)

    def _step(self, pcm: bytes, *, last: bool) -> bytes:
        import numpy as np

        samples: NDArray[np.int16] = self._stream.resample_chunk(np.frombuffer(pcm, "<i2"), last)
        return samples.astype("<i2").tobytes()


def _open_resampler(from_hz: int, to_hz: int) -> _Resampler:
    return _SameRate() if from_hz == to_hz else _Soxr(from_hz, to_hz)


def text_of(text: str, words: Sequence[TimedWord]) -> list[str]:
    """Return the words as the user wrote them."""
    return [text[word.start_char : word.end_char] for word in words]
