r"""
mu-law and A-law, the 8-bit codes of telephony (ITU-T G.711).

Encoding follows the reference code of ITU-T G.191 bit for bit: a sample on a decision value
belongs to the interval above it, on both sides of zero. Python's former audioop has the negative
boundaries of mu-law four nearer to zero; its A-law and its decoding are the same.

Linear samples are 16-bit little-endian. Every function takes any object with a contiguous buffer,
keeps nothing, and may be called from any thread at once. The ``_into`` twins write to the front
of *out*, a writable buffer or an ``OutputBuffer`` that must not overlap *data*, and return the
bytes written.

>>> decode_ulaw(b"\xff\x00").hex(" ", 2)
'0000 8482'
>>> encode_ulaw(b"\x00\x00\x84\x82").hex()
'ff00'
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inworld_sync._native import hold, release
from inworld_sync.audio._memory import sample_functions
from inworld_sync.audio.output import OutputBuffer

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "decode_alaw",
    "decode_alaw_into",
    "decode_ulaw",
    "decode_ulaw_into",
    "encode_alaw",
    "encode_alaw_into",
    "encode_ulaw",
    "encode_ulaw_into",
]

_decode_ulaw, _decode_ulaw_into = sample_functions(
    "mu-law", hold.iw_g711_decode_ulaw, release.iw_g711_decode_ulaw, src_bytes=1, dst_bytes=2
)
_decode_alaw, _decode_alaw_into = sample_functions(
    "A-law", hold.iw_g711_decode_alaw, release.iw_g711_decode_alaw, src_bytes=1, dst_bytes=2
)
_encode_ulaw, _encode_ulaw_into = sample_functions(
    "s16", hold.iw_g711_encode_ulaw, release.iw_g711_encode_ulaw, src_bytes=2, dst_bytes=1
)
_encode_alaw, _encode_alaw_into = sample_functions(
    "s16", hold.iw_g711_encode_alaw, release.iw_g711_encode_alaw, src_bytes=2, dst_bytes=1
)


def decode_ulaw(data: Buffer) -> bytes:
    """Decode mu-law to 16-bit samples: twice the bytes of *data*, in [-32124, 32124]."""
    return _decode_ulaw(data)


def decode_ulaw_into(data: Buffer, out: Buffer | OutputBuffer) -> int:
    """
    Decode mu-law to 16-bit samples at the front of *out*.

    Raises:
        AudioError: *out* is too small; nothing was written.
    """
    return _decode_ulaw_into(data, out)


def decode_alaw(data: Buffer) -> bytes:
    """Decode A-law to 16-bit samples: twice the bytes of *data*, in [-32256, 32256], never 0."""
    return _decode_alaw(data)


def decode_alaw_into(data: Buffer, out: Buffer | OutputBuffer) -> int:
    """
    Decode A-law to 16-bit samples at the front of *out*.

    Raises:
        AudioError: *out* is too small; nothing was written.
    """
    return _decode_alaw_into(data, out)


def encode_ulaw(data: Buffer) -> bytes:
    """
    Encode 16-bit samples as mu-law: half the bytes of *data*; louder than 32635 saturates.

    Raises:
        AudioError: The byte count is odd, so the last sample is cut.
    """
    return _encode_ulaw(data)


def encode_ulaw_into(data: Buffer, out: Buffer | OutputBuffer) -> int:
    """
    Encode 16-bit samples as mu-law at the front of *out*.

    Raises:
        AudioError: The byte count is odd, or *out* is too small; nothing was written.
    """
    return _encode_ulaw_into(data, out)


def encode_alaw(data: Buffer) -> bytes:
    """
    Encode 16-bit samples as A-law: half the bytes of *data*.

    Raises:
        AudioError: The byte count is odd, so the last sample is cut.
    """
    return _encode_alaw(data)


def encode_alaw_into(data: Buffer, out: Buffer | OutputBuffer) -> int:
    """
    Encode 16-bit samples as A-law at the front of *out*.

    Raises:
        AudioError: The byte count is odd, or *out* is too small; nothing was written.
    """
    return _encode_alaw_into(data, out)
