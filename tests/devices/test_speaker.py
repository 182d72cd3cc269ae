"""A speaker plays every sample, counts the heard samples, and changes devices."""

from __future__ import annotations

import math
import struct
import threading
import time

import numpy as np
import pytest

from inworld_sync import AudioSink, DeviceChanged, Speaker
from inworld_sync.errors import (
    AudioError,
    ClosedError,
    ConfigError,
    DeadlineExceeded,
    DeviceError,
    InworldError,
)

from support.sound_card import LATENCY_S, PATIENCE_S, SoundCard, until

RATE_HZ = 24000


def ramp(milliseconds: int) -> bytes:
    """Return samples that are not zero and differ from their neighbors."""
    count = RATE_HZ * milliseconds // 1000
    return struct.pack(f"<{count}h", *(1 + index % 30000 for index in range(count)))


def sounding(pcm: bytes) -> bytes:
    """Return the samples without the silence around them."""
    return np.trim_zeros(np.frombuffer(pcm, "<i2")).tobytes()


def wait_until_heard(speaker: Speaker, samples: int) -> None:
    until(lambda: speaker.heard_samples >= samples)


def test_plays_to_the_sample(sound_card: SoundCard) -> None:
    """The device plays exactly the written audio, for any sizes of the writes."""
    with Speaker(RATE_HZ) as speaker:
        pcm = ramp(400)
        for start in range(0, len(pcm), 1000):
            speaker.write(pcm[start : start + 1000])
        speaker.drain(timeout=PATIENCE_S)

    assert isinstance(speaker, AudioSink)
    assert pcm == sounding(sound_card.played)
    assert len(pcm) // 2 == speaker.heard_samples


