"""A conversion of the sample rate keeps the duration and the tone, and adds little noise."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from inworld_sync.audio.resample import Resampler, mixed_to_mono
from inworld_sync.errors import AudioError, ClosedError, ConfigError

RATES = [
    (24_000, 16_000),
    (16_000, 24_000),
    (48_000, 16_000),
    (8_000, 16_000),
    (44_100, 16_000),
    (22_050, 24_000),
    (16_000, 8_000),
    (48_000, 48_000),
]


def tone(rate_hz, hz, seconds=1.0, level=0.5):
    wave = level * np.sin(2 * np.pi * hz * np.arange(round(rate_hz * seconds)) / rate_hz)
    return np.rint(wave * 32767).astype("<i2")


def converted(pcm, resampler, step=None):
    step = step or max(len(pcm), 1)
    parts = [resampler.feed(pcm[at : at + step]) for at in range(0, len(pcm), step)]
    return b"".join([*parts, resampler.finish()])


def fit(samples, rate_hz, hz):
    """Fit a sine of *hz* to the middle of *samples*; return its amplitude and the rest's RMS."""
    middle = samples[len(samples) // 4 : -len(samples) // 4].astype(float) / 32767
    angle = 2 * np.pi * hz * np.arange(len(middle)) / rate_hz
    basis = np.stack([np.sin(angle), np.cos(angle)], axis=1)
    parts, *_ = np.linalg.lstsq(basis, middle, rcond=None)
    return np.hypot(*parts), (middle - basis @ parts).std()


@pytest.mark.parametrize(("from_hz", "to_hz"), RATES)
def test_tone(from_hz, to_hz):
    """A tone keeps its pitch and level. All other sound in the output is 90 dB below the tone."""
    pcm = tone(from_hz, 1000, level=0.9).tobytes()

    level, rest = fit(np.frombuffer(converted(pcm, Resampler(from_hz, to_hz)), "<i2"), to_hz, 1000)

    assert level == pytest.approx(0.9, rel=0.001)
    assert 20 * np.log10(level / np.sqrt(2) / rest) > 90


@pytest.mark.parametrize(("from_hz", "to_hz"), [(24_000, 16_000), (48_000, 16_000)])
def test_no_alias(from_hz, to_hz):
    """A tone that is too high for the lower rate is removed. There is no aliasing."""
    pcm = tone(from_hz, 9_500).tobytes()

    out = np.frombuffer(converted(pcm, Resampler(from_hz, to_hz)), "<i2")

    middle = out[len(out) // 4 : -len(out) // 4]
    assert 3 >= np.abs(middle.astype(int)).max()


def test_full_scale():
    """A square wave at full scale is clipped where the filter overshoots. No sample wraps."""
    square = np.where(np.arange(24_000) // 60 % 2, 32767, -32768).astype("<i2")

    out = np.frombuffer(converted(square.tobytes(), Resampler(24_000, 16_000)), "<i2")

    # A sample that wraps would differ by nearly the whole range.
    middles = out.reshape(-1, 40)[1:-1, 10:30]
    assert 20_000 < np.abs(middles.astype(int)).min()
    assert all(len(set(np.sign(row))) == 1 for row in middles)


@pytest.mark.parametrize(("from_hz", "to_hz"), RATES)
@pytest.mark.parametrize("samples", [0, 1, 2, 99, 1000, 44_101])
def test_length(from_hz, to_hz, samples):
    """The output has the duration of the input, rounded to the nearest sample."""
    out = converted(bytes(2 * samples), Resampler(from_hz, to_hz))

    assert 0.5 >= abs(len(out) / 2 - samples * to_hz / from_hz)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 5000), min_size=1, max_size=20), st.sampled_from(RATES))
