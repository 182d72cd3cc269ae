"""A microphone removes the sound of a speaker at any sample rates, even after device changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from inworld_sync import Microphone, NullSpeaker, Speaker
from inworld_sync._native import ffi, lib
from inworld_sync.audio.echo.canceller import EchoSettings
from inworld_sync.audio.mixer import Mixer
from inworld_sync.audio.playout import Playout
from inworld_sync.audio.streams import MicrophoneRing, SoundGate, SpeakerFeed
from inworld_sync.audio.taps import SampleTap
from inworld_sync.devices import echo as echo_module, recorded
from inworld_sync.devices.echo import remove_echo
from inworld_sync.devices.recorded import ProcessedAudio
from inworld_sync.errors import ClosedError, ConfigError, DeviceError

from support.room import babble, removed_db
from support.sound_card import PATIENCE_S, SoundCard, until

pytestmark = pytest.mark.usefixtures("audio_processing")

RATE_HZ = 16000
PLAYED_HZ = 24000
START_NS = 10**10
LATENCY_NS = 60_000_000


def test_removes_what_a_speaker_plays(monkeypatch: pytest.MonkeyPatch) -> None:
    """The callbacks of both devices provide the audio and the times that the canceller needs."""
    seconds = 5
    wave = babble(seconds, PLAYED_HZ, 1).astype("<i2")
    playout = Playout(PLAYED_HZ, output_format="f32", capacity_ms=10_000)
    mixer = Mixer(PLAYED_HZ)
    mixer.add(playout)
    assert playout.push(wave.tobytes(), item=1, end=True)
    feed = SpeakerFeed(mixer, SoundGate(), channels=1, latency_ms=60, warm_up_ms=0)
    tap = SampleTap(10 * PLAYED_HZ)
    feed.tap(tap)
    ring = MicrophoneRing(RATE_HZ)
    audio = ProcessedAudio(ring, RATE_HZ, RATE_HZ, EchoSettings(), tap, PLAYED_HZ)
    # In the room, the echo is 25 ms later and quieter than the played audio.
    played = np.concatenate((np.zeros(PLAYED_HZ * 25 // 1000), wave)).astype(float)
    echo = np.interp(np.arange(seconds * RATE_HZ) * 1.5, np.arange(len(played)), 0.4 * played)
    echo = echo.astype("<i2")
    out = ffi.new("uint8_t[]", 2 * 480)
    cleaned = bytearray()
    for at_ms in range(0, seconds * 1000, 10):
        heard_ns = START_NS + at_ms * 1_000_000
        if at_ms % 20 == 0:
            lib.iw_speaker_play(feed._core, out, 480, LATENCY_NS, heard_ns - LATENCY_NS)
        # The device delivers the audio 90 ms after it was captured.
        captured_ms = at_ms - 90
        if captured_ms >= 0:
            block = echo[captured_ms * 16 :][:160]
            captured_ns = START_NS + captured_ms * 1_000_000
            lib.iw_microphone_record(
                ring._core, block.tobytes(), 160, 0, captured_ns, heard_ns - LATENCY_NS
            )
        monkeypatch.setattr(recorded, "clock_ns", lambda now=heard_ns - LATENCY_NS: now)
        cleaned += audio.read(320)
    result = np.frombuffer(bytes(cleaned), "<i2")

    assert len(result) >= (seconds * 1000 - 90 - 60) * 16
    assert removed_db(echo, result, 1.5, 4.5) > 30
    assert audio.canceller.stats.skew_ppm == pytest.approx(0, abs=5)


def read(microphone: Microphone, milliseconds: int) -> bytes:
    size = microphone.sample_rate_hz * milliseconds // 1000 * 2
    pcm = b""
    while len(pcm) < size:
        pcm += microphone.read(timeout=PATIENCE_S)
    return pcm


@pytest.mark.parametrize(("speaker_hz", "microphone_hz"), [(24000, 16000), (44100, 24000)])
def test_different_rates(sound_card: SoundCard, speaker_hz: int, microphone_hz: int) -> None:
    """The speaker and the microphone may have different sample rates."""
    sound_card.microphone = b"\x64\x00\x00\x00" * 60_000
    with Speaker(speaker_hz) as speaker, Microphone(microphone_hz, echo=speaker) as microphone:
        assert microphone.removes_echo
        speaker.write(babble(0.5, speaker_hz, 1).astype("<i2"))
        read(microphone, 500)
        stats = microphone.echo_stats

    assert stats is not None
    assert stats.removed_db is not None


def test_noise_suppression_without_a_speaker(sound_card: SoundCard) -> None:
    """Noise suppression and automatic gain need no speaker."""
    with Microphone(RATE_HZ, noise_suppression=True, auto_gain=True) as microphone:
        assert not microphone.removes_echo
        read(microphone, 100)
        stats = microphone.echo_stats

    assert stats is not None
    assert stats.removed_db is None


def test_another_speaker_device(sound_card: SoundCard) -> None:
    """After the speaker was unplugged, the canceller gets the audio of the new device."""
    sound_card.plug_in("headset")
    sound_card.look()
    with Speaker(PLAYED_HZ) as speaker, Microphone(RATE_HZ, echo=speaker) as microphone:
        blocks = speaker.open_tap().blocks()
        read(microphone, 50)
        sound_card.unplug("headset")
        speaker.write(babble(0.2, PLAYED_HZ, 1).astype("<i2"))
        speaker.drain(timeout=PATIENCE_S)
        until(lambda: microphone.read(timeout=PATIENCE_S) and microphone.device.name == "built-in")
        read(microphone, 100)
        devices = blocks.read()[-1].devices

    assert devices == 2


def test_the_speaker_is_closed(sound_card: SoundCard) -> None:
    """After the speaker was closed, the microphone continues to record."""
    with Speaker(PLAYED_HZ) as speaker, Microphone(RATE_HZ, echo=speaker) as microphone:
        read(microphone, 50)
        speaker.close()
        read(microphone, 500)

        with pytest.raises(ClosedError):
            Microphone(RATE_HZ, echo=speaker)


def test_a_conversation_removes_the_echo(sound_card: SoundCard) -> None:
    """A conversation turns on echo removal of a microphone, even if audio was already read."""
    sound_card.microphone = b"\x07\x00" * RATE_HZ
    with Speaker(PLAYED_HZ) as speaker, Microphone(RATE_HZ, block_ms=10) as microphone:
        before = read(microphone, 50)
        assert remove_echo(microphone, speaker)
        first = microphone.echo_stats
        assert remove_echo(microphone, speaker)
        read(microphone, 100)

    assert first is not None
    assert before == sound_card.microphone[: len(before)]


@pytest.mark.parametrize("settings", [{"echo": False}, {"mute_while": "speaker"}], ids=str)
def test_a_decision_is_kept(sound_card: SoundCard, settings: dict[str, Any]) -> None:
    """A conversation does not change a microphone with echo=False or mute_while."""
    with Speaker(PLAYED_HZ) as speaker:
        chosen = {name: value and speaker for name, value in settings.items()}
        with Microphone(RATE_HZ, **chosen) as microphone:
            found = remove_echo(microphone, speaker)

            assert found is ("mute_while" in settings)
            assert microphone.echo_stats is None


def test_without_the_extra(sound_card: SoundCard, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the extra is not installed, remove_echo() returns False and the microphone works."""
    monkeypatch.setattr(echo_module, "has_processor", lambda: False)
    with Speaker(PLAYED_HZ) as speaker, Microphone(RATE_HZ) as microphone:
        assert not remove_echo(microphone, speaker)
        assert not remove_echo(microphone, NullSpeaker(PLAYED_HZ))
        read(microphone, 20)


