"""Makes speech from one recording, for load tests. Only the first text is synthesized."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from inworld_sync.emulator.synthesis import SpokenSentence, Synthesizer
from inworld_sync.emulator.synthesis.alignment import spread_words, written_words
from inworld_sync.emulator.synthesis.sentences import sentences
from inworld_sync.emulator.voices import EmulatedVoice

__all__ = ["PreparedSpeech"]

_TEXT = (
    "This is prepared speech. The emulator repeats it for every text, so that many sessions can be "
    "tested on one machine. The words that you hear are not the words that were sent."
)
_CHARACTERS_PER_SECOND = 15


class PreparedSpeech:
    """
    Repeats one recording for as long as each text needs. All voices sound the same.

    The times of words are estimated, and there are no phonemes.

    Args:
        synthesizer: The synthesizer that speaks the recording, once.

    Locks: ``_lock`` is held while the recording is made.

    Thread safety: any thread may use this object.
    """

    def __init__(self, synthesizer: Synthesizer) -> None:
        self.sample_rate_hz = synthesizer.sample_rate_hz
        self.languages = getattr(synthesizer, "languages", None)
        self._synthesizer = synthesizer
        self._lock = threading.Lock()
        self._recording = b""

    def speak(
        self,
        text: str,
        voice: EmulatedVoice,
        *,
        speaking_rate: float = 1.0,
        normalize: bool = True,  # noqa: ARG002 - the text is not read
    ) -> Iterator[SpokenSentence]:
        """Yield a part of the recording for each sentence of a text."""
        recording = self._recorded(voice)
        at = 0
        for start, end in sentences(text):
            seconds = (end - start) / _CHARACTERS_PER_SECOND / speaking_rate / voice.speed
            size = 2 * max(1, round(seconds * self.sample_rate_hz))
            pcm = recording[at : at + size]
            while len(pcm) < size:
                pcm += recording[: size - len(pcm)]
            at = (at + size) % len(recording)
            yield SpokenSentence(pcm, spread_words(written_words(text, start, end), size // 2))

    def _recorded(self, voice: EmulatedVoice) -> bytes:
        with self._lock:
            if not self._recording:
                spoken = self._synthesizer.speak(_TEXT, voice)
                self._recording = b"".join(sentence.pcm for sentence in spoken)
            return self._recording
