"""On every instruction set, WebSocket masking has the same result as a loop over the bytes."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from inworld_sync.audio import masking
from inworld_sync.errors import AudioError, ConfigError

LENGTHS = [*range(300), 511, 512, 513, 1023, 1024, 1025, 5000]
KEY = bytes.fromhex("37fa213d")

every_level = pytest.mark.usefixtures("level")
ANY_LEVEL = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def masked(payload: bytes, key: bytes, offset_bytes: int = 0) -> bytes:
    """Mask by RFC 6455, section 5.3: byte i modulo 4 of the key masks byte i of the payload."""
    return bytes(byte ^ key[(offset_bytes + i) % 4] for i, byte in enumerate(payload))


@every_level
def test_rfc_vector() -> None:
    """The example of RFC 6455, section 5.7, is masked correctly."""
    assert bytes.fromhex("7f9f4d5158") == masking.mask(b"Hello", KEY)


@every_level
def test_every_length() -> None:
    """A payload of any length is masked, and the bytes after the result are unchanged."""
    behind = b"\xa5" * 70
    for size in LENGTHS:
        payload = random.Random(size).randbytes(size)
        out = bytearray(size) + behind

        assert size == masking.mask_into(payload, KEY, out)
        assert masked(payload, KEY) + behind == out


@every_level
@ANY_LEVEL
@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4), st.lists(st.integers(0, 90)))
def test_pieces(payload: bytes, key: bytes, cuts: list[int]) -> None:
    """Masking in pieces has the same result as masking the whole payload."""
    pieces, begin = [], 0
    for cut in cuts:
        pieces.append(masking.mask(payload[begin : begin + cut], key, begin))
        begin += cut
    pieces.append(masking.mask(payload[begin:], key, begin))

    assert masked(payload, key) == b"".join(pieces)


@every_level
@pytest.mark.parametrize("offset_bytes", [0, 1, 2, 3, 4, 5, 2**64 - 1])
def test_offsets(offset_bytes: int) -> None:
    """The offset of a piece in the payload selects the first byte of the key."""
    payload = random.Random(1).randbytes(200)

    assert masked(payload, KEY, offset_bytes) == masking.mask(payload, KEY, offset_bytes)


@every_level
@pytest.mark.parametrize("shift", range(9))
def test_in_place_at_any_alignment(shift: int) -> None:
    """A payload may be masked in place, at any address."""
    payload = random.Random(shift).randbytes(777)
    frame = bytearray(bytes(shift) + payload)
    view = memoryview(frame)[shift:]

    assert masking.mask_into(view, KEY, view) == 777
    assert bytes(shift) + masked(payload, KEY) == frame


def test_large_buffers() -> None:
    """Half a megabyte is masked correctly, and a second masking restores the payload."""
    payload = random.Random(2).randbytes(600_001)

    assert payload == masking.mask(masking.mask(payload, KEY), KEY)
    assert masked(payload[-99:], KEY, 600_001 - 99) == masking.mask(payload, KEY)[-99:]


# (key, words of the message)
BAD_KEYS = [
    (b"", "0 bytes"),
    (b"abc", "3 bytes"),
    (b"abcde", "5 bytes"),
    (bytearray(4), "bytearray"),
]


@pytest.mark.parametrize(("key", "words"), BAD_KEYS)
def test_refuses_a_key_of_wrong_size(key: bytes, words: str) -> None:
    """A key that does not have four bytes raises an error that does not show the key."""
    with pytest.raises(ConfigError, match=f"key must be 4 bytes, got {words}"):
        masking.mask(b"Hello", key)


def test_refuses_a_negative_offset() -> None:
    """A negative offset raises an error."""
    with pytest.raises(ConfigError, match=r"offset_bytes must be 0 to .*, got -1"):
        masking.mask(b"Hello", KEY, -1)


def test_refuses_too_small_a_buffer() -> None:
    """A buffer that is one byte too small raises an error. No buffer stays locked."""
    payload, small = bytearray(b"Hello"), bytearray(4)
    with pytest.raises(AudioError, match="needs 5 bytes, got a buffer of 4") as caught:
        masking.mask_into(payload, KEY, small)
    payload.clear()

    assert (bytearray(4), None) == (small, caught.value.offset_bytes)
    small.clear()
