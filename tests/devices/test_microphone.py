"""A microphone returns each recorded sample once. A paused or muted microphone records silence."""

from __future__ import annotations

import math
import struct
import threading

import numpy as np
import pytest

from inworld_sync import AudioSource, DeviceChanged, Microphone, Speaker
from inworld_sync.errors import ClosedError, ConfigError, DeadlineExceeded, DeviceError

from support.sound_card import PATIENCE_S, SoundCard, until

RATE_HZ = 16000


def ramp(milliseconds: int) -> bytes:
    """Return samples that are not zero and differ from their neighbors."""
    count = RATE_HZ * milliseconds // 1000
    return struct.pack(f"<{count}h", *(1 + index % 30000 for index in range(count)))


def captured(microphone: Microphone) -> int:
    return microphone._ring.stats.captured_samples


def read_at_least(microphone: Microphone, milliseconds: int) -> bytes:
    """Read blocks until they have at least this duration."""
    pcm = b""
    while len(pcm) < RATE_HZ * milliseconds // 1000 * 2:
        pcm += microphone.read(timeout=PATIENCE_S)
    return pcm


def test_returns_every_sample(sound_card: SoundCard) -> None:
    """Recorded audio is returned in blocks of one size, in order and complete."""
    sound_card.microphone = ramp(200)
    with Microphone(RATE_HZ, block_ms=30) as microphone:
        blocks = [block for block, _ in zip(microphone, range(7), strict=False)]
        dropped = microphone.dropped_samples

    assert isinstance(microphone, AudioSource)
    assert {RATE_HZ * 30 // 1000 * 2} == {len(block) for block in blocks}
    assert ramp(200) + bytes(2 * 160) == b"".join(blocks)
    assert dropped == 0


def test_converts_another_rate(sound_card: SoundCard) -> None:
    """A device that does not support the rate is opened at its own rate. The audio is converted."""
    sound_card.unplug("built-in")
    sound_card.plug_in("studio", rates=(48000,))
    tone = 8000 * np.sin(np.arange(48000 // 2) * 2 * np.pi * 400 / 48000)
    sound_card.microphone = tone.astype("<i2").tobytes()
    with Microphone(RATE_HZ) as microphone:
        pcm = np.frombuffer(read_at_least(microphone, 400), "<i2").astype(float)

    peak_hz = np.abs(np.fft.rfft(pcm)).argmax() * RATE_HZ / len(pcm)
    assert 400 == pytest.approx(peak_hz, abs=3)
    assert 8000 == pytest.approx(np.abs(pcm).max(), rel=0.02)


def test_mixes_a_stereo_device(sound_card: SoundCard) -> None:
    """The channels of a stereo device are mixed in equal parts."""
    sound_card.unplug("built-in")
    sound_card.plug_in("stereo", channels=(2, 2))
    sound_card.microphone = struct.pack("<4000h", *(100, 300) * 2000)
    with Microphone(RATE_HZ) as microphone:
        pcm = read_at_least(microphone, 100)

    assert struct.pack("<1600h", *[200] * 1600) == pcm


def test_a_pause_is_silence(sound_card: SoundCard) -> None:
    """During a pause, silence is recorded. The audio before and after the pause is recorded."""
    sound_card.microphone = ramp(60_000)
    with Microphone(RATE_HZ) as microphone:
        until(lambda: captured(microphone) > 800)
        microphone.pause()
        # The device may be recording a block at this time.
        begin = captured(microphone) + 80
        until(lambda: captured(microphone) > begin + 800)
        microphone.resume()
        end = captured(microphone)
        until(lambda: captured(microphone) > end + 800)
        pcm = np.frombuffer(read_at_least(microphone, captured(microphone) // 16 - 20), "<i2")

    assert pcm[:800].all()
    assert not pcm[begin:end].any()
    assert pcm[end + 80 :].all()


def test_unread_samples_are_counted(sound_card: SoundCard) -> None:
    """A reader that is too late gets the oldest samples. dropped_samples counts lost samples."""
    sound_card.microphone = ramp(60_000)
    with Microphone(RATE_HZ, buffer_ms=100) as microphone:
        until(lambda: microphone.dropped_samples > 100)
        pcm = read_at_least(microphone, 100)

    assert ramp(60_000).startswith(pcm)


def test_waiting_is_bounded(sound_card: SoundCard) -> None:
    """A read raises an error at its timeout. The next read returns the block."""
    sound_card.microphone = ramp(1000)
    with Microphone(RATE_HZ, block_ms=100) as microphone:
        with pytest.raises(DeadlineExceeded):
            microphone.read(timeout=0)

        assert ramp(100) == microphone.read(timeout=PATIENCE_S)


def test_close_ends_the_iteration(sound_card: SoundCard) -> None:
    """close() ends the wait of another thread for a block."""
    microphone = Microphone(RATE_HZ, block_ms=1000)
    thread = threading.Thread(target=lambda: list(microphone))
    thread.start()
    microphone.close()
    microphone.close()
    thread.join(PATIENCE_S)

    assert not thread.is_alive()
    assert not sound_card.streams[0].active
    with pytest.raises(ClosedError):
        microphone.read()


def test_is_muted_while_the_speaker_plays(sound_card: SoundCard) -> None:
    """Silence is recorded while the speaker of mute_while plays. Audio is recorded after that."""
    sound_card.microphone = ramp(60_000)
    with (
        Speaker(24000, buffer_ms=30_000) as speaker,
        # On a busy machine, the simulated speaker may play nothing for a moment.
        Microphone(RATE_HZ, mute_while=speaker, hangover_ms=1000) as microphone,
    ):
        before = read_at_least(microphone, 20)
        speaker.write(bytes([1, 0]) * 24000 * 30)
        until(lambda: speaker.heard_samples > 100)
        while microphone._ring.stats.waiting_samples > 320:
            read_at_least(microphone, 20)
        during = read_at_least(microphone, 40)[-640:]
        speaker.clear()
        until(lambda: microphone.read(timeout=PATIENCE_S)[-2:] != bytes(2))

    assert before == ramp(20)
    assert during == bytes(640)


def test_continues_on_the_new_default(sound_card: SoundCard) -> None:
    """If the device is unplugged, the new default device records, and on_change is called."""
    sound_card.microphone = ramp(60_000)
    sound_card.plug_in("headset")
    sound_card.look()
    changes: list[DeviceChanged] = []
    with Microphone(RATE_HZ, on_change=changes.append) as microphone:
        read_at_least(microphone, 40)
        sound_card.unplug("headset")
        read_at_least(microphone, 400)
        device = microphone.device.name

    assert device == "built-in"
    assert [("input", "headset", "built-in")] == [
        (change.kind, change.old.name, change.new.name) for change in changes
    ]


def test_stays_paused_after_a_device_change(sound_card: SoundCard) -> None:
    """A paused microphone stays paused after a change of devices."""
    sound_card.microphone = ramp(60_000)
    sound_card.plug_in("headset")
    sound_card.look()
    with Microphone(RATE_HZ) as microphone:
        microphone.pause()
        read_at_least(microphone, 60)
        sound_card.unplug("headset")
        silent = read_at_least(microphone, 400)

    assert microphone.paused
    assert silent == bytes(len(silent))


def test_the_last_device_is_unplugged(sound_card: SoundCard) -> None:
    """If no device can be opened in time, the iteration raises an error."""
    with Microphone(RATE_HZ, reopen_timeout=0.3) as microphone:
        sound_card.unplug("built-in")

        with pytest.raises(DeviceError):
            list(microphone)


def test_a_device_that_is_plugged_in_again(sound_card: SoundCard) -> None:
    """While there is no device, silence is recorded. Then the device records again."""
    sound_card.microphone = ramp(60_000)
    changes: list[DeviceChanged] = []
    with Microphone(RATE_HZ, device="built-in", on_change=changes.append) as microphone:
        read_at_least(microphone, 40)
        sound_card.unplug("built-in")
        silent = read_at_least(microphone, 400)
        assert changes == []
        sound_card.plug_in("built-in")
        while not changes:
            microphone.read(timeout=PATIENCE_S)
        again = read_at_least(microphone, 100)

    assert silent.endswith(bytes(RATE_HZ // 10))
    assert again[-2:] != bytes(2)
    assert len(changes) == 1
    assert changes[0].lost_ms >= 300


# Settings that are too low, too high or of a wrong type.
BAD = [
    {"sample_rate_hz": 7999},
    {"block_ms": 4},
    {"latency_ms": 0},
    {"buffer_ms": 99},
    {"hangover_ms": -1},
    {"hangover_ms": math.inf},
    {"block_ms": "20"},
    {"device": b"built-in"},
    {"mute_while": "speaker"},
    {"reopen_timeout": -1},
    {"on_change": 5},
]


@pytest.mark.parametrize("arguments", BAD)
def test_settings_have_ranges(sound_card: SoundCard, arguments: dict[str, int]) -> None:
    """A setting out of range raises an error before a device is opened."""
    with pytest.raises(ConfigError, match=next(iter(arguments))):
        Microphone(**arguments)

    assert sound_card.streams == []


def test_clipping(sound_card: SoundCard) -> None:
    """The level shows whether a sample has full scale."""
    sound_card.microphone = struct.pack("<h", 32766) * (RATE_HZ * 60)
    with Microphone(RATE_HZ) as microphone:
        until(lambda: microphone.level(window_ms=20).peak > 0)
        assert not microphone.level(window_ms=20).is_clipped
        sound_card.microphone = struct.pack("<h", 32767) * (RATE_HZ * 60)
        until(lambda: microphone.level(window_ms=20).is_clipped)


def test_level_of_recorded_audio(sound_card: SoundCard) -> None:
    """The level includes dropped audio. During a pause, the level is zero."""
    sound_card.microphone = struct.pack("<h", -16384) * (RATE_HZ * 60)
    with Microphone(RATE_HZ, buffer_ms=100) as microphone:
        until(lambda: microphone.dropped_samples)
        until(lambda: microphone.level(window_ms=20).rms == 0.5)
        microphone.pause()
        until(lambda: microphone.level(window_ms=20).peak == 0)
