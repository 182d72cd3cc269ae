"""The channels of a recording are mixed, selected, or returned separately."""

from __future__ import annotations

import io
import logging
import wave

import numpy as np
import pytest

from inworld_sync.audio.channels import Downmix
from inworld_sync.audio.files import AudioFile
from inworld_sync.audio.source import (
    AudioInput,
    SeparateChannels,
    open_recording,
    open_separate,
    open_source,
)
from inworld_sync.devices import WavSource
from inworld_sync.errors import AudioError, ConfigError

RATE_HZ = 16_000


def tone(rate_hz: int, hz: int) -> np.ndarray:
    """Return a second of a tone."""
    wave_form = np.sin(np.arange(rate_hz) * 2 * np.pi * hz / rate_hz)
    return np.rint(wave_form * 16_000).astype("<i2")


LEFT, RIGHT = tone(RATE_HZ, 440), tone(RATE_HZ, 700)
SILENCE = np.zeros_like(LEFT)


def interleaved(*channels: np.ndarray) -> bytes:
    return np.stack(channels, axis=1).astype("<i2").tobytes()


def wav(*channels: np.ndarray) -> bytes:
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(len(channels))
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(interleaved(*channels))
    return content.getvalue()


def mixed(pcm: bytes, channels: int, block_frames: int = 1600) -> tuple[np.ndarray, list[str]]:
    """Return the mix of a recording, and the warnings."""
    warnings: list[str] = []
    downmix = Downmix(channels, RATE_HZ, warnings.append)
    step = block_frames * channels * 2
    out = b"".join(downmix.feed(pcm[at : at + step]) for at in range(0, len(pcm), step))
    return np.frombuffer(out, "<i2"), warnings


def joined(source: SeparateChannels) -> list[np.ndarray]:
    blocks = list(source)
    return [np.frombuffer(b"".join(each), "<i2") for each in zip(*blocks, strict=True)]


# Mixing.


@pytest.mark.parametrize(
    "channels", [(LEFT, RIGHT), (LEFT, LEFT), (LEFT, SILENCE), (SILENCE, SILENCE), (LEFT,) * 8]
)
def test_ordinary_channels_are_mixed(channels: tuple[np.ndarray, ...]) -> None:
    """Channels that do not cancel each other are mixed in equal parts, without a warning."""
    found, warnings = mixed(interleaved(*channels), len(channels))

    assert np.array_equal(np.rint(np.mean(channels, axis=0)), found)
    assert warnings == []


@pytest.mark.parametrize("block_frames", [160, 1600, RATE_HZ])
def test_inverted_phase(block_frames: int) -> None:
    """If two channels cancel each other, the louder channel is used from the first sample on."""
    quieter = -(LEFT * 0.99).astype("<i2")
    found, warnings = mixed(interleaved(quieter, LEFT), 2, block_frames)

    assert np.array_equal(LEFT, found)
    (warning,) = warnings
    assert "20 dB or more below channel 1" in warning


def test_cancellation_of_less_than_20_db_is_mixed() -> None:
    """Channels are mixed if the mix is less than 20 dB below the louder channel."""
    quieter = -(LEFT * 0.75).astype("<i2")
    found, warnings = mixed(interleaved(LEFT, quieter), 2)

    assert warnings == []
    assert np.abs(found).max() < np.abs(LEFT).max() * 0.13


