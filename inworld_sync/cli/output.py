"""Provides the speaker, the file or standard output to which a command writes speech."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import attrs
import click

from inworld_sync.audio.wav import WavWriter
from inworld_sync.audio.whole_file import WholeFile
from inworld_sync.cli.common import print_message
from inworld_sync.devices.default import open_default_speaker
from inworld_sync.models.devices import AudioSink
from inworld_sync.models.tts import (
    FILE_ENCODINGS,
    FILE_FORMATS,
    AudioConfig,
    AudioEncoding,
    WordTime,
)
from inworld_sync.sessions.tts.speech import AudioChunk

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["STANDARD_OUTPUT", "SpeechOutput", "encoding_of"]

STANDARD_OUTPUT = "-"


def encoding_of(output: str | None, file_format: str | None) -> AudioEncoding:
    """
    Return the encoding to request.

    Args:
        output: The name of the file, ``-`` for standard output, or None for the speaker.
        file_format: A key of ``FILE_ENCODINGS``. With None, the ending of the name decides.

    Raises:
        click.UsageError: The ending is unknown, or *file_format* contradicts the ending, or
            *file_format* has no effect.
    """
    if output is None:
        if file_format is not None:
            raise click.UsageError("--format needs --output")
        return AudioEncoding.PCM
    if output == STANDARD_OUTPUT:
        if sys.stdout.isatty():
            raise click.UsageError(
                "-o - does not write audio to a terminal: redirect standard output, or use -o FILE"
            )
        return FILE_ENCODINGS[file_format or "pcm"]
    suffix = Path(output).suffix.lower()
    if suffix not in FILE_FORMATS:
        if file_format is None:
            raise click.UsageError(
                f"--output must end in {', '.join(FILE_FORMATS)}, or be -, got {output!r}: "
                "for another ending, pass --format"
            )
        return FILE_ENCODINGS[file_format]
    if file_format not in (None, FILE_FORMATS[suffix]):
        raise click.UsageError(f"--format {file_format} cannot be combined with -o {output!r}")
    return FILE_ENCODINGS[FILE_FORMATS[suffix]]


class SpeechOutput(ExitStack):
    """
    Writes speech to a target, and counts the speech that was written.

    The target *output* is the name of a file, ``-`` for standard output, or None for the speaker.
    The speaker plays all of the speech before the ``with`` block ends.

    The first chunk opens the file. The new file replaces an existing file when the ``with`` block
    ends. After an exception or Ctrl-C, the existing file is unchanged, and a message names the
    partial file that has the speech so far.

    Attributes:
        first_audio_ms: The time from the creation of this object to the first chunk of audio.
        size_bytes: The size of all audio that was written.
        words: All words of the speech, with their times.
    """

    def __init__(
        self, output: str | None, audio: AudioConfig, file_format: str | None = None
    ) -> None:
        super().__init__()
        self._output = output
        self._audio = audio
        suffix = Path(output or "").suffix.lower()
        self._is_wav = (file_format or FILE_FORMATS.get(suffix)) == "wav"
        self._speaker: AudioSink | None = None
        self._file: WholeFile | WavWriter | None = None
        self._write: Callable[[bytes], object] | None = None
        self._started = time.perf_counter()
        self.first_audio_ms = 0.0
        self.size_bytes = 0
        self.words: list[WordTime] = []

    def __enter__(self) -> Self:
        super().__enter__()
        if self._output is None:
            # The speaker is opened before the request, so that nothing is synthesized if there is
            # no speaker.
            self._speaker = speaker = open_default_speaker(self._audio.sample_rate_hz)
            self.callback(speaker.close)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self._speaker is not None and kind is None:
                self._speaker.drain()
        finally:
            self._end(kind, error, trace)

    def _end(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            super().__exit__(kind, error, trace)
        finally:
            if self.partial_path is not None:
                print_message(f"the first {self.length} of speech are in {self.partial_path}")

    def write(self, chunk: AudioChunk) -> None:
        """Write a chunk, which has the requested encoding."""
        self.words += chunk.words
        if not chunk.data:
            return
        if self._write is None:
            self.first_audio_ms = self.elapsed_ms
            self._write = self._opened()
        self._write(chunk.data)
        self.size_bytes += len(chunk.data)

    @property
    def partial_path(self) -> Path | None:
        """The path of the partial file; None if the speech is not in a partial file."""
        return None if self._file is None else self._file.partial_path

    @property
    def length(self) -> str:
        """The length of the speech as text, in seconds or in bytes."""
        duration_ms = self.duration_ms
        return f"{duration_ms / 1000.0:.2f} s" if duration_ms else f"{self.size_bytes} bytes"

    @property
    def elapsed_ms(self) -> float:
        """The time since this object was created."""
        return (time.perf_counter() - self._started) * 1000.0

    @property
    def duration_ms(self) -> float | None:
        """The length of the speech; None for a compressed encoding."""
        sample_bytes = self._audio.encoding.bytes_per_sample
        if not sample_bytes:
            return None
        return self.size_bytes / sample_bytes * 1000.0 / self._audio.sample_rate_hz

    def facts(self) -> dict[str, object]:
        """Return the statistics as JSON values."""
        return {
            "first_audio_ms": self.first_audio_ms,
            "duration_ms": self.duration_ms,
            "words": [attrs.asdict(word) for word in self.words],
        }

    def _opened(self) -> Callable[[bytes], object]:
        if self._speaker is not None:
            return self._speaker.write
        if self._output is None or self._output == STANDARD_OUTPUT:
            self.callback(sys.stdout.buffer.flush)
            if not self._is_wav:
                return sys.stdout.buffer.write
            return self.enter_context(
                WavWriter(sys.stdout.buffer, self._audio.sample_rate_hz)
            ).write
        if self._is_wav:
            writer = WavWriter(self._output, self._audio.sample_rate_hz)
            self._file = self.enter_context(writer)
            return writer.write
        self._file = WholeFile(self._output, keeps_partial=True)
        return self.enter_context(self._file).write
