r"""
Amplifies and adds 16-bit samples. Results beyond full scale are clipped.

Samples are little-endian and interleaved. Every function accepts bytes or an array of samples, and
any thread may call every function at any time. The functions whose names end in ``_into`` write to
the start of *out*, a writable buffer, and return the number of bytes written. *out* may be an input
itself. A partial overlap of *out* and an input is not allowed.

>>> gain(b"\x00\x40\x01\x00", 0.5).hex(" ", 2)  # 16384 and 1
'0020 0000'
>>> mix(b"\xff\x7f\x01\x00", b"\x01\x00\x01\x00").hex(" ", 2)
'ff7f 0200'
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inworld_sync._native import lib
from inworld_sync.audio._arguments import require_number
from inworld_sync.audio._memory import cut_sample, readable_samples, too_small, writable
from inworld_sync.audio.pcm import SAMPLE_BYTES
from inworld_sync.errors import AudioError

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from inworld_sync._native._core import CData
    from inworld_sync.audio.samples import AudioData

__all__ = ["gain", "gain_into", "mix", "mix_into"]


def gain(data: AudioData, factor: float) -> bytes:
    """
    Multiply samples by a factor.

    The product is computed in 32-bit floats and rounded to the nearest integer; halves are rounded
    to even. So the result has the same bits with every instruction set.

    Args:
        data: 16-bit samples.
        factor: 1.0 changes nothing, 0.5 is half the amplitude (-6 dB), and a negative factor
            inverts the waveform. ``10 ** (decibels / 20)`` converts decibels to a factor.

    Raises:
        AudioError: The byte count is odd, so the last sample is incomplete.
        ConfigError: *factor* is not a finite number.
    """
    src = readable_samples(data, "s16")
    out = bytearray(len(src))
    _gain(src, factor, out)
    return bytes(out)


def gain_into(data: AudioData, factor: float, out: Buffer) -> int:
    """
    Multiply samples by a factor as :func:`gain` does, but write the result to *out*.

    Raises:
        AudioError: The byte count is odd, or *out* is too small; nothing was written.
        ConfigError: *factor* is not a finite number; nothing was written.
    """
    return _gain(readable_samples(data, "s16"), factor, out)


def _gain(src: bytes | CData, factor: float, out: Buffer) -> int:
    require_number("factor", factor)
    dst = writable(out)
    size_bytes = len(src)
    error = _refusal(size_bytes, len(dst))
    if error:
        del src, dst  # a traceback would keep both buffers locked
        raise error
    lib.iw_pcm_gain_s16(dst, src, size_bytes // SAMPLE_BYTES, factor)
    return size_bytes


def mix(first: AudioData, second: AudioData) -> bytes:
    """
    Add the samples of two streams.

    Args:
        first: 16-bit samples.
        second: The same number of 16-bit samples.

    Raises:
        AudioError: The byte counts differ, or are odd.
    """
    src = readable_samples(first, "s16")
    out = bytearray(len(src))
    _mix(src, readable_samples(second, "s16"), out)
    return bytes(out)


def mix_into(first: AudioData, second: AudioData, out: Buffer) -> int:
    """
    Add the samples of two streams as :func:`mix` does, but write the result to *out*.

    Raises:
        AudioError: The byte counts differ or are odd, or *out* is too small; nothing was written.
    """
    return _mix(readable_samples(first, "s16"), readable_samples(second, "s16"), out)


def _mix(a: bytes | CData, b: bytes | CData, out: Buffer) -> int:
    dst = writable(out)
    size_bytes = len(a)
    error = _refusal(size_bytes, len(dst))
    if len(b) != size_bytes:
        error = AudioError(
            f"first and second must be equally long, got {size_bytes} and {len(b)} bytes"
        )
    if error:
        del a, b, dst
        raise error
    lib.iw_pcm_mix_s16(dst, a, b, size_bytes // SAMPLE_BYTES)
    return size_bytes


def _refusal(size_bytes: int, room_bytes: int) -> AudioError | None:
    """Return the error for sizes that do not fit; None if they fit."""
    if size_bytes % SAMPLE_BYTES:
        return cut_sample("s16", SAMPLE_BYTES, size_bytes)
    return too_small(size_bytes, room_bytes) if room_bytes < size_bytes else None