def test_inverted_part() -> None:
    """The mix is used again when the channels stop canceling each other. There is one warning."""
    parts = [(LEFT, -LEFT), (LEFT, RIGHT)] * 2
    pcm = b"".join(interleaved(*part) for part in parts)
    found, warnings = mixed(pcm, 2)

    assert len(warnings) == 1
    mean = np.rint((LEFT + RIGHT.astype(float)) / 2)
    assert np.array_equal(LEFT, found[:RATE_HZ])
    assert np.array_equal(mean, found[RATE_HZ : 2 * RATE_HZ])
    # In the third second, the channels cancel again. After 0.8 s, only the louder channel is used.
    end = slice(3 * RATE_HZ - RATE_HZ // 5, 3 * RATE_HZ)
    assert np.array_equal(abs(LEFT[-RATE_HZ // 5 :]), abs(found[end]))
    assert np.array_equal(mean, found[3 * RATE_HZ :])


@pytest.mark.parametrize("form", ["file", "chunks", "source"])
def test_warning_is_logged(form: str, caplog: pytest.LogCaptureFixture) -> None:
    """If no client is involved, the warning is logged by the logger of the package."""
    pcm = interleaved(LEFT, -LEFT)
    if form == "file":
        out = b"".join(open_source(wav(LEFT, -LEFT)))
    elif form == "source":
        out = b"".join(WavSource(wav(LEFT, -LEFT)))
    else:
        chunks = AudioInput(RATE_HZ, RATE_HZ, 2)
        out = chunks.feed(pcm[:5001]) + chunks.feed(pcm[5001:]) + chunks.finish()

    assert LEFT.tobytes() == out
    (record,) = caplog.records
    assert ("inworld_sync", logging.WARNING) == (record.name, record.levelno)


# One channel.


@pytest.mark.parametrize("form", ["wav", "raw", "array", "rows", "interleaved"])
def test_select(form: str) -> None:
    """One channel can be selected from a recording in any form."""
    frames = np.stack([LEFT, RIGHT], axis=1)
    settings = {"from_hz": RATE_HZ, "channels": 2}
    audio, settings = {
        "wav": (wav(LEFT, RIGHT), {}),
        "raw": (frames.tobytes(), settings),
        "array": (frames, {"from_hz": RATE_HZ}),
        "rows": (frames.T, {"from_hz": RATE_HZ}),
        "interleaved": (frames.reshape(-1), settings),
    }[form]

    for channel, samples in enumerate((LEFT, RIGHT)):
        assert samples.tobytes() == b"".join(open_source(audio, channel=channel, **settings))


@pytest.mark.parametrize("channel", [2, 7, -1, True, "left", 1.0])
def test_no_such_channel(channel: object) -> None:
    """If a recording does not have the selected channel, the error names the existing channels."""
    with pytest.raises(ConfigError, match=r"channels 0 to 1, got"):
        open_source(wav(LEFT, RIGHT), channel=channel)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"has only channel 0, got"):
        open_source(wav(LEFT), channel=1)


def test_source_has_one_channel() -> None:
    """A WavSource is mono, so selecting a channel raises an error."""
    for open_it in (
        lambda: open_source(WavSource(wav(LEFT, RIGHT)), channel=0),
        lambda: open_separate(WavSource(wav(LEFT, RIGHT)), to_hz=RATE_HZ),
    ):
        with pytest.raises(ConfigError, match="a WavSource has one channel"):
            open_it()


# Separate channels.


@pytest.mark.parametrize("count", [1, 2, 8])
def test_separate(count: int) -> None:
    """Each channel of a file is returned without a change of its samples."""
    channels = [tone(RATE_HZ, 200 + 100 * number) for number in range(count)]
    source = open_separate(wav(*channels), to_hz=RATE_HZ)

    assert count == source.channels
    assert source.duration_ms == 1000.0
    for expected, found in zip(channels, joined(source), strict=True):
        assert np.array_equal(expected, found)


def test_separate_rate() -> None:
    """Separate channels are converted to another rate in the same way as one selected channel."""
    found = joined(open_separate(wav(LEFT, RIGHT), to_hz=8000))

    for channel, samples in enumerate(found):
        assert samples.tobytes() == b"".join(
            open_source(wav(LEFT, RIGHT), to_hz=8000, channel=channel)
        )


@pytest.mark.parametrize("form", ["bytes", "blocks"])
def test_separate_raw(form: str) -> None:
    """Raw samples are read as two channels. A frame may be cut between two blocks."""
    pcm = interleaved(LEFT, RIGHT)
    audio = pcm if form == "bytes" else (pcm[at : at + 999] for at in range(0, len(pcm), 999))
    left, right = joined(open_separate(audio, to_hz=RATE_HZ, from_hz=RATE_HZ))

    assert np.array_equal(LEFT, left)
    assert np.array_equal(RIGHT, right)


def test_separate_raw_format() -> None:
    """Raw samples are read in the format that raw_format declares."""
    pcm = interleaved(LEFT, RIGHT)
    swapped = np.frombuffer(pcm, "<i2").astype(">i2").tobytes()
    source = open_separate(swapped, to_hz=RATE_HZ, from_hz=RATE_HZ, raw_format="s16be")

    assert np.array_equal(RIGHT, joined(source)[1])


def test_separate_arrays() -> None:
    """The second axis of an array has the channels. A one-dimensional array has one channel."""
    for array, count in ((np.stack([LEFT] * 3), 3), (LEFT, 1)):
        source = open_separate(array, to_hz=RATE_HZ, from_hz=RATE_HZ)

        assert count == source.channels
        assert all(np.array_equal(LEFT, each) for each in joined(source))


def test_cut_frame() -> None:
    """A recording that ends inside a frame raises an error."""
    source = iter(open_separate(interleaved(LEFT, RIGHT)[:-2], to_hz=8000, from_hz=RATE_HZ))

    with pytest.raises(AudioError, match="the last sample is cut"):
        list(source)


def test_opened_recording() -> None:
    """A recording that the caller has opened is read with all its channels."""
    recording = open_recording(wav(LEFT, RIGHT))

    assert isinstance(recording, AudioFile)
    assert open_separate(recording, to_hz=RATE_HZ).channels == 2
