"""The audio of an utterance: one chunk, or all of it."""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from inworld_sync.audio import g711, wav
from inworld_sync.audio.whole_file import WholeFile
from inworld_sync.devices.default import open_default_speaker
from inworld_sync.errors import AudioError, ConfigError
from inworld_sync.models.devices import AudioSink
from inworld_sync.models.tts import (
    AudioConfig,
    AudioEncoding,
    CharacterTime,
    Phoneme,
    TtsUsage,
    Viseme,
    WordTime,
)
from inworld_sync.models.words import WordJoiner

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from typing_extensions import Buffer


__all__ = ["AudioChunk", "Speech", "require_rate", "require_sink"]

# The file name suffixes of the encodings that are file formats.
_SUFFIXES = {
    ".mp3": AudioEncoding.MP3,
    ".ogg": AudioEncoding.OGG_OPUS,
    ".opus": AudioEncoding.OGG_OPUS,
    ".flac": AudioEncoding.FLAC,
}

_WAV_BLOCK_BYTES = 32 * 1024


class _Encoded:
    """Audio in an encoding of the service, which can be converted to samples."""

    __slots__ = ()

    data: bytes
    encoding: AudioEncoding
    sample_rate_hz: int

    @property
    def pcm(self) -> memoryview:
        """
        16-bit little-endian mono samples.

        Raises:
            AudioError: The encoding is compressed.
        """
        if self.encoding is AudioEncoding.MULAW:
            return memoryview(g711.decode_ulaw(self.data))
        if self.encoding is AudioEncoding.ALAW:
            return memoryview(g711.decode_alaw(self.data))
        if self.encoding.is_compressed:
            raise AudioError(
                f"{self.encoding.value} audio is compressed and has no samples: save it as a file, "
                "or use AudioConfig('PCM')"
            )
        return memoryview(self.data)

    @property
    def duration_ms(self) -> float | None:
        """The duration; None for compressed encodings."""
        if self.encoding.is_compressed:
            return None
        return len(self.data) / self.encoding.bytes_per_sample * 1000.0 / self.sample_rate_hz

    def numpy(self) -> npt.NDArray[np.int16]:
        """The samples as an int16 array of shape ``(samples,)``; imports numpy."""
        import numpy as np

        array = np.frombuffer(self.pcm, dtype="<i2")
        return array if sys.byteorder == "little" else array.astype(np.int16)


@attrs.frozen
class AudioChunk(_Encoded):
    """
    A part of the audio of an utterance, as one message of the service.

    Attributes:
        context_id: The context that it belongs to.
        data: The audio as the service encodes it, without WAV headers; empty for a chunk that
            has only times.
        encoding: The encoding of *data*.
        sample_rate_hz: Samples per second.
        start_ms: Its start in the utterance; None for compressed encodings.
        words: The words whose times were sent with this chunk, with their punctuation; the times
            never decrease over the utterance. A word that is cut between two chunks is a word of
            each.
        characters: The characters whose times were sent with this chunk.
        phonemes: The phonemes whose times were sent with this chunk; ``word_index`` is an index of
            *words*.
        usage: What the service counted; None if it sent no counts.
        tokens: The words, punctuation and white space of this chunk, as the service sent them;
            the tokens of an utterance joined are its text.
        visemes: Mouth shapes: those that the service computes from the audio if ``viseme_set`` was
            requested, otherwise those of the phonemes.
        extra: Fields of the service that the client cannot read.
    """

    context_id: str
    data: bytes = attrs.field(repr=lambda data: f"<{len(data)} bytes>")
    encoding: AudioEncoding
    sample_rate_hz: int
    start_ms: float | None = None
    words: tuple[WordTime, ...] = ()
    characters: tuple[CharacterTime, ...] = ()
    phonemes: tuple[Phoneme, ...] = ()
    usage: TtsUsage | None = None
    tokens: tuple[str, ...] = ()
    visemes: tuple[Viseme, ...] = ()
    extra: Mapping[str, object] = attrs.field(factory=dict)


