"""On every instruction set, gain and mix have the same results as exact arithmetic."""

from __future__ import annotations

import math
import random
import struct
from array import array
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from inworld_sync.audio import mix
from inworld_sync.errors import AudioError, ConfigError

ALL_SAMPLES = array("h", range(-32768, 32768))
LENGTHS = [*range(140), 255, 256, 257, 1023]
FACTORS = [0.0, 1.0, -1.0, 0.5, 2.0, 0.1, 1 / 3, -0.7, 1.9999, 1e-9, 40000.0, -1e30, 3.4e38]

every_level = pytest.mark.usefixtures("level")
ANY_LEVEL = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
samples_16 = st.integers(-32768, 32767)


def f32(value: float) -> float:
    """Round to the nearest 32-bit float, or to infinity."""
    try:
        return struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)


def held(value: int) -> int:
    return max(-32768, min(32767, value))


def amplified(sample: int, factor: float) -> int:
    """Apply the documented rule: multiply as floats, then round to the nearest, halves to even."""
    product = f32(sample * f32(factor))
    if math.isinf(product):
        return 32767 if product > 0 else -32768
    return held(round(Fraction(product)))


@every_level
@pytest.mark.parametrize("factor", FACTORS)
def test_gain_of_every_sample(factor: float) -> None:
    """Each sample is multiplied, rounded to a float, rounded to an integer, and clipped."""
    expected = array("h", [amplified(sample, factor) for sample in ALL_SAMPLES])

    assert expected.tobytes() == mix.gain(ALL_SAMPLES, factor)


@every_level
@ANY_LEVEL
@given(st.lists(samples_16, max_size=100), st.floats(width=32, allow_nan=False))
def test_any_gain(samples: list[int], factor: float) -> None:
    """The documented rule is followed for any finite factor."""
    if math.isinf(factor):
        return
    expected = array("h", [amplified(sample, factor) for sample in samples])

    assert expected.tobytes() == mix.gain(array("h", samples), factor)


@every_level
@ANY_LEVEL
@given(st.lists(st.tuples(samples_16, samples_16), max_size=100))
def test_any_mix(pairs: list[tuple[int, int]]) -> None:
    """Samples are added, and the sums are clipped."""
    first, second = (array("h", side) for side in zip(*pairs, strict=True)) if pairs else (b"", b"")
    expected = array("h", [held(a + b) for a, b in pairs])

    assert expected.tobytes() == mix.mix(first, second)


# (first, second, sum): sums at full scale and beyond it, positive and negative.
EDGES = [
    (32767, 1, 32767),
    (32767, 32767, 32767),
    (-32768, -1, -32768),
    (-32768, -32768, -32768),
    (32767, -32768, -1),
    (32766, 1, 32767),
    (-32767, -1, -32768),
]


@every_level
@pytest.mark.parametrize(("first", "second", "total"), EDGES)
def test_mix_edges(first: int, second: int, total: int) -> None:
    """A sum beyond full scale is clipped."""
    for count in (1, 67):
        mixed = mix.mix(array("h", [first] * count), array("h", [second] * count))

        assert array("h", [total] * count).tobytes() == mixed


@every_level
def test_every_length() -> None:
    """Any number of samples is processed, and the bytes after the result are unchanged."""
    behind = b"\xa5" * 70
    for size in LENGTHS:
        samples = array("h", random.Random(size).randbytes(2 * size))
        others = array("h", random.Random(~size).randbytes(2 * size))

        out = bytearray(2 * size) + behind
        assert 2 * size == mix.gain_into(samples, 0.7, out)
        assert array("h", [amplified(a, 0.7) for a in samples]).tobytes() + behind == out

        out = bytearray(2 * size) + behind
        assert 2 * size == mix.mix_into(samples, others, out)
        sums = [held(a + b) for a, b in zip(samples, others, strict=True)]
        assert array("h", sums).tobytes() + behind == out


@every_level
def test_in_place() -> None:
    """The output buffer may be one of the inputs."""
    samples = array("h", random.Random(1).randbytes(2 * 333))
    others = array("h", random.Random(2).randbytes(2 * 333))
    halved, mixed = mix.gain(samples, 0.5), mix.mix(samples, others)

    mix.mix_into(samples, others, others)
    assert mixed == others.tobytes()
    mix.gain_into(samples, 0.5, samples)
    assert halved == samples.tobytes()


@every_level
@pytest.mark.parametrize("shift", range(1, 5))
def test_any_alignment(shift: int) -> None:
    """Inputs and output may begin at any memory address."""
    samples = random.Random(shift).randbytes(600)
    view = memoryview(bytes(shift) + samples)[shift:]

    out = bytearray(600 + shift)
    mix.gain_into(view, -0.3, memoryview(out)[shift:])
    assert mix.gain(samples, -0.3) == out[shift:]

    out = bytearray(600 + shift)
    mix.mix_into(view, samples, memoryview(out)[shift:])
    assert mix.mix(samples, samples) == out[shift:]


def test_large_buffers() -> None:
    """Half a megabyte is processed correctly."""
    samples = array("h", random.Random(3).randbytes(600_000))
    halves = array("h", [amplified(sample, 0.5) for sample in samples])

    assert halves.tobytes() == mix.gain(samples, 0.5)
    assert samples.tobytes() == mix.mix(samples, bytes(600_000))


@pytest.mark.parametrize("factor", [math.inf, -math.inf, math.nan])
def test_refuses_a_factor_that_is_not_finite(factor: float) -> None:
    """A factor that is not a finite number raises an error."""
    with pytest.raises(ConfigError, match="factor must be a finite number, got"):
        mix.gain(bytes(4), factor)


def test_refuses_a_cut_sample() -> None:
    """An odd count of bytes raises an error."""
    for call in (lambda: mix.gain(b"abc", 1.0), lambda: mix.mix(b"abc", b"abc")):
        with pytest.raises(AudioError, match="s16 audio has 2 bytes per sample, got 3") as caught:
            call()

        assert caught.value.offset_bytes == 2


def test_refuses_streams_of_different_length() -> None:
    """Two streams of different lengths raise an error."""
    with pytest.raises(AudioError, match="equally long, got 4 and 6 bytes"):
        mix.mix(bytes(4), bytes(6))


def test_refuses_too_small_a_buffer() -> None:
    """A buffer that is one byte too small raises an error. All buffers can then be resized."""
    samples, small = bytearray(b"abcdefgh"), bytearray(b"\xa5" * 7)
    for call in (
        lambda: mix.gain_into(samples, 1.0, small),
        lambda: mix.mix_into(samples, samples, small),
    ):
        with pytest.raises(AudioError, match="needs 8 bytes, got a buffer of 7") as caught:
            call()
        assert caught.value.__traceback__
        samples.append(0)
        samples.pop()

    assert small == b"\xa5" * 7
    small.clear()
