"""
Adapts the engine eSpeak NG, from the package espeakng-loader.

eSpeak NG is under the GPL, so the extra ``local`` does not install this engine, and the emulator
tries this engine last.

Threads: the library keeps its state in globals, so one sentence is synthesized at a time. The
callback of the library runs on the calling thread.
"""

from __future__ import annotations

import ctypes
import importlib
from pathlib import Path

from inworld_sync.emulator.synthesis.sentences import SentenceSynthesizer
from inworld_sync.emulator.voices import EmulatedVoice

__all__ = ["EspeakSynthesizer"]

# Source: speak_lib.h of eSpeak NG 1.52.
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_DONT_EXIT = 0x8000
_POSITION_CHARACTER = 1
_CHARACTERS_UTF8 = 1
_RATE, _PITCH = 1, 3
_WORDS_PER_MINUTE = 175
_MIDDLE_PITCH = 50

_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


class EspeakSynthesizer(SentenceSynthesizer):
    """
    Speaks with eSpeak's American voice at different pitches.

    Raises:
        ImportError: espeakng-loader is not installed, or its library does not start.

    Attributes:
        sample_rate_hz: The rate of the library, 22050.

    Thread safety: any thread may use this object. One sentence is synthesized at a time.
    """

    def __init__(self) -> None:
        super().__init__()
        loader = importlib.import_module("espeakng_loader")
        self._library = ctypes.CDLL(loader.get_library_path())
        data = str(Path(loader.get_data_path()).parent).encode()
        rate_hz: int = self._library.espeak_Initialize(
            _AUDIO_OUTPUT_SYNCHRONOUS, 0, data, _INITIALIZE_DONT_EXIT
        )
        if rate_hz <= 0:
            raise ImportError("eSpeak NG does not start", name="espeakng_loader")
        self.sample_rate_hz = rate_hz
        self._parts: list[bytes] = []
        # The library keeps the pointer, so the object must live as long as the library.
        self._callback = _CALLBACK(self._receive)
        self._library.espeak_SetSynthCallback(self._callback)
        self._library.espeak_SetVoiceByName(b"en-us")

    def _say(self, sentence: str, voice: EmulatedVoice, speaking_rate: float) -> bytes:
        self._parts = []
        words_per_minute = round(_WORDS_PER_MINUTE * speaking_rate * voice.speed)
        pitch = min(99, round(_MIDDLE_PITCH * voice.pitch))
        self._library.espeak_SetParameter(_RATE, words_per_minute, 0)
        self._library.espeak_SetParameter(_PITCH, pitch, 0)
        data = sentence.encode(errors="replace")
        size = ctypes.c_size_t(len(data) + 1)
        self._library.espeak_Synth(
            data, size, 0, _POSITION_CHARACTER, 0, _CHARACTERS_UTF8, None, None
        )
        return b"".join(self._parts)

    def _receive(self, samples: object, count: int, _: object) -> int:
        """Store the samples of the library. Return 0, because 1 would stop the synthesis."""
        if count > 0:
            self._parts.append(ctypes.string_at(samples, count * 2))  # type: ignore[arg-type]
        return 0
