"""Defines the previews of designed voices."""

from __future__ import annotations

import os

import attrs

from inworld_sync.audio.source import open_source
from inworld_sync.audio.whole_file import WholeFile
from inworld_sync.models.devices import AudioSink
from inworld_sync.models.tts import AudioEncoding
from inworld_sync.sessions.tts.speech import Speech

__all__ = ["VoicePreview"]


@attrs.frozen
class VoicePreview:
    """
    A designed voice that is not published yet.

    Attributes:
        id: The id of the voice, for ``iw.voices.publish``.
        text: The text that is spoken.
        audio: An audio file, as the service sent it; empty if the service sent no audio.
        language: The language of the voice, as the service spells it, such as ``EN_US``.
    """

    id: str
    text: str = ""
    audio: bytes = attrs.field(default=b"", repr=lambda audio: f"<{len(audio)} bytes>")
    language: str = ""

    @property
    def suffix(self) -> str:
        """The usual suffix for a file of :attr:`audio`: ``.wav`` or ``.mp3``."""
        return ".wav" if self.audio.startswith(b"RIFF") else ".mp3"

    def speech(self) -> Speech:
        """
        Decode the audio to 16-bit mono samples.

        Raises:
            AudioError: There is no audio, or no installed library can decode MP3.
        """
        source = open_source(self.audio)
        try:
            return Speech(b"".join(source), AudioEncoding.PCM, source.sample_rate_hz)
        finally:
            source.close()

    def save(self, path: str | os.PathLike[str]) -> None:
        """
        Write the audio as the service sent it; see :attr:`suffix`.

        Raises:
            OSError: The file cannot be written.
        """
        with WholeFile(path) as file:
            file.write(self.audio)

    def play(self, speaker: AudioSink | None = None, *, timeout: float | None = None) -> None:
        """Play the audio, and return after all of it was heard; see :meth:`Speech.play`."""
        self.speech().play(speaker, timeout=timeout)
