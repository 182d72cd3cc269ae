"""
VoiceChannel plays a voice on pygame's mixer.

The disk driver of SDL writes to a pipe, so the mixer plays exactly as much as the test reads.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import numpy as np
import numpy.typing as npt
import pytest

from inworld_sync import ConfigError
from inworld_sync.audio.resample import Resampler
from inworld_sync.games import GameVoice, Listener, Rolloff, pygame as channels
from inworld_sync.games.mixer_format import MixerFormat
from inworld_sync.games.pygame import VoiceChannel

from support.audio_pipe import AudioPipe
from support.game_lines import RATE_HZ, line_of, noise

if sys.version_info >= (3, 14):
    pytest.skip("the extra 'test' has pygame-ce only before Python 3.14", allow_module_level=True)

import pygame

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the size of a pipe is set")

FRAME_SECONDS = 1 / 60

# The mixer is ahead of the test by at most this many bytes. This is the sum of the pipe, the buffer
# of the file, and three buffers of 256 frames.
AHEAD_BYTES = 4096 + 4096 + 3 * 256 * 4

OpenMixer = Callable[..., AudioPipe]


@pytest.fixture
def open_mixer(tmp_path, monkeypatch) -> Iterator[OpenMixer]:
    """Return a function that opens the mixer in a format and returns the mixer's pipe."""
    with ExitStack() as stack:

        def open_it(
            rate_hz: int = RATE_HZ, size: int = -16, channels: int = 2, buffer: int = 256
        ) -> AudioPipe:
            path = tmp_path / f"sound-{len(list(tmp_path.iterdir()))}"
            pipe = stack.enter_context(AudioPipe(path, channels * abs(size) // 8, rate_hz))
            monkeypatch.setenv("SDL_AUDIODRIVER", "disk")
            monkeypatch.setenv("SDL_DISKAUDIOFILE", str(path))
            monkeypatch.setenv("SDL_DISKAUDIODELAY", "0")
            pygame.mixer.init(rate_hz, size, channels, buffer, allowedchanges=0)
            return pipe

        yield open_it
    # The pipe is closed, so the driver does not wait.
    pygame.mixer.quit()
    # A test that has failed may not have closed its voice channels.
    channels._taken.clear()
    channels._reserved.clear()


def frames(pipe: AudioPipe, channel: VoiceChannel, count: int) -> None:
    """Run some frames of the loop of a game."""
    for _ in range(count):
        pipe.read(FRAME_SECONDS)
        channel.voice.update(FRAME_SECONDS)
        channel.update()


def play(pipe: AudioPipe, channel: VoiceChannel) -> None:
    """Run the loop of a game until the voice is over and all its sound was read from the pipe."""
    while not channel.voice.is_over:
        frames(pipe, channel, 1)
    pipe.read(0.5)


def played(pipe: AudioPipe) -> npt.NDArray[np.int16]:
    """Return the frames of a stereo pipe from the first to the last frame that is not silent."""
    found = stereo(pipe)
    sounding = np.flatnonzero(found.any(axis=1))
    return found[sounding[0] : sounding[-1] + 1]


def stereo(pipe: AudioPipe, since_bytes: int = 0) -> npt.NDArray[np.int16]:
    return np.frombuffer(bytes(pipe.played[since_bytes:]), "<i2").reshape(-1, 2)


@pytest.mark.parametrize("seed", range(4))
def test_has_no_gap(open_mixer, seed):
    """The mixer plays the samples of the service, even if frames of the game last up to 80 ms."""
    pipe = open_mixer()
    sound = noise(6)
    voice = line_of(sound)
    channel = VoiceChannel(voice, clock=lambda: pipe.seconds)
    random = np.random.default_rng(seed)
    while not voice.is_over:
        dt = float(random.uniform(0.001, 0.08))
        pipe.read(dt)
        voice.update(dt)
        channel.update()
    pipe.read(0.5)

    left, right = played(pipe).T
    assert left.tobytes() == right.tobytes() == sound
    assert channel.gaps == 0
    channel.close()


@pytest.mark.parametrize(
    ("rate_hz", "size", "channels", "dtype"),
    [
        (48000, -16, 2, "<i2"),
        (44100, 32, 2, "<f4"),
        (44100, 8, 1, "u1"),
        (32000, -8, 6, "i1"),
    ],
)
def test_converts_to_mixer(open_mixer, rate_hz, size, channels, dtype):
    """Speech is converted to the rate, the channels and the sample format of the mixer."""
    pipe = open_mixer(rate_hz, size, channels)
    sound = noise(2)
    channel = VoiceChannel(line_of(sound), chunk_ms=400, clock=lambda: pipe.seconds)

    play(pipe, channel)

    resampler = Resampler(RATE_HZ, rate_hz)
    mono = resampler.feed(sound) + resampler.finish()
    encoded = MixerFormat(*pygame.mixer.get_init()).encode(mono)
    expected = np.frombuffer(encoded, dtype).reshape(-1, channels)
    found = np.frombuffer(bytes(pipe.played), dtype).reshape(-1, channels)
    start = np.flatnonzero(found[:, 0] != found[0, 0])[0]
    start -= np.flatnonzero(expected[:, 0] != found[0, 0])[0]
    assert np.array_equal(found[start : start + len(expected)], expected)
    channel.close()


def test_format_keeps_loudness():
    """Each sample format has the same waveform, in the first two channels."""
    samples = np.array([0, 16384, -16384, 32767, -32768], "<i2")
    for size, dtype, zero, full in [
        (-16, "<i2", 0, 32768),
        (16, "<u2", 32768, 32768),
        (-8, "i1", 0, 128),
        (8, "u1", 128, 128),
        (-32, "<f4", 0, 1),
    ]:
        encoded = np.frombuffer(MixerFormat(44100, size, 3).encode(samples.tobytes()), dtype)
        found = (encoded.reshape(-1, 3).astype(float) - zero) / full
        assert np.allclose(found[:, 0], samples / 32768, atol=1 / 128)
        assert np.array_equal(found[:, 0], found[:, 1])
        assert not found[:, 2].any()
    with pytest.raises(ConfigError, match="size 24"):
        MixerFormat(44100, 24, 2)


def test_format_moves_evenly():
    """A change of the direction is spread over the chunk. Loud samples are clipped."""
    samples = np.full(101, 20_000, "<i2").tobytes()
    encoded = MixerFormat(44100, -16, 2).encode(samples, before=(1, 0), after=(0, 2))
    left, right = np.frombuffer(encoded, "<i2").reshape(-1, 2).T
    assert left.tolist() == pytest.approx(np.linspace(20_000, 0, 101), abs=1)
    assert right.tolist() == pytest.approx(np.linspace(0, 40_000, 101).clip(max=32767), abs=1)


def test_position_is_that_of_the_mixer(open_mixer):
    """
    The voice's position differs from the mixer's position by at most AHEAD_BYTES and one frame.
    """
    pipe = open_mixer(48000)
    voice = line_of(noise(3))
    channel = VoiceChannel(voice, latency_ms=0, clock=lambda: pipe.seconds)
    frame_ms = FRAME_SECONDS * 1000
    most_ms = AHEAD_BYTES / 4 / 48 + frame_ms
    began = None
    while not voice.is_over:
        frames(pipe, channel, 1)
        if began is None and any(pipe.played):
            began = np.flatnonzero(stereo(pipe)[:, 0])[0]
        if began is not None and voice.state == "speaking":
            heard_ms = min((len(pipe.played) / 4 - began) / 48, 3000)
            assert -frame_ms - 1 <= voice.heard_ms - heard_ms <= most_ms
    assert voice.heard_ms == pytest.approx(3000)
    assert voice.state == "finished"
    channel.close()


def test_latency_delays_the_position(open_mixer):
    """Both the position and the end of the line are later by latency_ms."""
    pipe = open_mixer(48000)
    ends = []
    for latency_ms in (0, 500):
        channel = VoiceChannel(line_of(noise(1)), latency_ms=latency_ms, clock=lambda: pipe.seconds)
        began = pipe.seconds
        while not channel.voice.is_over:
            frames(pipe, channel, 1)
        ends.append(pipe.seconds - began)
        channel.close()
    assert ends[1] - ends[0] == pytest.approx(0.5, abs=AHEAD_BYTES / 4 / 48000 + FRAME_SECONDS)


def test_position_waits_for_the_latency(open_mixer):
    """Before latency_ms has passed, the position is at most one frame after the start."""
    pipe = open_mixer(48000)
    channel = VoiceChannel(line_of(noise(1)), latency_ms=100, clock=lambda: pipe.seconds)
    frames(pipe, channel, 1)

    frames(pipe, channel, 5)

    assert channel.voice.heard_ms <= FRAME_SECONDS * 1000 + 1
    channel.close()


def test_cancel_ends_the_sound(open_mixer):
    """After cancel(), the mixer plays a fade of 20 ms and nothing more."""
    pipe = open_mixer()
    voice = line_of(noise(3))
    channel = VoiceChannel(voice, clock=lambda: pipe.seconds)
    frames(pipe, channel, 60)
    voice.cancel()
    frames(pipe, channel, 1)
    heard_ms = voice.heard_ms
    # The clock of SDL, which runs in real time, decides when the fade ends.
    faded = time.monotonic() + 0.03
    while time.monotonic() < faded:
        pass
    cancelled = len(pipe.played)
    frames(pipe, channel, 30)

    assert stereo(pipe)[: cancelled // 4].any()
    assert not stereo(pipe, cancelled + AHEAD_BYTES).any()
    assert voice.heard_ms == heard_ms
    assert not pygame.mixer.Channel(channel.channel).get_busy()
    channel.close()


def test_speaks_after_an_interruption(open_mixer):
    """
    After an interruption, another line on the same channel is played completely at full volume.
    """
    pipe = open_mixer()
    first = VoiceChannel(line_of(noise(3)), channel=5, clock=lambda: pipe.seconds)
    frames(pipe, first, 30)
    first.voice.cancel()
    first.update()
    first.close()
    sound = noise(1, seed=2)
    second = VoiceChannel(line_of(sound), channel=5, clock=lambda: pipe.seconds)

    play(pipe, second)

    assert played(pipe)[-RATE_HZ:, 0].tobytes() == sound
    second.close()


class Character(GameVoice):
    """A voice that speaks several items and is interrupted, as in a conversation."""

    state = "open"
    is_over = False

    def __init__(self) -> None:
        super().__init__(RATE_HZ, 0.0)

    def speak(self, item: str, pcm: bytes) -> None:
        self._output.push_pcm(item, memoryview(pcm), end=True)

    def cancel(self) -> None:
        self._output.stop()
        self._output.clear()

    def _handle_next(self) -> bool:
        return False


def test_character_is_interrupted(open_mixer):
    """After an interruption, the next item is played completely and at its full volume."""
    pipe = open_mixer()
    voice = Character()
    channel = VoiceChannel(voice, clock=lambda: pipe.seconds)
    voice.speak("first", noise(2))
    frames(pipe, channel, 40)
    voice.cancel()
    answer = noise(1, seed=2)
    voice.speak("second", answer)
    frames(pipe, channel, 200)

    assert voice.drops == 1
    assert voice.heard_ms == pytest.approx(1000)
    assert played(pipe)[-RATE_HZ:, 0].tobytes() == answer
    assert len(played(pipe)) < 2.5 * RATE_HZ
    assert channel.gaps == 0
    # A silence between two items is not counted as a gap.
    voice.speak("third", answer)
    frames(pipe, channel, 120)
    assert channel.gaps == 0
    assert played(pipe)[-RATE_HZ:, 0].tobytes() == answer
    channel.close()


def test_pause_loses_nothing(open_mixer):
    """A pause is silent. Afterwards, the speech continues with the next sample."""
    pipe = open_mixer()
    sound = noise(2)
    voice = line_of(sound)
    channel = VoiceChannel(voice, clock=lambda: pipe.seconds)
    frames(pipe, channel, 40)
    voice.pause()
    paused_ms = voice.heard_ms
    frames(pipe, channel, 60)
    assert voice.heard_ms - paused_ms <= 2 * FRAME_SECONDS * 1000
    voice.time_scale = 0
    voice.resume()
    frames(pipe, channel, 60)
    voice.time_scale = 0.5
    play(pipe, channel)

    found = stereo(pipe)[:, 0]
    pauses = np.diff(np.flatnonzero(found))
    assert found[found != 0].tobytes() == sound
    assert (pauses > 1).sum() == 1
    assert pauses.max() / RATE_HZ == pytest.approx(2.0, abs=0.1)
    assert voice.state == "finished"
    channel.close()


def test_gains_are_those_of_the_voice(open_mixer):
    """The mixer plays a voice with its volume, at its distance, and from its direction."""
    pipe = open_mixer()
    voice = line_of(noise(2))
    voice.volume = 0.5
    voice.position = (1, 0, 0)
    channel = VoiceChannel(voice, listener=Listener(), clock=lambda: pipe.seconds)
    frames(pipe, channel, 30)
    moved = len(pipe.played) // 4
    voice.position = (-2, 0, 0)
    play(pipe, channel)

    samples = np.abs(stereo(pipe).astype(int))
    # A new direction is heard from the third chunk after the change.
    before, after = samples[:moved], samples[moved + RATE_HZ // 2 :]
    assert before.max(axis=0).tolist() == pytest.approx([0, 10_000], rel=0.02, abs=1)
    assert after.max(axis=0).tolist() == pytest.approx([5_000, 0], rel=0.02, abs=1)
    channel.close()


def test_each_change_is_heard_while_the_queue_is_full(open_mixer):
    """The next update sets the volume after a change of the voice, its rolloff or the listener."""
    pipe = open_mixer()
    voice = line_of(noise(2))
    voice.position = (3, 0, 0)
    channel = VoiceChannel(voice, clock=lambda: pipe.seconds)
    frames(pipe, channel, 15)

    def volume() -> float:
        assert channel._full_until > pipe.seconds
        channel.update()
        return channel._channel.get_volume()

    assert volume() == pytest.approx(1 / 3, abs=0.01)
    voice.rolloff = Rolloff("none")
    assert volume() == 1.0
    voice.volume = 0.5
    assert volume() == pytest.approx(0.5, abs=0.01)
    voice.rolloff = Rolloff("inverse")
    channel.listener = Listener(position=(1, 0, 0))
    assert volume() == pytest.approx(0.25, abs=0.01)
    channel.close()


def test_a_frame_queues_one_chunk(open_mixer):
    """At the start of a line, the second chunk is queued one frame later."""
    pipe = open_mixer()
    channel = VoiceChannel(line_of(noise(2)), clock=lambda: pipe.seconds)
    counts = []
    while len(channel._chunks) < 2:
        frames(pipe, channel, 1)
        counts.append(len(channel._chunks))

    assert counts[-2:] == [1, 2]
    channel.close()


def test_mono_mixer_has_the_power_of_both_channels(open_mixer):
    """On a mixer with one channel, a voice on one side of the listener is 3 dB softer."""
    pipe = open_mixer(RATE_HZ, -16, 1)
    voice = line_of(noise(1))
    voice.position = (1, 0, 0)
    channel = VoiceChannel(voice, chunk_ms=400, clock=lambda: pipe.seconds)

    play(pipe, channel)

    loudest = np.abs(np.frombuffer(bytes(pipe.played), "<i2").astype(int)).max()
    assert loudest == pytest.approx(20_000 * 0.707, rel=0.02)
    channel.close()


def test_counts_gaps(open_mixer):
    """
    A frame that is longer than the audio in the mixer causes a gap. All speech is still played.
    """
    pipe = open_mixer()
    sound = noise(3)
    channel = VoiceChannel(line_of(sound), clock=lambda: pipe.seconds)
    for stop_seconds in (0.6, 0.8):
        frames(pipe, channel, 40)
        pipe.read(stop_seconds)
    play(pipe, channel)

    found = played(pipe)[:, 0]
    assert found[found != 0].tobytes() == sound
    assert (np.diff(np.flatnonzero(found)) > 1).sum() == channel.gaps == 2
    channel.close()


class LostSound:
    """
    A channel that does not play its queued sound. With *reports_ended*, ``get_sound`` returns a
    sound that has ended.
    """

    def __init__(self, channel: pygame.mixer.Channel, *, reports_ended: bool) -> None:
        self._present = channel.get_sound() if reports_ended else None
        self._waiting = channel.get_queue()
        self.played: list[pygame.mixer.Sound] = []

    def get_sound(self) -> pygame.mixer.Sound | None:
        return self._present

    def get_queue(self) -> pygame.mixer.Sound | None:
        return self._waiting

    def get_busy(self) -> bool:
        return bool(self.played)

    def play(self, sound: pygame.mixer.Sound) -> None:
        self.played.append(sound)
        self._present, self._waiting = sound, None

    def queue(self, sound: pygame.mixer.Sound) -> None:
        self._waiting = sound


@pytest.mark.parametrize("reports_ended", [False, True])
def test_recovers_from_races_of_pygame(open_mixer, reports_ended):
    """If pygame does not start a queued sound, the voice channel plays this sound."""
    pipe = open_mixer()
    now = 0.0
    channel = VoiceChannel(line_of(noise(2)), clock=lambda: now)
    frames(pipe, channel, 3)
    real = channel._channel
    waiting = real.get_queue()
    channel._channel = lost = LostSound(real, reports_ended=reports_ended)
    now = 0.2
    channel.update()
    assert lost.played == ([] if reports_ended else [waiting])
    now = 1.2
    channel.update()
    assert lost.played == [waiting]
    channel._channel = real
    channel.close()


def test_each_voice_has_a_channel(open_mixer):
    """Each voice gets its own channel. Other sounds of the game get none of these channels."""
    open_mixer()
    pygame.mixer.Channel(1).play(pygame.mixer.Sound(buffer=bytes(400_000)))
    channels = [VoiceChannel(line_of(noise(1))) for _ in range(9)]

    assert [channel.channel for channel in channels] == [0, *range(2, 10)]
    assert pygame.mixer.get_num_channels() == 18
    others = [pygame.mixer.Sound(buffer=bytes(400_000)).play() for _ in range(9)]
    assert [other and other.id for other in others] == [*range(10, 18), None]
    with pytest.raises(ConfigError, match="channel 4 plays another voice"):
        VoiceChannel(line_of(noise(1)), channel=4)
    channels[3].close()
    channels[3].close()
    again = VoiceChannel(line_of(noise(1)))
    assert again.channel == 4
    # A voice channel that is garbage-collected frees its mixer channel.
    del again
    assert VoiceChannel(line_of(noise(1))).channel == 4
    for channel in channels:
        channel.close()


def test_mixer_may_be_opened_again(open_mixer):
    """If the game opens the mixer in another format, the speech continues in this format."""
    first = open_mixer()
    voice = line_of(noise(2))
    now = 0.0
    channel = VoiceChannel(voice, clock=lambda: now)

    def frame(pipe: AudioPipe | None) -> None:
        nonlocal now
        now += FRAME_SECONDS
        if pipe is not None:
            pipe.read(FRAME_SECONDS)
        voice.update(FRAME_SECONDS)
        channel.update()

    for _ in range(30):
        frame(first)
    first.close()
    pygame.mixer.quit()
    for _ in range(30):
        frame(None)
    assert voice.state == "speaking"
    second = open_mixer(48000)
    while not voice.is_over:
        frame(second)
    second.read(0.5)

    assert 1.0 < len(played(second)) / 48000 < 1.8
    channel.close()


def test_mixer_may_be_opened_between_two_frames(open_mixer):
    """
    A mixer that is opened again has eight channels. The voice channel adds the missing channels.
    """
    first = open_mixer()
    others = [VoiceChannel(line_of(noise(1))) for _ in range(12)]
    channel = others[-1]
    frames(first, channel, 10)
    first.close()
    pygame.mixer.quit()
    second = open_mixer()
    assert pygame.mixer.get_num_channels() <= channel.channel

    play(second, channel)

    assert channel.voice.state == "finished"
    assert pygame.mixer.get_num_channels() > channel.channel
    for each in others:
        each.close()


def test_close_after_the_mixer_was_opened_again(open_mixer):
    """
    close() does not use a channel that the present mixer does not have. pygame would read memory
    outside of its channels.
    """
    first = open_mixer()
    pygame.mixer.set_num_channels(40)
    channel = VoiceChannel(line_of(noise(1)), channel=39)
    frames(first, channel, 10)
    first.close()
    pygame.mixer.quit()
    open_mixer()
    used: list[str] = []

    class Checked:
        def __getattr__(self, name: str) -> object:
            used.append(name)
            raise AttributeError(name)

    channel._channel = Checked()
    channel.close()

    assert not used
    VoiceChannel(line_of(noise(1))).close()


def test_mixer_opened_again_in_a_chunk_keeps_its_reserved_channels(open_mixer):
    """
    If the mixer is opened again in the same format before a chunk ends, the channel of the voice is
    still reserved, and eight channels are left for other sounds.
    """
    first = open_mixer()
    channel = VoiceChannel(line_of(noise(1)))
    frames(first, channel, 10)
    first.close()
    pygame.mixer.quit()
    second = open_mixer()
    assert pygame.mixer.get_num_channels() == 8

    play(second, channel)

    assert channel.voice.state == "finished"
    others = [pygame.mixer.Sound(buffer=bytes(400_000)).play() for _ in range(9)]
    assert [other and other.id for other in others] == [*range(1, 9), None]
    channel.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"chunk_ms": 39}, "chunk_ms must be 40 to 1000 ms, got 39"),
        ({"latency_ms": -1}, "latency_ms must be 0 to 1000 ms, got -1"),
        ({"latency_ms": float("nan")}, "latency_ms.*nan"),
        ({"channel": 99}, "channel must be 0 to .*, got 99"),
        ({"channel": "a"}, "channel must be an integer, got 'a'"),
        ({"listener": 3}, "listener must be a Listener or None, got int"),
        ({"voice": 5}, "voice must be a VoiceLine or a Conversation, got int"),
    ],
)
def test_refuses_arguments(open_mixer, arguments, message):
    """A wrong argument raises an error that names the argument."""
    open_mixer()
    with pytest.raises(ConfigError, match=message):
        VoiceChannel(**{"voice": line_of(noise(1)), **arguments})


def test_needs_an_open_mixer():
    """Without pygame.mixer.init(), the error says what to do."""
    with pytest.raises(ConfigError, match=r"call pygame.mixer.init\(\) first"):
        VoiceChannel(line_of(noise(1)))


def test_needs_pygame(monkeypatch):
    """Without pygame, the error says what to install."""
    monkeypatch.setitem(sys.modules, "pygame", None)
    monkeypatch.setitem(sys.modules, "pygame.mixer", None)
    with pytest.raises(ImportError, match=r"pip install 'inworld-sync\[pygame\]'"):
        VoiceChannel(line_of(noise(1)))
