r"""
Masks WebSocket payloads, as RFC 6455, section 5.3, requires of clients.

Masking and unmasking are the same operation. Every function accepts any object with a contiguous
buffer, and any thread may call every function at any time.

>>> key = bytes.fromhex("37fa213d")
>>> mask(b"Hello", key).hex()
'7f9f4d5158'
>>> mask(mask(b"Hello", key), key)
b'Hello'
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inworld_sync._native import lib
from inworld_sync.audio._memory import as_bytes, new_output, readable, too_small, writable
from inworld_sync.errors import ConfigError
from inworld_sync.models.checks import require_whole

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["mask", "mask_into"]

_KEY_BYTES = 4


def mask(payload: Buffer, key: bytes, offset_bytes: int = 0) -> bytes:
    """
    Mask a payload or a part of a payload.

    Args:
        payload: The bytes to mask. They are not changed.
        key: The masking key, 4 bytes in the order of the frame.
        offset_bytes: How many bytes of the whole payload come before *payload*.

    Raises:
        ConfigError: *key* is not 4 bytes long, or *offset_bytes* is negative.
    """
    _check(key, offset_bytes)
    src = readable(payload)
    size_bytes = len(src)
    dst = new_output(size_bytes)
    lib.iw_ws_mask(dst, src, size_bytes, key, offset_bytes)
    return as_bytes(dst, size_bytes)


def mask_into(payload: Buffer, key: bytes, out: Buffer, offset_bytes: int = 0) -> int:
    """
    Mask a payload as :func:`mask` does, but write the result to the start of *out*.

    Args:
        payload: As for :func:`mask`.
        key: As for :func:`mask`.
        out: A writable buffer. It may be *payload* itself. A partial overlap with *payload* is not
            allowed.
        offset_bytes: As for :func:`mask`.

    Returns:
        The number of bytes written. The rest of *out* is unchanged.

    Raises:
        AudioError: *out* is too small; nothing was written.
        ConfigError: *key* is not 4 bytes long, or *offset_bytes* is negative.
    """
    _check(key, offset_bytes)
    src, dst = readable(payload), writable(out)
    size_bytes, room_bytes = len(src), len(dst)
    if size_bytes > room_bytes:
        del src, dst  # a traceback would keep both buffers locked
        raise too_small(size_bytes, room_bytes)
    lib.iw_ws_mask(dst, src, size_bytes, key, offset_bytes)
    return size_bytes


def _check(key: bytes, offset_bytes: int) -> None:
    """Check the arguments, since the C core reads four bytes of the key without a check."""
    if type(key) is not bytes or len(key) != _KEY_BYTES:
        what = f"{len(key)} bytes" if type(key) is bytes else type(key).__name__
        raise ConfigError(f"key must be {_KEY_BYTES} bytes, got {what}")
    require_whole("offset_bytes", offset_bytes, 0, 2**64 - 1)
