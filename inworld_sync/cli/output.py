"""Where a command writes speech to."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import click

from inworld_sync.audio.wav import WavWriter
from inworld_sync.models.tts import AudioConfig, AudioEncoding

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["STANDARD_OUTPUT", "SpeechOutput", "encoding_of"]

# What a file's name asks the service for; other names are refused.
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
    Say what to ask the service for, so that it fits a file of this name.

    Raises:
        click.UsageError: Its ending is none that is known.
    """
    if output == STANDARD_OUTPUT:
        return AudioEncoding.PCM
    suffix = Path(output).suffix.lower()
    if suffix not in _ENCODINGS:
        raise click.UsageError(
            f"the name of the output must end in {', '.join(_ENCODINGS)}, got {output!r}"
        )
    return _ENCODINGS[suffix]


class _Sink(Protocol):
    def write(self, data: bytes, /) -> object: ...


class SpeechOutput:
    """
    A file, or with ``-`` standard output.

    It is opened with the first audio, so that a failure before it leaves an older file alone.
    Leaving the block makes the file complete, after an exception or Ctrl-C too.
    """

    def __init__(self, output: str, audio: AudioConfig) -> None:
        self._output = output
        self._audio = audio
        self._sink: _Sink | None = None
        self._open = ExitStack()

    def write(self, data: bytes) -> None:
        """Add audio in the encoding that was asked for."""
        if not data:
            return
        if self._sink is None:
            self._sink = self._opened()
        self._sink.write(data)

    def __enter__(self) -> SpeechOutput:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open.__exit__(kind, error, traceback)

    def _opened(self) -> _Sink:
        if self._output == STANDARD_OUTPUT:
            self._open.callback(sys.stdout.buffer.flush)
            return sys.stdout.buffer
        if Path(self._output).suffix.lower() == ".wav":
            return self._open.enter_context(WavWriter(self._output, self._audio.sample_rate_hz))
        return self._open.enter_context(Path(self._output).open("wb"))
