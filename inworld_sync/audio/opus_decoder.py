"""
Decodes Opus packets, and replaces the audio of lost packets.

A sender may add a copy of each packet, with less quality, to the next packet (in-band FEC, RFC
6716, section 2.1.7). PyAV decodes with libopus, but cannot decode these copies. So
:class:`LibopusDecoder` calls the libopus in PyAV's wheels itself. These functions of libopus have
not changed since version 1.0. Without this library, or with a libopus of an unknown version,
:class:`PyAvDecoder` is used, which conceals all lost packets.

This module needs PyAV. Thread safety: any thread may call :func:`new_decoder` and
:func:`can_recover`. Only one thread may use a decoder.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import logging
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Protocol

__all__ = ["RATE_HZ", "OpusDecoder", "can_recover", "new_decoder"]

RATE_HZ: Final = 48000
_SAMPLE_BYTES: Final = 2
_CHANNELS: Final = 1

# A packet has at most 120 ms of audio (RFC 6716, section 3.2.5).
_MOST_SAMPLES: Final = RATE_HZ * 120 // 1000

# libopus replaces lost audio in steps of 2.5 ms.
_STEP_SAMPLES: Final = RATE_HZ // 400

# libopus 2 may have other functions.
_KNOWN_VERSION: Final = re.compile(rb"libopus 1\.[0-9]")

# If a packet consists of one byte, and the last two bits of this byte are 0, the packet has one
# empty frame. An Opus decoder conceals such a frame (RFC 6716, sections 3.1 and 3.2.1). PyAV has no
# other way to request the concealment.
_ONE_FRAME: Final = 0xFC


class OpusDecoder(Protocol):
    """The decoder of one stream. Audio is 16-bit mono PCM of 48000 Hz."""

    def decode(self, packet: bytes) -> bytes:
        """
        Return the audio of a packet, which must not be empty.

        Raises:
            ValueError: The packet cannot be decoded.
        """
        ...

    def replace_lost(self, samples: int, following: bytes) -> bytes:
        """
        Return audio that replaces the lost packets between the last decoded packet and *following*.
        Then *following* must be decoded.

        Args:
            samples: The length of the lost audio, 0 to 120 ms.
            following: The packet after the lost packets, which may have a copy of the last of them.

        Raises:
            ValueError: *following* cannot be decoded.
        """
        ...


class LibopusDecoder:
    """
    Decodes with libopus. The last lost packet is recovered if the next packet has a copy. The other
    lost packets are concealed.

    Args:
        library: The library of :func:`load_libopus`.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        # Python owns the memory of the decoder, so that nothing has to be destroyed.
        self._state = ctypes.create_string_buffer(library.opus_decoder_get_size(_CHANNELS))
        self._pcm = ctypes.create_string_buffer(_MOST_SAMPLES * _SAMPLE_BYTES)
        status = library.opus_decoder_init(self._state, RATE_HZ, _CHANNELS)
        if status != 0:
            raise RuntimeError(f"libopus could not create a decoder: {self._text_of(status)}")

    def decode(self, packet: bytes) -> bytes:
        """Return the audio of a packet; see :class:`OpusDecoder`."""
        return self._call(packet, _MOST_SAMPLES, is_copy=False)

    def replace_lost(self, samples: int, following: bytes) -> bytes:
        """Return audio that replaces lost packets; see :class:`OpusDecoder`."""
        if samples == 0:
            return b""
        rounded = -(-samples // _STEP_SAMPLES) * _STEP_SAMPLES
        pcm = self._call(following, min(rounded, _MOST_SAMPLES), is_copy=True)
        return pcm[: samples * _SAMPLE_BYTES]

    def _call(self, packet: bytes, samples: int, *, is_copy: bool) -> bytes:
        count = self._library.opus_decode(
            self._state, packet, len(packet), self._pcm, samples, is_copy
        )
        if count < 0:
            raise ValueError(self._text_of(count))
        return ctypes.string_at(self._pcm, count * _SAMPLE_BYTES)

    def _text_of(self, status: int) -> str:
        text: bytes = self._library.opus_strerror(status)
        return text.decode("ascii", "replace")


class PyAvDecoder:
    """Decodes with PyAV. All lost packets are concealed."""

    def __init__(self) -> None:
        import av
        import av.error

        self._av = av
        self._decoder = av.CodecContext.create("libopus", "r")
        self._decoder.format, self._decoder.layout = "s16", "mono"
        self._decoder.sample_rate = RATE_HZ
        # The packet with which the decoder conceals a lost packet; empty before the first packet.
        self._empty_packet = b""

    def decode(self, packet: bytes) -> bytes:
        """Return the audio of a packet; see :class:`OpusDecoder`."""
        pcm = self._decode(packet)
        if not pcm:
            raise ValueError("the packet has no audio")
        self._empty_packet = bytes([packet[0] & _ONE_FRAME])
        return pcm

    def replace_lost(self, samples: int, following: bytes) -> bytes:  # noqa: ARG002
        """Return audio that replaces lost packets; see :class:`OpusDecoder`."""
        pcm = b""
        # If the concealment fails, the packet after the lost packets is still decoded.
        with contextlib.suppress(ValueError):
            while (
                self._empty_packet
                and len(pcm) < samples * _SAMPLE_BYTES
                and (more := self._decode(self._empty_packet))
            ):
                pcm += more
        return pcm[: samples * _SAMPLE_BYTES]

    def _decode(self, packet: bytes) -> bytes:
        try:
            frames = self._decoder.decode(self._av.Packet(packet))
        except self._av.error.FFmpegError as error:
            raise ValueError(str(error)) from error
        return b"".join(bytes(each.planes[0])[: each.samples * _SAMPLE_BYTES] for each in frames)


def new_decoder(logger: logging.Logger) -> OpusDecoder:
    """
    Create a decoder that recovers lost packets, or conceals lost packets if no libopus is found.

    Args:
        logger: Gets a message if no libopus is found.
    """
    library = load_libopus()
    if library is not None:
        return LibopusDecoder(library)
    logger.debug("no libopus was found in PyAV: lost packets of audio are concealed, not recovered")
    return PyAvDecoder()


def can_recover() -> bool:
    """Return whether the decoders of this process recover lost packets."""
    return load_libopus() is not None


@functools.cache
def load_libopus() -> ctypes.CDLL | None:
    """Return the libopus that PyAV uses; None if there is none, or if its version is unknown."""
    import av

    folder = Path(av.__file__).parent
    # The wheels for Linux and Windows have their libraries in av.libs, the wheels for macOS in
    # .dylibs. The import of PyAV has loaded these libraries, so no second copy is loaded.
    bundled = [*folder.parent.glob("av.libs/libopus[-.]*"), *folder.glob(".dylibs/libopus[-.]*")]
    # PyAV as a package of a Linux distribution uses the libopus of the distribution.
    system = ["libopus.so.0"] if sys.platform == "linux" else []
    return first_usable([*map(str, sorted(bundled)), *system])


def first_usable(paths: Iterable[str]) -> ctypes.CDLL | None:
    """Return the first library that is a known version of libopus; None if there is none."""
    for path in paths:
        try:
            library = ctypes.CDLL(path)
            _declare(library)
        except (OSError, AttributeError):  # not a library, or a library without these functions
            continue
        if _KNOWN_VERSION.match(library.opus_get_version_string() or b""):
            return library
    return None


def _declare(library: ctypes.CDLL) -> None:
    """Declare the functions of libopus. Source: opus_decoder.h and opus_defines.h."""
    library.opus_get_version_string.argtypes = []
    library.opus_get_version_string.restype = ctypes.c_char_p
    library.opus_strerror.argtypes = [ctypes.c_int]
    library.opus_strerror.restype = ctypes.c_char_p
    library.opus_decoder_get_size.argtypes = [ctypes.c_int]
    library.opus_decoder_get_size.restype = ctypes.c_int
    library.opus_decoder_init.argtypes = [ctypes.c_void_p, ctypes.c_int32, ctypes.c_int]
    library.opus_decoder_init.restype = ctypes.c_int
    library.opus_decode.argtypes = [
        ctypes.c_void_p,
        ctypes.c_char_p,
        ctypes.c_int32,
        ctypes.c_void_p,
        ctypes.c_int,
        ctypes.c_int,
    ]
    library.opus_decode.restype = ctypes.c_int
