"""
Encodes PCM in the format that the client requested, piece by piece.

One encoder makes the audio of one flush.
Source for the RIFF headers of LINEAR16: captures of the service. The first chunk of each flush
begins with a header for that chunk alone. The last chunk has five samples and begins with such a
header too. The chunks between these two chunks have no header.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from inworld_sync.audio import wav
from inworld_sync.audio.g711 import encode_alaw, encode_ulaw
from inworld_sync.errors import ConfigError

__all__ = ["Encoder", "encoded_rate_hz", "open_encoder"]

_LAST_CHUNK_SAMPLES = 5
_OPUS_RATES_HZ = (8000, 12000, 16000, 24000, 48000)
# libsndfile maps its compression level to an Opus bit rate in this range.
_OPUS_MIN_BIT_RATE, _OPUS_MAX_BIT_RATE = 6000, 256000


class Encoder(Protocol):
    """Encodes 16-bit little-endian mono PCM as one stream of bytes. One thread uses an encoder."""

    def feed(self, pcm: bytes) -> bytes:
        """Encode samples. Return the bytes that can be sent now, if any."""
        ...

    def finish(self) -> bytes:
        """Return the remaining bytes. The encoder cannot be used afterwards."""
        ...


def encoded_rate_hz(encoding: str, wanted_hz: int) -> int:
    """Return the sample rate to use. Opus supports five rates; other encodings support all."""
    if encoding != "OGG_OPUS":
        return wanted_hz
    return next((rate for rate in _OPUS_RATES_HZ if rate >= wanted_hz), _OPUS_RATES_HZ[-1])


def open_encoder(
    encoding: str, sample_rate_hz: int, bit_rate: int, *, whole: bool = False
) -> Encoder:
    """
    Make the encoder for one flush.

    Args:
        encoding: The encoding, by its name in the service.
        sample_rate_hz: The rate of the PCM; see ``encoded_rate_hz``.
        bit_rate: The bits per second, for MP3 and OGG_OPUS.
        whole: Whether to make one file, instead of chunks that are sent while the speech is
            generated.

    Raises:
        ConfigError: The library for this encoding is not installed.
    """
    makers: dict[str, Callable[[], Encoder]] = {
        "LINEAR16": partial(_WholeWav if whole else _Linear16, sample_rate_hz),
        "WAV": partial(_WholeWav if whole else _StreamedWav, sample_rate_hz),
        "MULAW": partial(_PerSample, encode_ulaw),
        "ALAW": partial(_PerSample, encode_alaw),
        "MP3": partial(_Mp3, sample_rate_hz, bit_rate),
        "OGG_OPUS": partial(_SoundFile, sample_rate_hz, "OGG", "OPUS", bit_rate=bit_rate),
        "FLAC": partial(_Flac, sample_rate_hz, "FLAC", "PCM_16"),
    }
    return makers.get(encoding, partial(_PerSample, bytes))()


class _PerSample:
    """Converts each sample by itself, without a container."""

    def __init__(self, convert: Callable[[bytes], bytes]) -> None:
        self._convert = convert

    def feed(self, pcm: bytes) -> bytes:
        return self._convert(pcm)

    def finish(self) -> bytes:
        return b""


class _Linear16:
    """LINEAR16 with the headers of the service. Five samples are kept for the last chunk."""

    def __init__(self, sample_rate_hz: int) -> None:
        self._rate = sample_rate_hz
        self._held = b""
        self._is_first = True

    def feed(self, pcm: bytes) -> bytes:
        data = self._held + pcm
        keep = min(len(data), 2 * _LAST_CHUNK_SAMPLES)
        data, self._held = data[: len(data) - keep], data[len(data) - keep :]
        if not data or not self._is_first:
            return data
        self._is_first = False
        return wav.header(self._rate, data_bytes=len(data)) + data

    def finish(self) -> bytes:
        header = wav.header(self._rate, data_bytes=len(self._held)) if self._held else b""
        return header + self._held


class _StreamedWav:
    """WAV with one header, whose length means "until the end of the stream"."""

    def __init__(self, sample_rate_hz: int) -> None:
        self._header = wav.header(sample_rate_hz)

    def feed(self, pcm: bytes) -> bytes:
        header, self._header = self._header, b""
        return header + pcm

    def finish(self) -> bytes:
        return b""


class _WholeWav:
    """WAV as one file, with its length in the header."""

    def __init__(self, sample_rate_hz: int) -> None:
        self._rate = sample_rate_hz
        self._pcm = bytearray()

    def feed(self, pcm: bytes) -> bytes:
        self._pcm += pcm
        return b""

    def finish(self) -> bytes:
        return wav.header(self._rate, data_bytes=len(self._pcm)) + self._pcm


class _Mp3:
    def __init__(self, sample_rate_hz: int, bit_rate: int) -> None:
        try:
            import lameenc
        except ImportError as error:
            raise _missing("MP3", "lameenc") from error
        self._has_samples = False
        self._encoder = lameenc.Encoder()
        self._encoder.silence()
        self._encoder.set_channels(1)
        self._encoder.set_in_sample_rate(sample_rate_hz)
        self._encoder.set_out_sample_rate(sample_rate_hz)
        self._encoder.set_bit_rate(max(8, round(bit_rate / 1000)))
        self._encoder.set_quality(7)  # the fastest; speech sounds the same

    def feed(self, pcm: bytes) -> bytes:
        if not pcm:
            return b""
        self._has_samples = True
        return bytes(self._encoder.encode(pcm))

    def finish(self) -> bytes:
        # The library refuses to end an encoding that has not begun.
        return bytes(self._encoder.flush()) if self._has_samples else b""


class _SoundFile:
    """A format of libsndfile that is written sequentially."""

    def __init__(
        self, sample_rate_hz: int, container: str, codec: str, *, bit_rate: int | None = None
    ) -> None:
        try:
            import soundfile
        except ImportError as error:
            raise _missing(f"{container} {codec}", "soundfile") from error
        options: dict[str, Any] = {}
        if bit_rate is not None:
            span = _OPUS_MAX_BIT_RATE - _OPUS_MIN_BIT_RATE
            level = 1 - (bit_rate - _OPUS_MIN_BIT_RATE) / span
            options["compression_level"] = min(1.0, max(0.0, level))
        self._sink = io.BytesIO()
        self._file = soundfile.SoundFile(
            self._sink,
            "w",
            samplerate=sample_rate_hz,
            channels=1,
            format=container,
            subtype=codec,
            **options,
        )
        self._taken = 0

    def feed(self, pcm: bytes) -> bytes:
        self._file.buffer_write(pcm, dtype="int16")
        return self._new()

    def finish(self) -> bytes:
        self._file.close()
        return self._new()

    def _new(self) -> bytes:
        data = self._sink.getvalue()[self._taken :]
        self._taken += len(data)
        return data


class _Flac(_SoundFile):
    """FLAC, which is sent only at the end, because closing the file rewrites its header."""

    def _new(self) -> bytes:
        return super()._new() if self._file.closed else b""


def _missing(encoding: str, package: str) -> ConfigError:
    return ConfigError(
        f"{encoding} needs {package}, part of the extra 'local': pip install 'inworld-sync[local]'"
    )