def test_a_short_sound_starts_at_once(sound_card: SoundCard) -> None:
    """A complete short sound is played at once, without waiting for more audio."""
    with Speaker(RATE_HZ) as speaker:
        speaker.write(ramp(5))
        speaker.end()
        until(lambda: speaker.heard_samples == RATE_HZ * 5 // 1000)

    assert ramp(5) == sounding(sound_card.played)


def test_audio_is_counted_when_it_is_heard(sound_card: SoundCard) -> None:
    """A sample is not counted as heard before the time at which the device plays it."""
    with Speaker(RATE_HZ) as speaker:
        speaker.write(ramp(300))
        speaker.end()
        seen = {0: 0.0}
        while RATE_HZ * 300 // 1000 not in seen:
            heard = speaker.heard_samples
            seen.setdefault(heard, time.monotonic())

    blocks = sound_card.streams[0].blocks
    counts = np.cumsum([np.count_nonzero(np.frombuffer(block.pcm, "<i2")) for block in blocks])
    for heard, moment in seen.items():
        # After the first frame of a block, all samples of the block are allowed in the count.
        due = [
            int(count)
            for block, count in zip(blocks, counts, strict=True)
            if block.heard_at <= moment
        ]
        assert heard <= (due[-1] if due else 0)


def test_several_sounds_follow_one_another(sound_card: SoundCard) -> None:
    """If new audio is written while old audio plays, the new audio follows the old audio."""
    with Speaker(RATE_HZ) as speaker:
        for _ in range(3):
            speaker.write(ramp(50))
            speaker.end()
        speaker.drain(timeout=PATIENCE_S)

    played = np.frombuffer(sounding(sound_card.played), "<i2")
    assert ramp(50) * 3 == played[played != 0].tobytes()


def test_an_interruption_is_exact(sound_card: SoundCard) -> None:
    """A clear returns exactly how much the device has played, including the fade."""
    with Speaker(RATE_HZ) as speaker:
        total = 0
        for pause_samples in (1, 500, 777, 2400, 3001):
            speaker.write(ramp(500))
            wait_until_heard(speaker, total + pause_samples)
            total = speaker.clear()
            assert total == speaker.heard_samples
            sound_card.streams[0].play_on(5)

            assert total == speaker._track.taken_frames == speaker.heard_samples


def test_a_clear_drops_the_audio_of_a_waiting_write(sound_card: SoundCard) -> None:
    """A clear ends a write that is waiting. The audio of this write is not played later."""
    with Speaker(RATE_HZ, buffer_ms=100) as speaker:
        speaker.pause()
        thread = threading.Thread(target=speaker.write, args=(ramp(1000),))
        thread.start()
        until(lambda: speaker._written_frames)
        speaker.clear()
        thread.join(PATIENCE_S)
        speaker.resume()

        speaker.drain(timeout=0)
        assert not thread.is_alive()
        assert speaker.heard_samples == 0


def test_a_pause_loses_nothing(sound_card: SoundCard) -> None:
    """A pause is silent. No sample is lost, and the count of heard samples does not increase."""
    with Speaker(RATE_HZ) as speaker:
        speaker.write(ramp(1000))
        speaker.end()
        until(lambda: speaker.heard_samples > 1000)
        speaker.pause()
        # The device still plays the blocks that were filled before the pause.
        sound_card.streams[0].play_on(2)
        until(lambda: speaker.heard_samples == speaker._track.taken_frames)
        heard = speaker.heard_samples
        sound_card.streams[0].play_on(10)

        assert heard == speaker.heard_samples < RATE_HZ
        speaker.resume()
        speaker.drain(timeout=PATIENCE_S)
        assert RATE_HZ == speaker.heard_samples


def test_an_interruption_in_a_pause_is_exact(sound_card: SoundCard) -> None:
    """Audio that is cleared during a pause is not played after the pause, and is not counted."""
    with Speaker(RATE_HZ) as speaker:
        speaker.write(ramp(500))
        wait_until_heard(speaker, 2000)
        speaker.pause()
        sound_card.streams[0].play_on(5)
        total = speaker.clear()
        speaker.resume()
        speaker.write(ramp(50))
        speaker.drain(timeout=PATIENCE_S)

        assert total + RATE_HZ * 50 // 1000 == speaker.heard_samples
        assert speaker._track.taken_frames == speaker.heard_samples


def test_a_write_raises_at_its_deadline(sound_card: SoundCard) -> None:
    """A write raises an error at its timeout if the device plays nothing."""
    with Speaker(RATE_HZ, buffer_ms=100) as speaker:
        speaker.pause()
        with pytest.raises(DeadlineExceeded):
            speaker.write(ramp(500), timeout=0.02)
        with pytest.raises(DeadlineExceeded):
            speaker.drain(timeout=0.02)


def test_close_ends_every_wait(sound_card: SoundCard) -> None:
    """close() may be called at any time. A write that is waiting then raises an error."""
    speaker = Speaker(RATE_HZ, buffer_ms=100)
    speaker.pause()
    errors: list[InworldError] = []

    def write() -> None:
        try:
            speaker.write(ramp(1000))
        except InworldError as error:
            errors.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    until(lambda: speaker._written_frames)
    speaker.close()
    speaker.close()
    thread.join(PATIENCE_S)

    assert [ClosedError] == [type(error) for error in errors]
    assert not sound_card.streams[0].active
    with pytest.raises(ClosedError):
        speaker.write(b"")


def test_the_device_stops_when_the_speaker_is_garbage_collected(sound_card: SoundCard) -> None:
    """If no reference to a speaker is left, its device is closed."""
    speaker = Speaker(RATE_HZ)
    speaker.write(ramp(100))
    del speaker

    # Another thread may still have a reference to the speaker.
    until(lambda: not sound_card.streams[0].active)


def test_half_a_sample_is_refused(sound_card: SoundCard) -> None:
    """Audio that ends inside a sample raises an error."""
    with Speaker(RATE_HZ) as speaker, pytest.raises(AudioError):
        speaker.write(b"\0")


# ---- formats of the device -------------------------------------------------------------------


def test_opens_the_device_as_requested(sound_card: SoundCard) -> None:
    """The device is opened with the requested rate and latency, with one channel and 16 bits."""
    with Speaker(RATE_HZ, latency_ms=35):
        settings = sound_card.streams[0].settings

    assert (RATE_HZ, 1, "int16", 0.035) == tuple(
        settings[name] for name in ("samplerate", "channels", "dtype", "latency")
    )


def test_another_rate_is_converted(sound_card: SoundCard) -> None:
    """Audio is converted if the device needs another rate. Counts still use the rate of write()."""
    sound_card.unplug("built-in")
    sound_card.plug_in("studio", rates=(48000,))
    with Speaker(16000) as speaker:
        tone = (8000 * np.sin(np.arange(8000) * 2 * np.pi * 400 / 16000)).astype("<i2")
        speaker.write(tone.tobytes())
        speaker.drain(timeout=PATIENCE_S)

    played = np.frombuffer(sound_card.played, "<i2").astype(float)
    spectrum = np.abs(np.fft.rfft(played))
    peak_hz = spectrum.argmax() * 48000 / len(played)
    assert 8000 == speaker.heard_samples
    assert 400 == pytest.approx(peak_hz, abs=4)
    assert 0.5 == pytest.approx(np.count_nonzero(np.abs(played) > 3) / 48000, abs=0.01)


def test_clear_counts_at_the_rate_of_write(sound_card: SoundCard) -> None:
    """If the audio is converted, clear() still returns samples at the rate of write()."""
    sound_card.unplug("built-in")
    sound_card.plug_in("studio", rates=(48000,))
    with Speaker(16000) as speaker:
        speaker.write(bytes(2 * 16000))
        until(lambda: speaker.heard_samples > 1600)
        heard = speaker.clear()

        until(lambda: speaker._track.taken_frames == speaker._written_frames)
        assert heard == pytest.approx(speaker._track.taken_frames / 3, abs=1)


def test_device_that_needs_two_channels(sound_card: SoundCard) -> None:
    """A device that needs two channels plays the same audio on both channels."""
    sound_card.unplug("built-in")
    sound_card.plug_in("stereo", channels=(2, 2))
    with Speaker(RATE_HZ) as speaker:
        speaker.write(ramp(50))
        speaker.drain(timeout=PATIENCE_S)

    played = np.frombuffer(sounding(sound_card.played), "<i2").reshape(-1, 2)
    assert ramp(50) == played[:, 0].tobytes() == played[:, 1].tobytes()


def test_a_device_that_supports_no_rate_is_named(sound_card: SoundCard) -> None:
    """If no rate is supported, the error names the device and the rates that were tried."""
    sound_card.unplug("built-in")
    sound_card.plug_in("odd", rates=(11025,), channels=(5, 5))

    with pytest.raises(DeviceError, match=r"'odd' .*24000 Hz, 11025 Hz, 48000 Hz, 44100 Hz"):
        Speaker(RATE_HZ)


def test_windows_is_played_by_wasapi(sound_card: SoundCard) -> None:
    """If the system has WASAPI, the default is the WASAPI device, and WASAPI converts the rate."""
    sound_card.host_api = "Windows WASAPI"
    with Speaker(RATE_HZ) as speaker:
        settings = sound_card.streams[0].settings

    assert speaker.device.host_api == "Windows WASAPI"
    assert settings["extra_settings"] == {"auto_convert": True}


# Settings that are too low, too high or of a wrong type.
BAD = [
    {"sample_rate_hz": 7999},
    {"sample_rate_hz": 48001},
    {"latency_ms": 0},
    {"latency_ms": 1001},
    {"latency_ms": math.nan},
    {"buffer_ms": 99},
    {"buffer_ms": 100.5},
    {"device": ["built-in"]},
    {"device": True},
    {"on_change": "print"},
]


@pytest.mark.parametrize("arguments", BAD)
def test_settings_have_ranges(sound_card: SoundCard, arguments: dict[str, int]) -> None:
    """A setting out of range raises an error before a device is opened."""
    with pytest.raises(ConfigError, match=next(iter(arguments))):
        Speaker(**arguments)

    assert sound_card.streams == []


# ---- devices that are connected and disconnected ---------------------------------------------


def test_continues_on_the_new_default(sound_card: SoundCard) -> None:
    """If the device is unplugged, the new default device plays the rest. on_change is called."""
    sound_card.plug_in("headset")
    sound_card.look()
    changes: list[DeviceChanged] = []
    with Speaker(RATE_HZ, on_change=changes.append) as speaker:
        pcm = ramp(500)
        speaker.write(pcm)
        until(lambda: speaker.heard_samples > 1000)
        sound_card.unplug("headset")
        speaker.drain(timeout=PATIENCE_S)
        device = speaker.device.name
        heard = speaker.heard_samples

    played = np.frombuffer(sound_card.played, "<i2")
    assert pcm == played[played != 0].tobytes()
    assert len(pcm) // 2 == heard
    assert device == "built-in"
    assert [("output", "headset", "built-in")] == [
        (change.kind, change.old.name, change.new.name) for change in changes
    ]
    assert 0 <= changes[0].lost_ms <= LATENCY_S * 1000 + 10


def test_a_named_device_is_not_replaced(sound_card: SoundCard) -> None:
    """If a device that was chosen by name is lost, an error is raised. No other device plays."""
    sound_card.plug_in("headset")
    sound_card.look()
    with Speaker(RATE_HZ, device="headset") as speaker:
        speaker.write(ramp(500))
        sound_card.unplug("headset")

        with pytest.raises(DeviceError, match="was lost"):
            speaker.drain(timeout=PATIENCE_S)


def test_a_device_that_is_connected_again(sound_card: SoundCard) -> None:
    """If a lost device is connected again, the next write opens this device again."""
    sound_card.plug_in("headset")
    sound_card.look()
    with Speaker(RATE_HZ, device="headset", buffer_ms=100) as speaker:
        speaker.write(ramp(50))
        sound_card.unplug("headset")
        with pytest.raises(DeviceError):
            speaker.drain(timeout=PATIENCE_S)
        sound_card.plug_in("headset")
        speaker.write(ramp(100))
        speaker.drain(timeout=PATIENCE_S)

        assert RATE_HZ * 150 // 1000 == speaker.heard_samples


def test_the_last_device_is_unplugged(sound_card: SoundCard) -> None:
    """If there is no other device, an error is raised, and no call hangs."""
    with Speaker(RATE_HZ) as speaker:
        speaker.write(ramp(100))
        sound_card.unplug("built-in")

        with pytest.raises(DeviceError):
            speaker.drain(timeout=PATIENCE_S)


def test_a_device_that_stops_calling_is_reopened(
    sound_card: SoundCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device whose callbacks stop is opened again."""
    monkeypatch.setattr("inworld_sync.devices.portaudio._SILENT_SECONDS", 0.1)
    changes: list[DeviceChanged] = []
    with Speaker(RATE_HZ, on_change=changes.append) as speaker:
        speaker.write(ramp(100))
        sound_card.streams[0].stuck = True
        speaker.drain(timeout=PATIENCE_S)

    assert len(changes) == 1
    assert len(sound_card.streams) == 2


def test_on_change_may_use_the_speaker(sound_card: SoundCard) -> None:
    """The handler on_change may use the speaker, because the handler is called without a lock."""
    sound_card.plug_in("headset")
    sound_card.look()
    seen: list[int] = []
    speaker = Speaker(RATE_HZ, on_change=lambda _: thread.start() or thread.join(PATIENCE_S))
    thread = threading.Thread(target=lambda: seen.append(speaker.clear()))
    with speaker:
        speaker.write(ramp(500))
        sound_card.unplug("headset")
        speaker.drain(timeout=PATIENCE_S)

    assert len(seen) == 1