def test_a_library_that_cannot_be_loaded(
    sound_card: SoundCard, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """If the library cannot be loaded, a conversation logs the reason. echo= raises an error."""
    monkeypatch.setitem(__import__("sys").modules, "livekit", None)
    monkeypatch.setattr(echo_module, "has_processor", lambda: True)
    with Speaker(PLAYED_HZ) as speaker:
        with pytest.raises(DeviceError, match="livekit"):
            Microphone(RATE_HZ, echo=speaker)
        with Microphone(RATE_HZ) as microphone:
            assert not remove_echo(microphone, speaker)
            read(microphone, 20)

    assert "no echo cancellation" in caplog.text


@pytest.mark.parametrize("name", ["echo", "noise_suppression", "auto_gain", "voice_gate"])
def test_arguments_are_checked(sound_card: SoundCard, name: str) -> None:
    """A value of a wrong type raises an error before a device is opened."""
    with pytest.raises(ConfigError, match=name):
        Microphone(RATE_HZ, **{name: "speaker"})  # type: ignore[arg-type]

    assert sound_card.streams == []


def test_echo_and_mute_while(sound_card: SoundCard) -> None:
    """echo and mute_while cannot be combined, neither at creation nor by cancel_echo()."""
    with Speaker(PLAYED_HZ) as speaker:
        with pytest.raises(ConfigError, match="mute_while"):
            Microphone(RATE_HZ, echo=speaker, mute_while=speaker)
        with Microphone(RATE_HZ, mute_while=speaker) as microphone:
            with pytest.raises(ConfigError, match="mute_while"):
                microphone.cancel_echo(speaker)
            with pytest.raises(ConfigError, match="Speaker"):
                microphone.cancel_echo(None)  # type: ignore[arg-type]


def test_voice_gate(sound_card: SoundCard) -> None:
    """With a voice gate, noise becomes silence."""
    noise = np.random.default_rng(1).normal(0, 30, RATE_HZ).astype("<i2")
    sound_card.microphone = noise.tobytes()
    with Microphone(RATE_HZ, voice_gate=True) as microphone:
        assert not any(read(microphone, 300))
