r"""
Encodes and decodes strict base64 (RFC 4648, section 4), with vector instructions.

A text is accepted only if encoding its bytes returns the same text. So the text must have the
standard alphabet and padding, no white space, and no unused bits set in the last character.

>>> decode("AAEC")
b'\x00\x01\x02'
>>> encode(b"\x00\x01\x02")
b'AAEC'
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inworld_sync._native import ffi, lib
from inworld_sync.audio._memory import as_bytes, new_output, readable, too_small, writable
from inworld_sync.errors import AudioError

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from inworld_sync._native._core import CData

__all__ = ["decode", "decode_into", "encode", "encode_into"]

# These functions are names of the module, since reading an attribute of the library takes a third
# of the time of a short call.
_decode, _encode = lib.iw_base64_decode, lib.iw_base64_encode

# The traceback of an error keeps the frame alive, and a handle of from_buffer in this frame would
# keep a bytearray locked. So handles are deleted before an error is raised.


def decode(data: str | Buffer) -> bytes:
    """
    Decode a whole base64 text.

    Args:
        data: The text, as str or as any object with a contiguous buffer of ASCII.

    Returns:
        The bytes. Four characters become three bytes, or fewer if the characters include padding.

    Raises:
        AudioError: The text is not strict base64. ``offset_bytes`` is the position of the first
            wrong character.

    Thread safety:
        Any thread may call the function at any time.
    """
    src = data if type(data) is bytes else _text(data)
    size = len(src)
    room_bytes = size // 4 * 3
    dst = new_output(room_bytes)
    written = _decode(dst, room_bytes, src, size)
    if written < 0:
        error = _refused(written, src)
        del src
        raise error
    return as_bytes(dst, written)


def decode_into(data: str | Buffer, out: Buffer) -> int:
    """
    Decode a whole base64 text to the start of a buffer.

    Args:
        data: As for :func:`decode`; must not overlap *out*.
        out: Any object with a writable contiguous buffer. After an error its content is undefined.

    Returns:
        The number of bytes written. The rest of *out* is unchanged.

    Raises:
        AudioError: The text is not strict base64, or *out* is too small.

    Thread safety:
        Any thread may call the function at any time. Each call needs its own *out*.
    """
    src = data if type(data) is bytes else _text(data)
    size = len(src)
    dst = writable(out)
    written = _decode(dst, len(dst), src, size)
    if written < 0:
        error = _refused(written, src, len(dst))
        del dst, src
        raise error
    return written


def encode(data: Buffer) -> bytes:
    """
    Encode bytes, with padding and without line breaks.

    Args:
        data: Any object with a contiguous buffer.

    Returns:
        The text in ASCII. It has four characters for every three bytes, rounded up.

    Thread safety:
        Any thread may call the function at any time.
    """
    src = data if type(data) is bytes else readable(data)
    size = len(src)
    room_bytes = (size + 2) // 3 * 4
    dst = new_output(room_bytes)
    _encode(dst, room_bytes, src, size)
    return as_bytes(dst, room_bytes)


def encode_into(data: Buffer, out: Buffer) -> int:
    """
    Encode bytes to the start of a buffer.

    Args:
        data: As for :func:`encode`; must not overlap *out*.
        out: Any object with a writable contiguous buffer.

    Returns:
        The number of characters written. The rest of *out* is unchanged.

    Raises:
        AudioError: *out* is too small; nothing was written.

    Thread safety:
        Any thread may call the function at any time. Each call needs its own *out*.
    """
    src = data if type(data) is bytes else readable(data)
    size = len(src)
    dst = writable(out)
    written = _encode(dst, len(dst), src, size)
    if written < 0:
        room_bytes = len(dst)
        del dst, src
        raise too_small((size + 2) // 3 * 4, room_bytes)
    return written


def _text(data: str | Buffer) -> bytes | CData:
    """Return the characters as memory for C."""
    if not isinstance(data, str):
        return readable(data)
    try:
        return data.encode("ascii")
    except UnicodeEncodeError as error:
        raise AudioError(
            f"base64 must be ASCII, got {data[error.start]!r} at offset {error.start}",
            offset_bytes=error.start,
        ) from None


def _refused(status: int, src: bytes | CData, room_bytes: int = 0) -> AudioError:
    """Return the error for a negative result, with the position of the fault."""
    size = len(src)
    if status == lib.IW_NO_ROOM:
        return AudioError(
            f"{size} characters of base64 need up to {size // 4 * 3} bytes of output, "
            f"got a buffer of {room_bytes}"
        )
    position = ffi.new("size_t *")
    status = lib.iw_base64_fault(position, src, size)
    reason = ffi.string(lib.iw_status_text(status)).decode()
    return AudioError(
        f"expected strict base64, got {size} characters with an error at offset "
        f"{position[0]}: {reason}",
        offset_bytes=position[0],
    )