@attrs.frozen
class Speech(_Encoded):
    """
    A whole utterance.

    Attributes:
        data: The audio as the service encodes it, without WAV headers.
        encoding: The encoding of *data*.
        sample_rate_hz: Samples per second.
        words: The words with their punctuation and times; empty unless times were requested.
        characters: The characters with their times; empty unless times were requested.
        phonemes: The phonemes with their times; ``word_index`` is an index of *words*.
        usage: What the service counted, summed.
        tokens: The words, punctuation and white space as the service sent them; ``"".join(tokens)``
            is the text.
        visemes: Mouth shapes, as in :class:`AudioChunk`.
    """

    data: bytes = attrs.field(repr=lambda data: f"<{len(data)} bytes>")
    encoding: AudioEncoding
    sample_rate_hz: int
    words: tuple[WordTime, ...] = attrs.field(default=(), repr=False)
    characters: tuple[CharacterTime, ...] = attrs.field(default=(), repr=False)
    phonemes: tuple[Phoneme, ...] = attrs.field(default=(), repr=False)
    usage: TtsUsage = attrs.field(factory=TtsUsage)
    tokens: tuple[str, ...] = attrs.field(default=(), repr=False)
    visemes: tuple[Viseme, ...] = attrs.field(default=(), repr=False)

    @classmethod
    def join(cls, chunks: Iterable[AudioChunk], audio: AudioConfig) -> Speech:
        """Join the chunks of one utterance."""
        joined = list(chunks)
        phonemes: list[Phoneme] = []
        words: list[WordTime] = []
        joiners: defaultdict[str, WordJoiner] = defaultdict(WordJoiner)
        for chunk in joined:
            joiner = joiners[chunk.context_id]
            indexes = joiner.add(chunk.tokens)
            own = list(chunk.words)
            end = "".join(t for t, i in zip(chunk.tokens, indexes, strict=True) if i == -1)
            if words and end:
                words[-1] = attrs.evolve(words[-1], text=words[-1].text + end)
            first = len(words)
            if words and own and joiner.continues:
                first -= 1
                rest = own.pop(0)
                words[-1] = attrs.evolve(
                    words[-1],
                    text=words[-1].text + rest.text,
                    end_ms=max(words[-1].end_ms, rest.end_ms),
                )
            phonemes += [
                attrs.evolve(phoneme, word_index=phoneme.word_index + first)
                for phoneme in chunk.phonemes
            ]
            words += own
        usages = [chunk.usage for chunk in joined if chunk.usage is not None]
        return cls(
            b"".join(chunk.data for chunk in joined),
            audio.encoding,
            audio.sample_rate_hz,
            tuple(words),
            tuple(character for chunk in joined for character in chunk.characters),
            tuple(phonemes),
            TtsUsage(
                sum(usage.characters for usage in usages),
                next((usage.model for usage in usages if usage.model), ""),
            ),
            tuple(token for chunk in joined for token in chunk.tokens),
            tuple(viseme for chunk in joined for viseme in chunk.visemes),
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """
        Write a file in the format of its suffix; an older file is replaced when it is complete.

        ``.wav``, ``.pcm`` and ``.raw`` accept every encoding that is not compressed; the last two
        have no header. ``.mp3``, ``.ogg``, ``.opus`` and ``.flac`` need audio in that encoding.

        Raises:
            AudioError: The suffix and the encoding do not match.
            OSError: The file cannot be written.
        """
        suffix = Path(path).suffix.lower()
        blocks: Iterable[Buffer]
        if suffix == ".wav":
            blocks = self.iter_wav()
        elif suffix in (".pcm", ".raw"):
            blocks = [self.pcm]
        elif suffix in _SUFFIXES and self.encoding is _SUFFIXES[suffix]:
            blocks = [self.data]
        else:
            wanted = _SUFFIXES.get(suffix)
            advice = (
                f"use AudioConfig({wanted.value!r}) for the request"
                if wanted
                else f"use one of .wav, .pcm, .raw, {', '.join(_SUFFIXES)}"
            )
            raise AudioError(
                f"{self.encoding.value} audio cannot be saved as a file with the suffix "
                f"{suffix!r}: {advice}"
            )
        with WholeFile(path) as file:
            file.writelines(blocks)

    def iter_wav(self) -> Iterator[bytes]:
        """Iterate over the blocks of a WAV file, for a web response."""
        samples = self.pcm
        yield wav.header(self.sample_rate_hz, 1, len(samples))
        for start in range(0, len(samples), _WAV_BLOCK_BYTES):
            yield bytes(samples[start : start + _WAV_BLOCK_BYTES])

    def play(self, speaker: AudioSink | None = None, *, timeout: float | None = None) -> None:
        """
        Play it, and return after all of it was heard.

        Args:
            speaker: Plays the audio; None opens the default :class:`~inworld_sync.Speaker`, or
                without the extra ``audio`` or a device a
                :class:`~inworld_sync.devices.ProgramSpeaker`.
            timeout: The most seconds to wait for room in the speaker, and then for the end.

        Raises:
            ConfigError: *speaker* cannot play.
            AudioError: The speaker has another sample rate, or the encoding is compressed.
            DeadlineExceeded: A wait took longer than *timeout* seconds.
            DeviceError: There is no speaker, or the speaker failed.
        """
        samples = self.pcm
        if speaker is None:
            with open_default_speaker(self.sample_rate_hz) as default:
                self.play(default, timeout=timeout)
            return
        require_sink(speaker)
        require_rate(speaker, self.sample_rate_hz)
        speaker.write(samples, timeout=timeout)
        speaker.drain(timeout=timeout)


def require_sink(speaker: object) -> None:
    """Raise :class:`ConfigError` if *speaker* is not an :class:`AudioSink`."""
    wanted = [name for name in vars(AudioSink) if not name.startswith("_")]
    missing = [name for name in wanted if not hasattr(speaker, name)]
    if missing or isinstance(speaker, type):
        raise ConfigError(
            "speaker must be an AudioSink, such as Speaker() or NullSpeaker(), "
            f"got {speaker!r}" + (f" without {', '.join(missing)}" if missing else "")
        )


def require_rate(speaker: AudioSink, sample_rate_hz: int) -> None:
    """Raise :class:`AudioError` if *speaker* would play at the wrong speed."""
    if speaker.sample_rate_hz != sample_rate_hz:
        raise AudioError(
            f"the speaker plays {speaker.sample_rate_hz} Hz and the speech has {sample_rate_hz} "
            f"Hz: use AudioConfig('PCM', {speaker.sample_rate_hz})"
        )
