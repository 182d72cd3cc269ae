"""On every instruction set, the level meter has the same results as sums in Python."""

from __future__ import annotations

import math
import random
from array import array

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from inworld_sync.audio.meter import Level, measure
from inworld_sync.errors import AudioError

LENGTHS = [*range(140), 255, 256, 257, 1023, 1024, 1025]

every_level = pytest.mark.usefixtures("level")
ANY_LEVEL = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def summed(samples: array[int]) -> Level:
    return Level(
        len(samples),
        max(map(abs, samples), default=0),
        sum(sample * sample for sample in samples),
    )


@every_level
def test_every_length() -> None:
    """The peak and the energy are exact for any number of samples."""
    for size in LENGTHS:
        samples = array("h", random.Random(size).randbytes(2 * size))

        assert summed(samples) == measure(samples)


@every_level
@pytest.mark.parametrize("place", range(100))
def test_peak_at_any_place(place: int) -> None:
    """The peak is found at any index, for positive and negative samples."""
    for loudest in (32767, -32768):
        samples = array("h", [7] * 100)
        samples[place] = loudest

        assert abs(loudest) == measure(samples).peak_magnitude


@every_level
@pytest.mark.parametrize("size", [1, 2, 31, 32, 33, 64, 70_000])
def test_loudest_sound(size: int) -> None:
    """The energy and the peak of samples at full scale do not overflow."""
    level = measure(array("h", [-32768] * size))

    assert Level(size, 32768, size << 30) == level
    assert (1.0, 1.0, 0.0, 0.0) == (level.peak, level.rms, level.peak_dbfs, level.rms_dbfs)


@every_level
@ANY_LEVEL
@given(st.lists(st.integers(-32768, 32767), max_size=200), st.integers(0, 200))
def test_levels_add_up(samples: list[int], cut: int) -> None:
    """The sum of the levels of two pieces is the level of the whole stream."""
    whole = array("h", samples)

    assert summed(whole) == measure(whole[:cut]) + measure(whole[cut:])


def test_sine() -> None:
    """A sine of full scale has a level of -3 dBFS."""
    wave = array("h", [round(32767 * math.sin(step * math.tau / 480)) for step in range(4800)])

    assert measure(wave).rms_dbfs == pytest.approx(-3.01, abs=0.01)


@pytest.mark.parametrize(("sample", "clipped"), [(32766, False), (32767, True), (-32768, True)])
def test_clipping(sample: int, clipped: bool) -> None:
    """Audio is clipped if a sample has full scale."""
    assert clipped is measure(array("h", [5, sample, -5])).is_clipped


def test_silence() -> None:
    """Silence and empty audio have a level of minus infinity."""
    for level in (measure(bytes(100)), measure(b""), Level()):
        assert (0.0, 0.0) == (level.peak, level.rms)
        assert (-math.inf, -math.inf) == (level.peak_dbfs, level.rms_dbfs)


@every_level
@pytest.mark.parametrize("shift", range(1, 5))
def test_any_alignment(shift: int) -> None:
    """Samples may begin at any memory address."""
    samples = random.Random(shift).randbytes(600)

    assert measure(samples) == measure(memoryview(bytes(shift) + samples)[shift:])


def test_large_buffers() -> None:
    """Half a megabyte is measured correctly."""
    samples = array("h", random.Random(3).randbytes(600_000))

    assert summed(samples) == measure(samples)


def test_refuses_a_cut_sample() -> None:
    """An odd count of bytes raises an error, and the buffer does not stay locked."""
    data = bytearray(b"abc")
    with pytest.raises(AudioError, match="s16 audio has 2 bytes per sample, got 3 bytes") as caught:
        measure(data)
    data.clear()

    assert caught.value.offset_bytes == 2
