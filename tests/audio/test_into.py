"""Some functions write their result into a buffer of the caller."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from inworld_sync.audio import base64, g711, pcm
from inworld_sync.errors import AudioError

# (function, input, result): one function for each kernel.
CALLS = [
    (base64.decode_into, b"AAEC", b"\0\1\2"),
    (base64.encode_into, b"\0\1\2", b"AAEC"),
    (g711.decode_ulaw_into, b"\xff\x00", b"\0\0\x84\x82"),
    (g711.encode_ulaw_into, b"\0\0\x84\x82", b"\xff\x00"),
    (pcm.f32_from_s16_into, b"\x00\x40", b"\0\0\0\x3f"),
    (pcm.swap_bytes_into, b"ab", b"ba"),
]


@pytest.mark.parametrize(("function", "data", "expected"), CALLS)
def test_writes_to_the_front(function: Callable[..., int], data: bytes, expected: bytes) -> None:
    """A function writes to the start of the buffer and leaves the rest of the buffer unchanged."""
    memory = bytearray(b"\xa5" * 8)

    assert len(expected) == function(data, memory)
    assert expected + b"\xa5" * (8 - len(expected)) == memory


@pytest.mark.parametrize(("function", "data", "expected"), CALLS)
def test_refuses_too_small_a_buffer(
    function: Callable[..., int], data: bytes, expected: bytes
) -> None:
    """A result that does not fit raises an error, and nothing is written to the buffer."""
    memory = bytearray(b"\xa5" * (len(expected) - 1))
    with pytest.raises(AudioError, match=f"a buffer of {len(memory)}"):
        function(data, memory)

    assert memory == b"\xa5" * len(memory)
