"""
Decodes the audio of clients to 16-bit mono PCM at 16 kHz, piece by piece.

Raw samples are converted at once. Containers and compressed audio are decoded again from the start
each time they have grown by a quarter, and the part that was returned before is skipped. So no
incremental decoder is needed. All decoding together takes at most five times as long as decoding
the file once.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Final, Protocol

from inworld_sync.audio.files import is_audio_file, open_file
from inworld_sync.audio.g711 import decode_ulaw
from inworld_sync.audio.resample import Resampler
from inworld_sync.emulator.recognition.protocols import SAMPLE_RATE_HZ
from inworld_sync.emulator.status import INVALID_ARGUMENT, RESOURCE_EXHAUSTED, Malformed, Refused
from inworld_sync.emulator.stt.config import TranscribeConfig
from inworld_sync.errors import AudioError

__all__ = ["Decoder", "decoded_base64", "open_decoder"]

_MAX_FILE_BYTES: Final = 64 << 20
# This size is enough for the header and some frames of every format.
_MIN_FILE_BYTES: Final = 4096
_GROWTH: Final = 1.25
# This size is enough to recognize a container.
_HEAD_BYTES: Final = 12
_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")


class Decoder(Protocol):
    """Decodes one stream of bytes to PCM. Only one thread uses a decoder."""

    def feed(self, data: bytes) -> bytes:
        """Add bytes, and return the new PCM. Raise Refused if the audio has another format."""
        ...

    def flush(self) -> bytes:
        """Return the rest of the PCM so far. More bytes may follow. May raise Refused."""
        ...


def decoded_base64(content: object) -> bytes:
    """
    Read bytes in the JSON of gRPC, which are base64 in either alphabet, with or without padding.

    Raises:
        Malformed: The value is not base64.
    """
    if content is None:
        return b""
    if not isinstance(content, str):
        raise Malformed("content")
    try:
        text = content.encode("ascii").translate(_URL_SAFE).rstrip(b"=")
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise Malformed("content") from None


def open_decoder(config: TranscribeConfig) -> Decoder:
    """Make the decoder for one stream."""
    rate_hz, channels = config.sample_rate_hz, config.channels
    if config.encoding == "LINEAR16":
        return _Raw(rate_hz, channels, bytes)
    if config.encoding == "MULAW":
        return _Raw(rate_hz, channels, decode_ulaw)
    if config.encoding == "AUTO_DETECT":
        return _Detected(config)
    return _File(config.encoding)


class _Raw:
    """Samples without a container. The resampler keeps an incomplete sample for the next piece."""

    def __init__(self, rate_hz: int, channels: int, decode: Callable[[bytes], bytes]) -> None:
        self._resampler = Resampler(rate_hz, SAMPLE_RATE_HZ, channels)
        self._decode = decode

    def feed(self, data: bytes) -> bytes:
        return self._resampler.feed(self._decode(data))

    def flush(self) -> bytes:
        # A few milliseconds stay in the resampler, because audio may follow after a turn.
        return b""


class _File:
    """A container or compressed file, received in pieces."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._content = bytearray()
        self._next_try = _MIN_FILE_BYTES
        self._given_bytes = 0
        self._resampler: Resampler | None = None

    def feed(self, data: bytes) -> bytes:
        self._content += data
        if len(self._content) > _MAX_FILE_BYTES:
            raise Refused(
                RESOURCE_EXHAUSTED, f"compressed audio must not exceed {_MAX_FILE_BYTES} bytes"
            )
        if len(self._content) < self._next_try:
            return b""
        self._next_try = int(len(self._content) * _GROWTH)
        # The format may not be recognizable yet.
        return self._decoded(is_whole=False)

    def flush(self) -> bytes:
        return self._decoded(is_whole=True) if self._content else b""

    def _decoded(self, *, is_whole: bool) -> bytes:
        pcm = bytearray()
        try:
            file = open_file(memoryview(bytes(self._content)))
        except AudioError as error:
            if is_whole:
                raise Refused(
                    INVALID_ARGUMENT, f"the audio is not {self._encoding}, or is damaged"
                ) from error
            return b""
        try:
            for block in file:
                pcm += memoryview(block).cast("B")
        except AudioError:
            pass  # the last frame is not complete yet; the frames before it were read
        finally:
            file.close()
        if self._resampler is None:
            self._resampler = Resampler(file.sample_rate_hz, SAMPLE_RATE_HZ, file.channels)
        fresh = pcm[self._given_bytes :]
        self._given_bytes = max(self._given_bytes, len(pcm))
        return self._resampler.feed(fresh)


class _Detected:
    """
    Decides by the first bytes whether the audio is a file of a known format, or raw samples as
    configured.
    """

    def __init__(self, config: TranscribeConfig) -> None:
        self._config = config
        self._head = b""
        self._decoder: Decoder | None = None

    def feed(self, data: bytes) -> bytes:
        if self._decoder is None:
            self._head += data
            if len(self._head) < _HEAD_BYTES:
                return b""
            data = self._head
            if is_audio_file(self._head):
                self._decoder = _File("AUTO_DETECT")
            else:
                self._decoder = _Raw(self._config.sample_rate_hz, self._config.channels, bytes)
        return self._decoder.feed(data)

    def flush(self) -> bytes:
        return b"" if self._decoder is None else self._decoder.flush()
