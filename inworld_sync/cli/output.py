"""The file, or standard output, to which a command writes speech."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import attrs
import click

from inworld_sync.audio.wav import WavWriter
from inworld_sync.audio.whole_file import WholeFile
from inworld_sync.models.tts import AudioConfig, AudioEncoding, WordTime
from inworld_sync.sessions.tts.speech import AudioChunk

__all__ = ["STANDARD_OUTPUT", "SpeechOutput", "encoding_of"]

# The encoding to request, by the ending of the file name.
_ENCODINGS = {
    ".wav": AudioEncoding.PCM,
    ".pcm": AudioEncoding.PCM,
    ".raw": AudioEncoding.PCM,
    ".mp3": AudioEncoding.MP3,
    ".ogg": AudioEncoding.OGG_OPUS,
    ".opus": AudioEncoding.OGG_OPUS,
    ".flac": AudioEncoding.FLAC,
}

STANDARD_OUTPUT = "-"


def encoding_of(output: str) -> AudioEncoding:
    """
    Return the encoding to request for a file of this name.

    Raises:
        click.UsageError: The ending is unknown.
    """
    if output == STANDARD_OUTPUT:
        return AudioEncoding.PCM
    suffix = Path(output).suffix.lower()
    if suffix not in _ENCODINGS:
        raise click.UsageError(
            f"--output must end in {', '.join(_ENCODINGS)} or be -, got {output!r}"
        )
    return _ENCODINGS[suffix]


class SpeechOutput(ExitStack):
    """
    A file, or with ``-`` standard output, and statistics of the speech written to it.

    The first chunk opens the file. It replaces an existing file when the ``with`` block ends.
    After an exception or Ctrl-C, the existing file is unchanged, and a message names the partial
    file that has the speech so far.

    Attributes:
        first_audio_ms: Time from the creation of this object to the first audio.
        size_bytes: Size of all audio written.
        words: All words with times.
    """

    def __init__(self, output: str, audio: AudioConfig) -> None:
        super().__init__()
        self._output = output
        self._audio = audio
        self._file: WholeFile | WavWriter | None = None
        self._write: Callable[[bytes], object] | None = None
        self._started = time.perf_counter()
        self.first_audio_ms = 0.0
        self.size_bytes = 0
        self.words: list[WordTime] = []

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            super().__exit__(kind, error, trace)
        finally:
            if self.partial_path is not None:
                message = f"the first {self.length} of speech are in {self.partial_path}"
                click.echo(f"inworld-sync: {message}", err=True)

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
        """The partial file that has the speech, while the file is incomplete."""
        return None if self._file is None else self._file.partial_path

    @property
    def length(self) -> str:
        """The length of the speech for a message."""
        duration_ms = self.duration_ms
        return f"{duration_ms / 1000.0:.2f} s" if duration_ms else f"{self.size_bytes} bytes"

    @property
    def elapsed_ms(self) -> float:
        """Time since this object was created."""
        return (time.perf_counter() - self._started) * 1000.0

    @property
    def duration_ms(self) -> float | None:
        """Length of the speech; None for a compressed encoding."""
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
        if self._output == STANDARD_OUTPUT:
            self.callback(sys.stdout.buffer.flush)
            return sys.stdout.buffer.write
        if Path(self._output).suffix.lower() == ".wav":
            writer = WavWriter(self._output, self._audio.sample_rate_hz)
            self._file = self.enter_context(writer)
            return writer.write
        self._file = WholeFile(self._output, keeps_partial=True)
        return self.enter_context(self._file).write
