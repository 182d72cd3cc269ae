"""
Defines the classes of speech: ``AudioChunk`` for one message, ``SpeechStream`` for the chunks of an
utterance, and ``Speech`` for a whole utterance.

Lock rule: ``_steps`` of a stream is not empty while a thread waits for the next chunk. A second
thread does not wait, but raises an error.
"""

from __future__ import annotations

import io
import os
import sys
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import attrs

from inworld_sync.audio import g711, wav
from inworld_sync.audio.whole_file import WholeFile
from inworld_sync.errors import AudioError, ConfigError, LocalProtocolError
from inworld_sync.models.devices import AudioSink
from inworld_sync.models.tts import (
    FILE_ENCODINGS,
    FILE_FORMATS,
    AudioConfig,
    AudioEncoding,
    CharacterTime,
    ContextConfig,
    Phoneme,
    TtsUsage,
    Viseme,
    WordTime,
)
from inworld_sync.models.turns import Turn, Word
from inworld_sync.models.words import WordJoiner, text_of_tokens

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


__all__ = [
    "AnyUtterance",
    "AudioChunk",
    "Speech",
    "SpeechStream",
    "SupportsWrite",
    "require_rate",
    "require_sink",
]

_WAV_BLOCK_BYTES = 32 * 1024


class SupportsWrite(Protocol):
    """A binary file that is open for writing."""

    def write(self, data: bytes, /) -> object:
        """Write bytes."""


class _Encoded:
    """Audio in an encoding of the service. The audio can be converted to samples."""

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
        """The duration in milliseconds; None for compressed encodings."""
        if self.encoding.is_compressed:
            return None
        return len(self.data) / self.encoding.bytes_per_sample * 1000.0 / self.sample_rate_hz

    def numpy(self) -> npt.NDArray[np.int16]:
        """Return the samples as an int16 array of shape ``(samples,)``. The call imports numpy."""
        import numpy as np

        array = np.frombuffer(self.pcm, dtype="<i2")
        return array if sys.byteorder == "little" else array.astype(np.int16)


