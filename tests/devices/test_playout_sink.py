"""
If a playout is used as a sink, its reader gets the written audio, and the count of heard samples
follows the reads.
"""

from __future__ import annotations

import threading

import pytest

from inworld_sync import AudioSink, PlayoutSink
from inworld_sync.audio.mixer import Mixer
from inworld_sync.audio.playout import Playout
from inworld_sync.audio.streams import clock_ns
from inworld_sync.errors import AudioError, ClosedError, ConfigError, DeadlineExceeded

from support.playing import PER_MS, RATE_HZ, counting
from support.sound_card import PATIENCE_S, until


def read(playout: Playout, ms: int) -> bytes:
    """Read *ms* of audio in blocks of 10 ms."""
    out = bytearray(2 * ms * PER_MS)
    for start in range(0, len(out), 20 * PER_MS):
        playout.read(memoryview(out)[start : start + 20 * PER_MS])
    return bytes(out)


@pytest.fixture
def playout() -> Playout:
    return Playout(RATE_HZ, time_scaling=False)


def test_written_audio_is_read(playout: Playout) -> None:
    """Several utterances are read unchanged, one after another, and are counted together."""
    sink = PlayoutSink(playout)
    for start in (0, 500):
        sink.write(counting(start, 500))
        sink.end()
    out = read(playout, 100)

    assert isinstance(sink, AudioSink)
    assert counting(0, 1000) in out
    assert sink.heard_samples == 1000
    assert sink.is_idle


def test_a_clear_is_exact(playout: Playout) -> None:
    """A clear drops the unread audio of all utterances. The count includes the fade."""
    sink = PlayoutSink(playout)
    for start in (0, 1600, 3200):
        sink.write(counting(start, 1600))
        sink.end()
    read(playout, 150)
    heard = sink.clear()
    read(playout, 50)
    sink.write(counting(0, 100))
    sink.end()
    read(playout, 20)

    assert heard == (150 + 5) * PER_MS
    assert sink.heard_samples == heard + 100


def test_a_clear_frees_a_writer(playout: Playout) -> None:
    """A clear ends a write that is waiting, and drops the audio of this write."""
    sink = PlayoutSink(Playout(RATE_HZ, capacity_ms=50))
    thread = threading.Thread(target=sink.write, args=(counting(0, 16000),))
    thread.start()
    until(lambda: not sink.is_idle)
    sink.clear()
    thread.join(PATIENCE_S)

    assert not thread.is_alive()
    assert sink.is_idle
    assert sink.heard_samples == 0


def test_waits_are_bounded(playout: Playout) -> None:
    """Without a reader, write() and drain() raise an error at their timeouts."""
    sink = PlayoutSink(Playout(RATE_HZ, capacity_ms=50))
    with pytest.raises(DeadlineExceeded, match="640 samples of 16000 Hz"):
        sink.write(counting(0, 16000), timeout=0.02)
    with pytest.raises(DeadlineExceeded):
        sink.drain(timeout=0.02)


def test_drain_waits_for_the_reader(playout: Playout) -> None:
    """drain() returns after the last sample was read."""
    sink = PlayoutSink(playout)
    sink.write(counting(0, 800))
    sink.end()  # otherwise the playout may wait for more audio, until the thread calls drain()
    thread = threading.Thread(target=sink.drain)
    thread.start()
    read(playout, 40)
    assert sink.heard_samples == 640
    assert thread.is_alive()
    read(playout, 40)
    thread.join(PATIENCE_S)

    assert not thread.is_alive()


def test_a_pause_is_silence(playout: Playout) -> None:
    """During a pause, the reader gets silence, and no audio is lost."""
    sink = PlayoutSink(playout)
    sink.write(counting(0, 3200))
    sink.end()
    sink.pause()
    read(playout, 50)
    heard = sink.heard_samples
    sink.resume()
    read(playout, 300)

    assert heard <= 10 * PER_MS  # one read may still begin before the pause
    assert sink.heard_samples == 3200


