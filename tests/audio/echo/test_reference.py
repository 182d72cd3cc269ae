"""Played audio is read at any position and rate."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from inworld_sync.audio.echo.reference import PlayedAudio


def sine(hertz: float, rate_hz: int, places: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return 10_000 * np.sin(2 * np.pi * hertz * places / rate_hz)


def held(rate_hz: int, hertz: float, to_hz: int, position: int = 0) -> PlayedAudio:
    audio = PlayedAudio(rate_hz, rate_hz, to_hz)
    places = position + np.arange(rate_hz, dtype=float)
    audio.append(position, sine(hertz, rate_hz, places).astype("<i2").tobytes())
    return audio


@pytest.mark.parametrize(("from_hz", "to_hz"), [(16000, 16000), (24000, 16000), (48000, 32000)])
@pytest.mark.parametrize("ratio", [1.0, 1.001])
def test_interpolates(from_hz: int, to_hz: int, ratio: float) -> None:
    """A tone of 3 kHz is read between the samples, with an error below -50 dB."""
    audio = held(from_hz, 3000, to_hz)
    found = audio.read(1000.3, ratio, 160)
    places = 1000.3 + np.arange(160) * ratio * from_hz / to_hz
    error = found - sine(3000, from_hz, places)

    assert np.abs(error).max() < 10_000 * 10 ** (-50 / 20)


def test_removes_what_the_lower_rate_cannot_have() -> None:
    """A tone above half of the lower rate is removed."""
    found = held(48000, 11_000, 16000).read(5000.5, 1.0, 160)

    assert np.abs(found).max() < 10_000 * 10 ** (-40 / 20)


def test_silence_where_nothing_was_played() -> None:
    """Silence is read before the first sample and after the last sample."""
    audio = held(16000, 500, 16000, position=100_000)

    assert not audio.read(0.0, 1.0, 160).any()
    assert not audio.read(120_000.0, 1.0, 160).any()
    assert audio.read(100_000.0, 1.0, 160).any()


@pytest.mark.parametrize("block", [37, 400, 30_000])
def test_forgets_old_samples(block: int) -> None:
    """Any number of samples may be added. Only the newest samples are kept."""
    audio = PlayedAudio(16000, 16000, 16000)
    places = np.arange(200_000, dtype=float)
    wave = sine(440, 16000, places).astype("<i2")
    for start in range(0, len(wave), block):
        audio.append(start, wave[start : start + block].tobytes())
    found = audio.read(190_000.0, 1.0, 1000)

    assert audio.end == 200_000
    assert np.abs(found - wave[190_000:191_000]).max() < 30


@pytest.mark.parametrize("gap", [10, 1000, 100_000])
def test_missing_and_repeated_samples(gap: int) -> None:
    """Missing samples are silence. Samples that were added before are skipped."""
    audio = held(16000, 440, 16000)
    audio.append(15_000, b"\x01\x00" * 500)
    audio.append(16_000 + gap, b"\xe8\x03" * 2000)

    assert audio.end == 18_000 + gap
    assert 1000 == pytest.approx(float(audio.read(17_000.0 + gap, 1.0, 10).mean()), abs=1)
    assert not audio.read(16_000.0 + gap - 5, 1.0, 1)[0] > 900


@pytest.mark.parametrize("gap", [100.0, 480.25, 20_000.5])
def test_a_gap(gap: float) -> None:
    """A gap is silent. Its duration may have a fraction of a sample."""
    audio = held(16000, 500, 16000)
    audio.set_gap(8000, gap)
    places = 8000 + gap + 50 + np.arange(100)
    after = sine(500, 16000, places - gap)

    assert audio.place(7999) == 7999
    assert audio.place(8000) == 8000 + gap
    assert np.abs(audio.read(7900.0, 1.0, 50) - sine(500, 16000, np.arange(7900, 7950))).max() < 30
    assert not audio.read(8000.0 + audio.reach, 1.0, int(gap) - 2 * audio.reach).any()
    assert np.abs(audio.read(8050.0 + gap, 1.0, 100) - after).max() < 30


def test_the_edges_of_a_gap() -> None:
    """A frame with both edges of a gap is the sum of the audio before and after the gap."""
    wave = np.full(2000, 1000, "<i2")
    one, other, both = (PlayedAudio(16000, 16000, 16000) for _ in range(3))
    one.append(0, wave[:1000].tobytes())
    other.append(1000, wave[1000:].tobytes())
    both.append(0, wave.tobytes())
    both.set_gap(1000, 30.5)
    wanted = one.read(900.0, 1.0, 160) + other.read(900.0 - 30.5, 1.0, 160)

    assert np.abs(both.read(900.0, 1.0, 160) - wanted).max() < 1


def test_many_gaps() -> None:
    """A gap may be changed. The gaps whose audio is no longer held count too."""
    audio = PlayedAudio(1600, 16000, 16000)
    for index in range(20):
        audio.append(index * 1000, np.full(1000, 100 * index, "<i2").tobytes())
        audio.set_gap(index * 1000, 50.0)
        audio.set_gap(index * 1000, 10.5)

    assert audio.place(19_500) == 19_500 + 20 * 10.5
    assert 1900 == pytest.approx(float(audio.read(audio.place(19_500), 1.0, 10).mean()), abs=2)
    assert audio.gap(19_000) == 10.5
    assert audio.gap(19_001) is None


def test_samples_that_were_not_heard() -> None:
    """With a negative gap, the last samples before the gap are replaced by the next samples."""
    audio = PlayedAudio(16000, 16000, 16000)
    audio.append(0, np.full(1000, 1000, "<i2").tobytes())
    audio.append(1000, np.full(1000, 3000, "<i2").tobytes())
    audio.set_gap(1000, -200.0)

    assert 1000 == pytest.approx(float(audio.read(750.0, 1.0, 20).mean()), abs=5)
    assert 3000 == pytest.approx(float(audio.read(830.0, 1.0, 100).mean()), abs=5)
