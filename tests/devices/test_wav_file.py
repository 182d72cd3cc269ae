"""WAV files as sources and as sinks. A written file is always valid."""

from __future__ import annotations

import io
import struct
import threading
import time
import wave
from pathlib import Path

import numpy as np
import pytest

from inworld_sync import AudioSink, AudioSource, WavSink, WavSource
from inworld_sync.devices import null
from inworld_sync.errors import ClosedError

from support.clock import Clock
from support.sound_card import PATIENCE_S

RATE_HZ = 8000

# 100 ms of samples that all differ.
RAMP = struct.pack("<800h", *range(800))


def written(path: Path) -> bytes:
    """Read a file with the standard library, which uses the length in the header."""
    with wave.open(str(path), "rb") as file:
        return file.readframes(file.getnframes())


@pytest.fixture
def ramp(tmp_path: Path) -> Path:
    path = tmp_path / "ramp.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(RAMP)
    return path


def test_a_source_returns_all_samples(ramp: Path) -> None:
    """Blocks have the requested size and all samples in order. The last block may be shorter."""
    with WavSource(ramp, block_ms=30) as source:
        blocks = list(source)

    assert isinstance(source, AudioSource)
    assert RATE_HZ == source.sample_rate_hz
    assert [480, 480, 480, 160] == [len(block) for block in blocks]
    assert b"".join(blocks) == RAMP


def test_a_source_can_be_read_again(ramp: Path) -> None:
    """Every iteration of a source starts at the beginning of the file."""
    source = WavSource(ramp)

    assert list(source) == list(source)


def test_a_paced_source_keeps_time(ramp: Path) -> None:
    """With realtime=True, a block is not returned before a microphone would have recorded it."""
    source = WavSource(ramp, realtime=True, block_ms=10)
    start = time.monotonic()
    heard = 0
    for block in source:
        heard += len(block) // 2
        assert time.monotonic() - start >= heard / RATE_HZ - 0.001

    assert heard == len(RAMP) // 2


def test_closing_ends_an_iteration(tmp_path: Path) -> None:
    """close() ends the wait of another thread for the next block."""
    with WavSink(tmp_path / "long.wav", RATE_HZ) as sink:
        sink.write(bytes(RATE_HZ * 2 * 60))
    source = WavSource(tmp_path / "long.wav", realtime=True, block_ms=1000)
    blocks: list[bytes] = []
    thread = threading.Thread(target=lambda: blocks.extend(source))
    thread.start()
    source.close()
    thread.join(PATIENCE_S)

    assert not thread.is_alive()
    assert len(blocks) < 60


def test_stereo_is_mixed(tmp_path: Path) -> None:
    """The channels of a stereo file are mixed to one channel."""
    path = tmp_path / "stereo.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(np.repeat(np.frombuffer(RAMP, "<i2"), 2).tobytes())

    assert b"".join(WavSource(path)) == RAMP


def test_a_sink_writes_the_file(tmp_path: Path) -> None:
    """Written audio counts as heard at once, and is in the file."""
    path = tmp_path / "out.wav"
    with WavSink(path, RATE_HZ) as sink:
        sink.write(RAMP)
        sink.drain(timeout=0)
        heard = sink.heard_samples

    assert isinstance(sink, AudioSink)
    assert len(RAMP) // 2 == heard == sink.heard_samples
    assert written(path) == RAMP


def test_a_write_without_realtime_never_waits(tmp_path: Path) -> None:
    """Without realtime, a write never waits."""
    path = tmp_path / "out.wav"
    with WavSink(path, RATE_HZ, buffer_ms=10) as sink:
        sink.write(RAMP, timeout=5)

    assert written(path) == RAMP


def test_a_paced_sink_writes_heard_audio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With realtime, the file contains the heard audio only, not the cleared audio."""
    path, clock = tmp_path / "out.wav", Clock()
    monkeypatch.setattr(null, "time", clock)
    with WavSink(path, RATE_HZ, realtime=True) as sink:
        sink.write(RAMP)
        clock.now += 1 / 64
        heard = sink.clear()

    assert 125 == heard
    assert written(path) == RAMP[: 2 * heard]


def test_a_paced_sink_after_a_clear(tmp_path: Path) -> None:
    """Audio that is written after a clear follows the audio that was heard before the clear."""
    path = tmp_path / "out.wav"
    with WavSink(path, RATE_HZ, realtime=True) as sink:
        sink.write(RAMP)
        heard = sink.clear()
        sink.write(RAMP[-160:])
        sink.drain(timeout=PATIENCE_S)

    assert written(path) == RAMP[: 2 * heard] + RAMP[-160:]


def test_an_exception_leaves_a_partial_file(tmp_path: Path) -> None:
    """After an exception, a partial file contains the audio, and no other file exists."""
    path = tmp_path / "out.wav"

    with pytest.raises(RuntimeError), WavSink(path, RATE_HZ) as sink:
        sink.write(RAMP)
        raise RuntimeError

    assert sink.partial_path is not None
    assert [sink.partial_path] == list(tmp_path.iterdir())
    assert written(sink.partial_path) == RAMP


def test_a_closed_sink_refuses_sound() -> None:
    """A closed sink accepts no audio. A second close() does nothing."""
    target = io.BytesIO()
    sink = WavSink(target, RATE_HZ)
    sink.close()
    sink.close()

    with pytest.raises(ClosedError):
        sink.write(RAMP)
