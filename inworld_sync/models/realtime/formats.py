"""
Defines the audio formats of a realtime session, for both directions.

The service expects a JSON object. This module also accepts the older names (``pcm16``,
``g711_ulaw``), and converts them to objects.
Source: Inworld Realtime reference, ``audio.input.format``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, TypeAlias

import attrs

from inworld_sync.errors import ConfigError
from inworld_sync.models import checks

__all__ = ["AlawFormat", "AudioFormat", "Float32Format", "MulawFormat", "PcmFormat", "audio_format"]

DEFAULT_RATE_HZ = 24000

_PCM_RATES_HZ = (8000, 16000, 24000, 32000, 44100, 48000)


def _pcm_rate(_: object, field: attrs.Attribute[int], value: object) -> None:
    if type(value) is not int or value not in _PCM_RATES_HZ:
        rates = ", ".join(map(str, _PCM_RATES_HZ))
        raise ConfigError(f"{field.name} must be one of {rates}, got {value!r}")


@attrs.frozen
class PcmFormat:
    """
    16-bit little-endian mono PCM.

    Attributes:
        sample_rate_hz: The sample rate: 8000, 16000, 24000, 32000, 44100 or 48000.
    """

    type: ClassVar[str] = "audio/pcm"
    bytes_per_sample: ClassVar[int] = 2

    sample_rate_hz: int = attrs.field(default=DEFAULT_RATE_HZ, validator=_pcm_rate)


@attrs.frozen
class MulawFormat:
    """G.711 mu-law, 8000 Hz mono, one byte a sample, as in telephony."""

    type: ClassVar[str] = "audio/pcmu"
    bytes_per_sample: ClassVar[int] = 1
    sample_rate_hz: ClassVar[int] = 8000


@attrs.frozen
class AlawFormat:
    """G.711 A-law, 8000 Hz mono, one byte a sample, as in telephony."""

    type: ClassVar[str] = "audio/pcma"
    bytes_per_sample: ClassVar[int] = 1
    sample_rate_hz: ClassVar[int] = 8000


@attrs.frozen
class Float32Format:
    """
    32-bit little-endian float mono samples.

    Attributes:
        sample_rate_hz: The sample rate, 8000 to 48000.
    """

    type: ClassVar[str] = "audio/float32"
    bytes_per_sample: ClassVar[int] = 4

    sample_rate_hz: int = attrs.field(
        default=DEFAULT_RATE_HZ, validator=checks.whole(8000, 48000, " Hz")
    )


AudioFormat: TypeAlias = PcmFormat | MulawFormat | AlawFormat | Float32Format

# The class for each older and newer name of a format.
_KINDS: dict[str, type[AudioFormat]] = {
    "pcm16": PcmFormat,
    "g711_ulaw": MulawFormat,
    "g711_alaw": AlawFormat,
    "float32": Float32Format,
    **{kind.type: kind for kind in (PcmFormat, MulawFormat, AlawFormat, Float32Format)},
}


def audio_format(value: AudioFormat | str | Mapping[str, object] | None) -> AudioFormat | None:
    """
    Return the format object for a format in any accepted form.

    Args:
        value: A format, its name, the service's object, or None.

    Raises:
        ConfigError: *value* is not a format of the service.

    >>> audio_format("g711_ulaw")
    MulawFormat()
    >>> audio_format({"type": "audio/pcm", "rate": 16000})
    PcmFormat(sample_rate_hz=16000)
    """
    if value is None or isinstance(value, (PcmFormat, MulawFormat, AlawFormat, Float32Format)):
        return value
    if isinstance(value, str):
        if value not in _KINDS:
            raise ConfigError(f"a format must be one of {', '.join(_KINDS)}, got {value!r}")
        return _KINDS[value]()
    if isinstance(value, Mapping):
        return _from_object(value)
    raise ConfigError(
        "a format must be an object such as PcmFormat(24000) or a name such as 'pcm16', "
        f"got {type(value).__name__}"
    )


def _from_object(value: Mapping[str, object]) -> AudioFormat:
    name = value.get("type")
    if not isinstance(name, str) or name not in _KINDS:
        raise ConfigError(
            "a format's type must be one of audio/pcm, audio/pcmu, audio/pcma, audio/float32, "
            f"got {name!r}"
        )
    kind = _KINDS[name]
    if name != kind.type:
        raise ConfigError(
            f"a format's type must be {kind.type}, got {name!r}: the service accepts the older"
            " name inside an object and then sends no audio"
        )
    sample_rate_hz = value.get("rate", DEFAULT_RATE_HZ)
    if isinstance(sample_rate_hz, bool) or not isinstance(sample_rate_hz, int):
        raise ConfigError(f"a format's rate must be an integer in Hz, got {sample_rate_hz!r}")
    return kind(sample_rate_hz) if issubclass(kind, (PcmFormat, Float32Format)) else kind()