def test_heard_by_a_mixers_track() -> None:
    """With a mixer, the count of heard samples follows the clock of the mixer."""
    playout = Playout(RATE_HZ, output_format="f32")
    mixer = Mixer(RATE_HZ)
    sink = PlayoutSink(playout, track=mixer.add(playout))
    sink.write(counting(0, 800))
    sink.end()
    # This audio will be heard a minute from now.
    mixer.read(bytearray(2 * 800), now_ns=clock_ns() + 60_000_000_000)

    assert sink.heard_samples == 0
    assert not sink.is_idle


def test_heard_after_the_latency(playout: Playout) -> None:
    """A sample counts as heard when the reader has read latency_ms more of audio or silence."""
    sink = PlayoutSink(playout, latency_ms=30)
    sink.write(counting(0, 1600))
    sink.end()
    heard_ms = []
    for _ in range(14):
        read(playout, 10)
        heard_ms.append(sink.heard_samples // PER_MS)

    assert heard_ms == [0, 0, 0, *range(10, 110, 10), 100]
    assert sink.is_idle
    assert sink.clear() == 1600


def test_a_clear_drops_audio_within_the_latency(playout: Playout) -> None:
    """A clear also drops audio that was read but not heard, even of several utterances."""
    sink = PlayoutSink(playout, latency_ms=30)
    for _ in range(2):
        sink.write(counting(0, 1600))
        sink.end()
    read(playout, 110)
    heard = sink.clear()

    assert heard == sink.heard_samples == 80 * PER_MS
    assert sink.is_idle


def test_latency_of_a_track() -> None:
    """A track cannot be combined with a latency. A negative latency raises an error."""
    playout = Playout(RATE_HZ, output_format="f32")
    track = Mixer(RATE_HZ).add(playout)
    with pytest.raises(ConfigError, match="leave out latency_ms=10"):
        PlayoutSink(playout, track=track, latency_ms=10)
    with pytest.raises(ConfigError, match="latency_ms must be 0 to 60000 ms, got -1"):
        PlayoutSink(playout, latency_ms=-1)


def test_many_utterances(playout: Playout) -> None:
    """The count is correct after more utterances than a playout remembers."""
    sink = PlayoutSink(playout)
    for _ in range(1500):
        sink.write(counting(0, 10))
        sink.end()
        playout.read(bytearray(2 * 10))

    assert sink.heard_samples == 15_000


def test_a_playout_that_its_owner_closed(playout: Playout) -> None:
    """If the owner closes the playout, the count stays the same. clear() and close() still work."""
    sink = PlayoutSink(playout)
    sink.write(counting(0, 3200))
    read(playout, 20)
    assert sink.heard_samples == 20 * PER_MS
    playout.close()

    assert sink.clear() == sink.heard_samples == 20 * PER_MS
    assert sink.is_idle
    sink.drain()
    with pytest.raises(ClosedError, match="playout is closed"):
        sink.write(counting(0, 10))
    sink.close()


def test_closing(playout: Playout) -> None:
    """A closed sink accepts no audio. The playout can still be used."""
    with PlayoutSink(playout) as sink:
        sink.write(counting(0, 3200))
        read(playout, 20)
    sink.close()

    assert sink.heard_samples == sink.clear() == 25 * PER_MS
    for call in (lambda: sink.write(b""), sink.drain, sink.end):
        with pytest.raises(ClosedError, match="PlayoutSink is closed"):
            call()
    assert playout.push(counting(0, 10), item="mine")


def test_half_a_sample(playout: Playout) -> None:
    """Audio that ends inside a sample raises an error."""
    with pytest.raises(AudioError, match="the last sample is cut"):
        PlayoutSink(playout).write(b"\0")


@pytest.mark.parametrize("settings", [{"channels": 2}, {"input_format": "f32"}])
def test_playouts_that_do_not_fit(settings: dict[str, object]) -> None:
    """A playout that is not 16-bit mono raises an error."""
    with pytest.raises(ConfigError, match="1 channel and s16 input"):
        PlayoutSink(Playout(RATE_HZ, **settings))