def test_cuts_do_not_matter(sizes, rates):
    """The output does not depend on the sizes of the chunks, even if chunks end inside a sample."""
    pcm = tone(rates[0], 440, 0.5).tobytes()
    whole = converted(pcm, Resampler(*rates))
    resampler, parts, at = Resampler(*rates), [], 0

    while at < len(pcm):
        size = sizes[len(parts) % len(sizes)]
        parts.append(resampler.feed(pcm[at : at + size]))
        at += size

    assert whole == b"".join([*parts, resampler.finish()])


def test_streams_early():
    """After the first 100 ms, the output is never more than 50 ms behind the input."""
    resampler, out = Resampler(24_000, 16_000), 0
    for chunk in range(1, 51):
        out += len(resampler.feed(bytes(960)))  # 20 ms

        assert chunk <= 5 or 20 * chunk - out / 32 <= 50
    assert 32_000 == out + len(resampler.finish())


def test_same_rate():
    """If both rates are equal, the samples are unchanged."""
    pcm = tone(16_000, 440).tobytes()

    assert pcm == converted(pcm, Resampler(16_000, 16_000), step=333)


@pytest.mark.parametrize("to_hz", [16_000, 24_000])
def test_stereo(to_hz):
    """Two channels are converted to one channel, which is their mean."""
    left, right = tone(16_000, 500), tone(16_000, 900)
    pcm = np.stack([left, right], axis=1).tobytes()

    out = np.frombuffer(converted(pcm, Resampler(16_000, to_hz, channels=2), step=1001), "<i2")

    assert to_hz == len(out)
    assert fit(out, to_hz, 500)[0] == pytest.approx(0.25, rel=0.01)
    assert fit(out, to_hz, 900)[0] == pytest.approx(0.25, rel=0.01)


# (frames, mono): opposite samples, equal samples, halves, positive and negative full scale.
MIXES = [
    ([[100, -100]], [0]),
    ([[7, 7]], [7]),
    ([[1, 2]], [2]),
    ([[2, 3]], [2]),
    ([[32767, 32767], [-32768, -32768]], [32767, -32768]),
    ([[3, 6, 9]], [6]),
]


@pytest.mark.parametrize(("frames", "mono"), MIXES)
def test_mix(frames, mono):
    """Channels are mixed in equal parts, without overflow."""
    pcm = np.array(frames, "<i2").tobytes()

    assert mono == np.frombuffer(mixed_to_mono(pcm, len(frames[0])), "<i2").tolist()


def test_cut_sample():
    """A stream that ends inside a frame raises an error in finish()."""
    resampler = Resampler(24_000, 16_000, channels=2)
    resampler.feed(bytes(6))

    with pytest.raises(AudioError, match="the last sample is cut"):
        resampler.finish()


def test_finished():
    """After finish(), feed() raises an error and a second finish() returns nothing."""
    resampler = Resampler(24_000, 16_000)
    early = resampler.feed(bytes(4800))

    assert 3200 == len(early + resampler.finish())
    assert b"" == resampler.finish()
    with pytest.raises(ClosedError):
        resampler.feed(b"")


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((0, 16_000), "from_hz"),
        ((16_000, -1), "to_hz"),
        ((16_000.0, 16_000), "from_hz"),
        ((True, 16_000), "from_hz"),
        ((16_000, 768_001), "to_hz"),
        ((16_000, 16_000, 0), "channels"),
    ],
)
def test_ranges(arguments, name):
    """A rate or a number of channels out of range raises an error with the name of the argument."""
    with pytest.raises(ConfigError, match=name):
        Resampler(*arguments)


def test_imports_late():
    """Mono audio with equal rates is processed without an import of numpy or soxr."""
    code = (
        "import sys; from inworld_sync.audio.resample import Resampler; "
        "Resampler(16000, 16000).feed(bytes(4)); "
        "sys.exit(bool({'numpy', 'soxr'} & sys.modules.keys()))"
    )

    assert importlib.util.find_spec("soxr")
    assert 0 == subprocess.run([sys.executable, "-c", code], timeout=60).returncode
