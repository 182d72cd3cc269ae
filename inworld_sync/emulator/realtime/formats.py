"""
Reads the JSON of a session's audio formats, and converts samples.

Source: Inworld Realtime reference, ``audio.input.format``. The service accepts a legacy name inside
an object, but produces no audio in such a format.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping

import attrs

from inworld_sync.audio.g711 import decode_alaw, decode_ulaw
from inworld_sync.audio.pcm import f32_from_s16, s16_from_f32
from inworld_sync.audio.resample import Resampler
from inworld_sync.emulator.realtime.events import InvalidRequest
from inworld_sync.emulator.recognition.protocols import SAMPLE_RATE_HZ

__all__ = ["TRACK_FORMAT", "AudioFormat", "SampleReader", "decode_base64", "read_format"]

_LEGACY = {
    "pcm16": "audio/pcm",
    "g711_ulaw": "audio/pcmu",
    "g711_alaw": "audio/pcma",
    "float32": "audio/float32",
}
_TYPES = tuple(_LEGACY.values())
_PCM_RATES_HZ = (8000, 16000, 24000, 32000, 44100, 48000)
_DEFAULT_HZ = 24000
_G711_HZ = 8000
_DECODERS: Mapping[str, Callable[[bytes], bytes]] = {
    "audio/pcmu": decode_ulaw,
    "audio/pcma": decode_alaw,
    "audio/float32": s16_from_f32,
}
_G711_TYPES = ("audio/pcmu", "audio/pcma")
_SAMPLE_BYTES = {"audio/pcm": 2, "audio/pcmu": 1, "audio/pcma": 1, "audio/float32": 4}


@attrs.frozen
class AudioFormat:
    """
    A format of audio.

    Attributes:
        type: The type, such as ``audio/pcm``.
        sample_rate_hz: Samples per second.
    """

    type: str = "audio/pcm"
    sample_rate_hz: int = _DEFAULT_HZ

    @property
    def is_known(self) -> bool:
        """Whether the service produces audio in this format."""
        return self.type in _TYPES

    @property
    def is_g711(self) -> bool:
        """Whether the format is one of the two formats of telephony."""
        return self.type in _G711_TYPES

    @property
    def speech_encoding(self) -> str:
        """The encoding to synthesize. 32-bit floats are converted from PCM."""
        return {"audio/pcmu": "MULAW", "audio/pcma": "ALAW"}.get(self.type, "PCM")

    def describe(self) -> dict[str, object]:
        """Return the JSON object of the service. A fixed rate is left out."""
        if self.is_g711 or not self.is_known:
            return {"type": self.type}
        return {"type": self.type, "rate": self.sample_rate_hz}

    def from_speech(self, audio: bytes) -> bytes:
        """Convert synthesized audio to this format."""
        return f32_from_s16(audio) if self.type == "audio/float32" else audio


# The format of the samples of a WebRTC track, after decoding and before encoding.
TRACK_FORMAT = AudioFormat("audio/pcm", 48000)


class SampleReader:
    """
    Converts a client's audio to the recognizer's PCM. A sample may be split between two calls.

    Thread safety: one thread at a time uses this object.
    """

    def __init__(self, audio_format: AudioFormat) -> None:
        self._type = audio_format.type
        self._rest = b""
        self._resampler = Resampler(audio_format.sample_rate_hz, SAMPLE_RATE_HZ)

    def feed(self, data: bytes) -> bytes:
        """Add bytes; return the new PCM."""
        size = _SAMPLE_BYTES.get(self._type)
        if size is None:
            return b""
        data = self._rest + data
        whole = len(data) // size * size
        self._rest = data[whole:]
        decode = _DECODERS.get(self._type, bytes)
        return self._resampler.feed(decode(data[:whole]))

    def finish(self) -> bytes:
        """Return the remaining PCM. No bytes can be added afterwards."""
        return self._resampler.finish()


def read_format(value: object, param: str) -> AudioFormat:
    """
    Read a format, which is an object, a legacy name or a MIME type.

    Raises:
        InvalidRequest: The value is not a format, or the format does not support the rate.
    """
    if isinstance(value, str):
        name = _LEGACY.get(value, value)
        if name not in _TYPES:
            raise _bad(value, param)
        return AudioFormat(name, _G711_HZ if name in _G711_TYPES else _DEFAULT_HZ)
    if not isinstance(value, Mapping) or not isinstance(value.get("type"), str):
        raise InvalidRequest.wrong_type(param, "an object with a type")
    name, rate = value["type"], value.get("rate")
    if name in _G711_TYPES:
        if rate not in (None, _G711_HZ):
            raise _bad(rate, f"{param}.rate")
        return AudioFormat(name, _G711_HZ)
    if name not in _TYPES and name not in _LEGACY:
        raise _bad(name, f"{param}.type")
    if rate is None:
        rate = _DEFAULT_HZ
    if isinstance(rate, bool) or rate not in _PCM_RATES_HZ:
        raise _bad(rate, f"{param}.rate")
    return AudioFormat(name, int(rate))


def decode_base64(value: object, param: str) -> bytes:
    """
    Read base64.

    Raises:
        InvalidRequest: The value is not base64.
    """
    if not isinstance(value, str):
        raise InvalidRequest.wrong_type(param, "a base64 string")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest("invalid_value", f"{param} is not valid base64", param) from None


def _bad(value: object, param: str) -> InvalidRequest:
    shown = value if isinstance(value, (str, int, float)) else type(value).__name__
    return InvalidRequest("invalid_value", f"Invalid value: {shown!r} for {param}", param)
