"""On every instruction set, sample formats are converted as in exact arithmetic."""

from __future__ import annotations

import math
import random
import struct
from array import array
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from inworld_sync.audio import pcm
from inworld_sync.errors import AudioError, ConfigError

ALL_SAMPLES = range(-32768, 32768)
LENGTHS = [*range(140), 255, 256, 257, 1023, 1024, 1025]

every_level = pytest.mark.usefixtures("level")
ANY_LEVEL = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def s16(*samples: int) -> bytes:
    return struct.pack(f"<{len(samples)}h", *samples)


def f32(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


def nearest_s16(value: float) -> int:
    """Convert by exact fractions. Python's round() rounds halves to even."""
    if math.isnan(value):
        return 0
    if math.isinf(value):
        return 32767 if value > 0 else -32768
    return max(-32768, min(32767, round(Fraction(value) * 32768)))


@every_level
def test_every_sample_to_float() -> None:
    """A sample is divided by 32768. A float represents the result exactly."""
    expected = f32(*(sample / 32768 for sample in ALL_SAMPLES))

    assert expected == pcm.f32_from_s16(s16(*ALL_SAMPLES))


@every_level
def test_converting_twice_keeps_every_sample() -> None:
    """A sample that is converted to a float and back is unchanged."""
    samples = s16(*ALL_SAMPLES)

    assert samples == pcm.s16_from_f32(pcm.f32_from_s16(samples))


# (float, sample): full scale and its neighbors, halves, values that are clipped, NaN, zeros, and
# the smallest floats.
EDGES = [
    (1.0, 32767),
    (-1.0, -32768),
    (32767 / 32768, 32767),
    (-32767 / 32768, -32767),
    (32767.4 / 32768, 32767),
    (32767.5 / 32768, 32767),
    (-32768.5 / 32768, -32768),
    (-32769 / 32768, -32768),
    (0.5 / 32768, 0),
    (1.5 / 32768, 2),
    (2.5 / 32768, 2),
    (-0.5 / 32768, 0),
    (-1.5 / 32768, -2),
    (-2.5 / 32768, -2),
    (32766.5 / 32768, 32766),
    (32765.5 / 32768, 32766),
    (-32767.5 / 32768, -32768),
    (-32766.5 / 32768, -32766),
    (2.0, 32767),
    (-2.0, -32768),
    (65536.0, 32767),
    (-65536.0, -32768),
    (3.0e38, 32767),
    (-3.0e38, -32768),
    (math.inf, 32767),
    (-math.inf, -32768),
    (math.nan, 0),
    (-math.nan, 0),
    (0.0, 0),
    (-0.0, 0),
    (1.4e-45, 0),
    (-1.4e-45, 0),
    (1.2e-38, 0),
]


@every_level
@pytest.mark.parametrize(("value", "sample"), EDGES)
def test_float_edges(value: float, sample: int) -> None:
    """Floats are rounded to the nearest sample, halves to even, and clipped. NaN becomes 0."""
    assert s16(sample) == pcm.s16_from_f32(f32(value))
    assert s16(*[sample] * 67) == pcm.s16_from_f32(f32(*[value] * 67))


@every_level
@pytest.mark.parametrize("bits", [0x7F800001, 0xFF800001, 0x7FBFFFFF, 0x7FC00000, 0xFFFFFFFF])
def test_every_kind_of_nan(bits: int) -> None:
    """Signaling and quiet NaN with either sign become 0."""
    assert bytes(2 * 40) == pcm.s16_from_f32(struct.pack("<I", bits) * 40)


@every_level
def test_every_half_step() -> None:
    """Floats in quarter steps around each sample are rounded as in exact arithmetic."""
    quarters = [step / 4 / 32768 for step in range(-4 * 32770, 4 * 32770)]
    expected = s16(*(nearest_s16(value) for value in quarters))

    assert expected == pcm.s16_from_f32(f32(*quarters))


@every_level
@ANY_LEVEL
@given(st.lists(st.floats(width=32), max_size=100))
def test_any_float(values: list[float]) -> None:
    """Any 32-bit float is rounded as in exact arithmetic."""
    assert s16(*map(nearest_s16, values)) == pcm.s16_from_f32(f32(*values))


@every_level
def test_every_length() -> None:
    """Any number of samples is converted, and the bytes after the result are unchanged."""
    for size in LENGTHS:
        samples = array("h", random.Random(size).randbytes(2 * size))
        behind = b"\xa5" * 70

        out = bytearray(4 * size) + behind
        assert 4 * size == pcm.f32_from_s16_into(samples, out)
        assert f32(*(sample / 32768 for sample in samples)) + behind == out

        floats = bytes(out[: 4 * size])
        out = bytearray(2 * size) + behind
        assert 2 * size == pcm.s16_from_f32_into(floats, out)
        assert samples.tobytes() + behind == out

        out = bytearray(2 * size) + behind
        assert 2 * size == pcm.swap_bytes_into(samples, out)
        samples.byteswap()
        assert samples.tobytes() + behind == out


@every_level
@pytest.mark.parametrize("shift", range(1, 5))
def test_any_alignment(shift: int) -> None:
    """Input and output may begin at any memory address."""
    samples = random.Random(shift).randbytes(600)
    floats = pcm.f32_from_s16(samples)

    out = bytearray(1200 + shift)
    pcm.f32_from_s16_into(memoryview(bytes(shift) + samples)[shift:], memoryview(out)[shift:])
    assert floats == out[shift:]

    out = bytearray(600 + shift)
    pcm.s16_from_f32_into(memoryview(bytes(shift) + floats)[shift:], memoryview(out)[shift:])
    assert samples == out[shift:]


@every_level
def test_swap_in_place() -> None:
    """The output buffer of a byte swap may be the input."""
    samples = array("h", random.Random(1).randbytes(2 * 333))
    swapped = array("h", samples)
    swapped.byteswap()

    assert pcm.swap_bytes_into(samples, samples) == 666
    assert swapped == samples


def test_large_buffers() -> None:
    """Half a megabyte is converted correctly."""
    samples = array("h", random.Random(2).randbytes(600_000))
    floats = f32(*(sample / 32768 for sample in samples))

    assert floats == pcm.f32_from_s16(samples)
    assert samples.tobytes() == pcm.s16_from_f32(floats)
    assert samples.tobytes() == pcm.swap_bytes(pcm.swap_bytes(samples))


# (function, bytes per item, name of the format in the error)
WHOLE_SAMPLES = [
    (pcm.f32_from_s16, 2, "s16"),
    (pcm.s16_from_f32, 4, "f32"),
    (pcm.swap_bytes, 2, "s16"),
]


@pytest.mark.parametrize(("function", "sample_bytes", "name"), WHOLE_SAMPLES)
def test_refuses_a_cut_sample(function: object, sample_bytes: int, name: str) -> None:
    """A count of bytes that cuts a sample raises an error."""
    words = f"{name} audio has {sample_bytes} bytes per sample, got {sample_bytes * 3 - 1} bytes"
    with pytest.raises(AudioError, match=words) as caught:
        function(bytes(sample_bytes * 3 - 1))

    assert sample_bytes * 2 == caught.value.offset_bytes


# (function, input, size of the output in bytes)
INTO = [
    (pcm.f32_from_s16_into, bytes(8), 16),
    (pcm.s16_from_f32_into, bytes(8), 4),
    (pcm.swap_bytes_into, bytes(8), 8),
]


@pytest.mark.parametrize(("function", "data", "needed"), INTO)
def test_refuses_too_small_a_buffer(function: object, data: bytes, needed: int) -> None:
    """A buffer that is one byte too small raises an error and is not changed."""
    small = bytearray(b"\xa5" * (needed - 1))
    with pytest.raises(AudioError, match=f"needs {needed} bytes, got a buffer of {needed - 1}"):
        function(data, small)

    assert small == b"\xa5" * (needed - 1)


@pytest.mark.parametrize(("function", "data", "needed"), INTO)
def test_refuses_read_only_output(function: object, data: bytes, needed: int) -> None:
    """An output buffer that is not writable raises an error."""
    with pytest.raises(AudioError, match="writable contiguous buffer, got bytes"):
        function(data, bytes(needed))


def test_refuses_text() -> None:
    """A str instead of samples raises an error."""
    with pytest.raises(AudioError, match="text of 4 characters"):
        pcm.f32_from_s16("abcd")


class TestSampleCarry:
    """SampleCarry joins samples that are cut between two chunks."""

    @given(st.lists(st.binary(max_size=9)), st.integers(min_value=1, max_value=8))
    def test_any_chunks(self, chunks: list[bytes], sample_bytes: int) -> None:
        """The samples are whole, complete and in order, for any sizes of chunks."""
        carry = pcm.SampleCarry(sample_bytes)
        fed = b"".join(chunks)
        whole_bytes = len(fed) // sample_bytes * sample_bytes
        pieces = [bytes(carry.feed(chunk)) for chunk in chunks]

        assert fed[:whole_bytes] == b"".join(pieces)
        assert len(fed) - whole_bytes == carry.pending_bytes
        assert [0] * len(pieces) == [len(piece) % sample_bytes for piece in pieces]

    def test_whole_chunk_is_not_copied(self) -> None:
        """A chunk that begins with a sample is returned as a view, without a copy."""
        chunk = bytearray(b"abcde")
        view = pcm.SampleCarry().feed(chunk)
        chunk[0] = ord("z")

        assert bytes(view) == b"zbcd"

    def test_pending_byte_is_a_copy(self) -> None:
        """The memory of a chunk may be reused after the call, because the cut byte is copied."""
        carry = pcm.SampleCarry()
        chunk = bytearray(b"abc")
        carry.feed(chunk).release()
        chunk[:] = b"xyz"

        assert bytes(carry.feed(b"d")) == b"cd"

    def test_accepts_wider_items(self) -> None:
        """The size of a buffer with 16-bit or float items is counted in bytes."""
        assert len(pcm.SampleCarry(3).feed(array("h", [1, 2, 3]))) == 6

    def test_finish_whole(self) -> None:
        """A stream that ends after a whole sample raises no error."""
        carry = pcm.SampleCarry()
        carry.feed(b"abcd")
        carry.finish()

        assert carry.pending_bytes == 0

    def test_finish_cut(self) -> None:
        """A stream that ends inside a sample raises an error once."""
        carry = pcm.SampleCarry(4)
        carry.feed(b"abcdefg")
        with pytest.raises(AudioError, match="ended after 3 of the 4 bytes"):
            carry.finish()
        carry.finish()

        assert bytes(carry.feed(b"abcd")) == b"abcd"

    def test_refuses_no_bytes_a_sample(self) -> None:
        """A sample size of 0 bytes raises an error."""
        with pytest.raises(ConfigError, match="integer of at least 1, got 0"):
            pcm.SampleCarry(0)