@attrs.frozen
class AudioChunk(_Encoded):
    """
    A part of the audio of an utterance, from one message of the service.

    Attributes:
        context_id: The context that the chunk belongs to.
        data: The audio as the service encodes it, without WAV headers; empty for a chunk that
            has only times.
        encoding: The encoding of *data*.
        sample_rate_hz: Samples per second.
        start_ms: Where the chunk starts in the utterance; None for compressed encodings.
        words: The words whose times were sent with this chunk, with their punctuation. Over the
            utterance, the times never decrease. If a word is cut between two chunks, each chunk has
            a part of the word as one word.
        characters: The characters whose times were sent with this chunk.
        phonemes: The phonemes whose times were sent with this chunk; ``word_index`` is an index
            into *words*.
        usage: The characters that the service has counted; None if it sent no count.
        tokens: The words, punctuation and white space of this chunk, as the service sent them. The
            joined tokens of an utterance are its text.
        visemes: Mouth shapes. The service computes the shapes from the audio if ``viseme_set`` was
            requested. Otherwise *visemes* has the visemes of the phonemes.
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
        phonemes: The phonemes with their times; ``word_index`` is an index into *words*.
        usage: The sum of the characters that the service has counted.
        tokens: The words, punctuation and white space as the service sent them; ``"".join(tokens)``
            is the text.
        visemes: Mouth shapes, as in :class:`AudioChunk`.
        from_cache: Whether the speech is from the cache of the client. Then *usage* is 0.
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
    from_cache: bool = False

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

    def save(
        self,
        target: str | os.PathLike[str] | SupportsWrite,
        *,
        format: str | None = None,  # noqa: A002
    ) -> None:
        """
        Write the speech to a file.

        Args:
            target: A path, or a binary file that is open for writing; this file stays open. A file
                at the path is replaced when the new file is complete.
            format: ``wav``, ``pcm``, ``raw``, ``mp3``, ``ogg``, ``opus`` or ``flac``; None means
                the suffix of the path. ``pcm`` and ``raw`` have no header. To write one of the last
                four formats from audio that is not compressed, soundfile (extra ``files``) or PyAV
                (extra ``media``) is needed. FLAC is lossless. Compressed audio is saved only in its
                own encoding.

        Raises:
            AudioError: The format and the encoding do not match, or no library for the encoding is
                installed.
            ConfigError: *target* is neither a path nor a binary file, or *target* is an open file
                and *format* is None.
            OSError: The file cannot be written.
        """
        if isinstance(target, (str, os.PathLike)):
            suffix = Path(target).suffix.lower() if format is None else f".{format}"
            blocks = self._blocks(suffix)
            with WholeFile(target) as file:
                file.writelines(blocks)
            return
        if not _is_binary_file(target):
            raise ConfigError(
                "target must be a path or a binary file that is open for writing, got "
                f"{type(target).__name__}"
            )
        if format is None:
            raise ConfigError("format is needed to save speech to an open file, such as 'wav'")
        for block in self._blocks(f".{format}"):
            target.write(block)

    def _blocks(self, suffix: str) -> Iterable[bytes]:
        """Return the blocks of a file."""
        kind = FILE_FORMATS.get(suffix)
        wanted = None if kind is None else FILE_ENCODINGS[kind]
        # An error is raised before a file is made.
        if kind == "wav":
            return [wav.header(self.sample_rate_hz, 1, len(self.pcm)), bytes(self.pcm)]
        if kind == "pcm":
            return [bytes(self.pcm)]
        if wanted is self.encoding:
            return [self.data]
        if wanted is not None and not self.encoding.is_compressed:
            from inworld_sync.audio.file_encoder import encode_file

            return [encode_file(self.pcm, self.sample_rate_hz, wanted)]
        advice = (
            f"use AudioConfig({wanted.value!r}) for the request"
            if wanted
            else f"use one of {', '.join(FILE_FORMATS)}"
        )
        raise AudioError(
            f"{self.encoding.value} audio cannot be saved as a file with the suffix "
            f"{suffix!r}: {advice}"
        )

    def to_srt(self) -> str:
        """
        Write SubRip subtitles.

        Raises:
            ConfigError: The speech has no times, because ``timestamp_type`` was not requested.
        """
        from inworld_sync.models.subtitles import srt

        return srt([self._turn()])

    def to_vtt(self) -> str:
        """Write WebVTT subtitles; see :meth:`to_srt`."""
        from inworld_sync.models.subtitles import vtt

        return vtt([self._turn()])

    def _turn(self) -> Turn:
        timed = self.words or self.characters
        if not timed:
            raise ConfigError("subtitles need times: synthesize with timestamp_type='WORD'")
        texts = self.tokens or [each.text for each in timed]
        words = tuple(Word(each.text, round(each.start_ms), round(each.end_ms)) for each in timed)
        return Turn(text_of_tokens(texts) if self.words else "".join(texts), words)

    def iter_wav(self) -> Iterator[bytes]:
        """Iterate over the blocks of a WAV file, for a web response."""
        samples = self.pcm
        yield wav.header(self.sample_rate_hz, 1, len(samples))
        for start in range(0, len(samples), _WAV_BLOCK_BYTES):
            yield bytes(samples[start : start + _WAV_BLOCK_BYTES])

    def play(self, speaker: AudioSink | None = None, *, timeout: float | None = None) -> None:
        """
        Play the speech, and return after all of it was heard.

        Args:
            speaker: Plays the audio. None opens the default :class:`~inworld_sync.Speaker`. If
                there is no device or the extra ``audio`` is not installed, None opens a
                :class:`~inworld_sync.devices.ProgramSpeaker`.
            timeout: The limit in seconds for each of two waits: for room in the speaker, and for
                the end of the speech.

        Raises:
            ConfigError: *speaker* is not a sink.
            AudioError: The speaker has another sample rate, or the encoding is compressed.
            DeadlineExceeded: A wait took longer than *timeout* seconds.
            DeviceError: There is no speaker, or the speaker failed.
        """
        samples = self.pcm
        if speaker is None:
            from inworld_sync.devices.default import open_default_speaker

            with open_default_speaker(self.sample_rate_hz) as default:
                self.play(default, timeout=timeout)
            return
        require_sink(speaker)
        require_rate(speaker, self.sample_rate_hz)
        speaker.write(samples, timeout=timeout)
        speaker.drain(timeout=timeout)


class AnyUtterance(Protocol):
    """One utterance: over a WebSocket, over HTTP, or from the cache."""

    @property
    def config(self) -> ContextConfig:
        """The settings of the utterance."""
        ...

    @property
    def usage(self) -> TtsUsage:
        """The characters that the service has counted so far."""
        ...

    @property
    def state(self) -> str:
        """The state as text, for a repr."""
        ...

    @property
    def from_cache(self) -> bool:
        """Whether the audio is from the cache of the client."""
        ...

    @property
    def is_own_service(self) -> bool:
        """Whether the service of the client speaks, and not the service of a further endpoint."""
        ...

    @property
    def is_read_here(self) -> bool:
        """Whether the current thread is running the user's iterator of the text."""
        ...

    def stop(self) -> None:
        """Interrupt the utterance, and end an iteration that waits."""

    def chunks(self) -> Iterator[AudioChunk]:
        """Iterate over the audio."""
        ...


class SpeechStream:
    """
    The audio of one utterance, while the client receives it. A stream can be iterated once.

    The first step opens or reuses a connection. If the iteration ends without an error, it has
    yielded the whole utterance. Leaving the loop early, or :meth:`close`, also stops the synthesis.

    Thread safety: one thread iterates; any thread may call :meth:`close`.
    """

    def __init__(self, utterance: AnyUtterance) -> None:
        self._utterance = utterance
        # The generator has no reference to this stream, so the generator ends when the last
        # reference to the stream is dropped.
        self._chunks = utterance.chunks()
        # The calls of __next__() that are running. A second call raises an error.
        self._steps: deque[object] = deque()

    def __iter__(self) -> SpeechStream:
        return self

    def __next__(self) -> AudioChunk:
        if self._utterance.is_read_here:
            raise LocalProtocolError("the iterator of a text cannot wait for the audio of the text")
        step = object()
        try:
            self._steps.append(step)
            if self._steps[0] is not step:
                raise LocalProtocolError(
                    "another thread iterates over this stream: only one thread may do so at a time"
                )
            return next(self._chunks)
        finally:
            self._steps.remove(step)

    @property
    def config(self) -> ContextConfig:
        """The settings of the utterance."""
        return self._utterance.config

    @property
    def usage(self) -> TtsUsage:
        """The characters that the service has counted so far."""
        return self._utterance.usage

    @property
    def from_cache(self) -> bool:
        """Whether the audio is from the cache of the client; known after the first chunk."""
        return self._utterance.from_cache

    def close(self) -> None:
        """Stop the utterance, and end an iteration that waits. May be called twice."""
        self._utterance.stop()

    def __enter__(self) -> SpeechStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<SpeechStream {self.config.voice} {self._utterance.state}>"


def _is_binary_file(target: object) -> bool:
    return callable(getattr(target, "write", None)) and not isinstance(target, io.TextIOBase)


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
