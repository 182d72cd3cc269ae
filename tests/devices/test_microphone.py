"""A microphone returns every sample once, silence while paused, and no audio of a speaker."""

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


def take(microphone: Microphone, milliseconds: int) -> bytes:
    """Read that many samples from now on."""
    pcm = b""
    while len(pcm) < RATE_HZ * milliseconds // 1000 * 2:
        pcm += microphone.read(timeout=PATIENCE_S)
    return pcm


def test_gives_every_sample(sound_card: SoundCard) -> None:
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
    """A device that does not support the rate is opened at its own, and the audio is converted."""
    sound_card.unplug("built-in")
    sound_card.plug_in("studio", rates=(48000,))
    tone = 8000 * np.sin(np.arange(48000 // 2) * 2 * np.pi * 400 / 48000)
    sound_card.microphone = tone.astype("<i2").tobytes()
    with Microphone(RATE_HZ) as microphone:
        pcm = np.frombuffer(take(microphone, 400), "<i2").astype(float)

    peak_hz = np.abs(np.fft.rfft(pcm)).argmax() * RATE_HZ / len(pcm)
    assert 400 == pytest.approx(peak_hz, abs=3)
    assert 8000 == pytest.approx(np.abs(pcm).max(), rel=0.02)


def test_mixes_a_stereo_device(sound_card: SoundCard) -> None:
    """The channels of a stereo device are mixed in equal parts."""
    sound_card.unplug("built-in")
    sound_card.plug_in("stereo", channels=(2, 2))
    sound_card.microphone = struct.pack("<4000h", *(100, 300) * 2000)
    with Microphone(RATE_HZ) as microphone:
        pcm = take(microphone, 100)

    assert struct.pack("<1600h", *[200] * 1600) == pcm


def test_a_pause_is_silence(sound_card: SoundCard) -> None:
    """A pause records silence; the audio before and after it is recorded."""
    sound_card.microphone = ramp(60_000)
    with Microphone(RATE_HZ) as microphone:
        until(lambda: captured(microphone) > 800)
        microphone.pause()
        # The device may be recording a block.
        begin = captured(microphone) + 80
        until(lambda: captured(microphone) > begin + 800)
        microphone.resume()
        end = captured(microphone)
        until(lambda: captured(microphone) > end + 800)
        pcm = np.frombuffer(take(microphone, captured(microphone) // 16 - 20), "<i2")

    assert pcm[:800].all()
    assert not pcm[begin:end].any()
    assert pcm[end + 80 :].all()


def test_what_nobody_reads_is_counted(sound_card: SoundCard) -> None:
    """A late reader gets the first samples, and dropped_samples counts the others."""
    sound_card.microphone = ramp(60_000)
    with Microphone(RATE_HZ, buffer_ms=100) as microphone:
        until(lambda: microphone.dropped_samples > 100)
        pcm = take(microphone, 100)

    assert ramp(60_000).startswith(pcm)


def test_waiting_is_bounded(sound_card: SoundCard) -> None:
    """A read raises at its timeout, and the next read returns the block."""
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


def test_does_not_hear_the_speaker(sound_card: SoundCard) -> None:
    """Silence is recorded while the speaker of mute_while plays, and audio after it."""
    sound_card.microphone = ramp(60_000)
    with (
        Speaker(24000) as speaker,
        Microphone(RATE_HZ, mute_while=speaker, hangover_ms=0) as microphone,
    ):
        before = take(microphone, 20)
        speaker.write(bytes([1, 0]) * 24000)
        until(lambda: speaker.heard_samples > 100)
        while microphone._ring.stats.waiting_samples > 320:
            take(microphone, 20)
        during = take(microphone, 40)[-640:]
        speaker.clear()
        after = take(microphone, 400)

    assert before == ramp(20)
    assert during == bytes(640)
    assert after[-2:] != bytes(2)


def test_goes_on_with_the_new_default(sound_card: SoundCard) -> None:
    """If the device is unplugged, the next one records and on_change is called."""
    sound_card.microphone = ramp(60_000)
    sound_card.plug_in("headset")
    sound_card.look()
    changes: list[DeviceChanged] = []
    with Microphone(RATE_HZ, on_change=changes.append) as microphone:
        take(microphone, 40)
        sound_card.unplug("headset")
        take(microphone, 400)
        device = microphone.device.name

    assert device == "built-in"
    assert [("input", "headset", "built-in")] == [
        (change.kind, change.old.name, change.new.name) for change in changes
    ]


def test_a_pause_outlives_the_device(sound_card: SoundCard) -> None:
    """A paused microphone stays paused after a change of devices."""
    sound_card.microphone = ramp(60_000)
    sound_card.plug_in("headset")
    sound_card.look()
    with Microphone(RATE_HZ) as microphone:
        microphone.pause()
        take(microphone, 60)
        sound_card.unplug("headset")
        silent = take(microphone, 400)

    assert microphone.paused
    assert silent == bytes(len(silent))


def test_the_last_device_goes(sound_card: SoundCard) -> None:
    """If there is no other device, the iteration raises an error."""
    with Microphone(RATE_HZ) as microphone:
        sound_card.unplug("built-in")

        with pytest.raises(DeviceError):
            list(microphone)


# Below and above the range.
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
    {"on_change": 5},
]


@pytest.mark.parametrize("arguments", BAD)
def test_settings_have_ranges(sound_card: SoundCard, arguments: dict[str, int]) -> None:
    """A setting out of range raises an error before a device is opened."""
    with pytest.raises(ConfigError, match=next(iter(arguments))):
        Microphone(**arguments)

    assert sound_card.streams == []


def test_level_of_what_is_heard(sound_card: SoundCard) -> None:
    """The meter measures recorded audio, also unread and lost audio, and silence in a pause."""
    sound_card.microphone = struct.pack("<h", -16384) * (RATE_HZ * 60)
    with Microphone(RATE_HZ, buffer_ms=100) as microphone:
        until(lambda: microphone.dropped_samples)
        until(lambda: microphone.level(window_ms=20).rms == 0.5)
        microphone.pause()
        until(lambda: microphone.level(window_ms=20).peak == 0)
