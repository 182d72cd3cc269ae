"""
VoiceSound plays without gaps if each frame is shorter than three quarters of its buffer.

A simulated engine replaces Panda3D and OpenAL. Its time advances only when the test decides. As in
Panda3D, only the update of the manager passes audio to OpenAL, and reads the time of a sound.
"""

from __future__ import annotations

import random
import sys
from types import ModuleType, SimpleNamespace

import pytest

from inworld_sync.games import panda3d
from inworld_sync.games.panda3d import VoiceSound

from support.game_lines import RATE_HZ, line_of, noise

BUFFER_SECONDS = 0.4
LONGEST_SECONDS = 0.28


class Audio:
    """A queue of samples, as ``UserDataAudio``."""

    def __init__(self, rate_hz: int, channels: int, remove_after_read: bool) -> None:
        assert (rate_hz, channels, remove_after_read) == (RATE_HZ, 1, True)
        self.frames = 0
        self.is_done = False

    def append(self, pcm: bytes) -> None:
        self.frames += len(pcm) // 2

    def done(self) -> None:
        self.is_done = True


class Sound:
    """A sound. The device plays the frames that the manager has passed to it."""

    def __init__(self, audio: Audio) -> None:
        self._audio = audio
        self._passed = self._time = 0.0
        self._is_playing = False
        self.position = 0.0
        self.missing = 0.0

    def play(self) -> None:
        self._is_playing = True
        self.pass_audio()

    def stop(self) -> None:
        self._is_playing = False

    def set_volume(self, volume: float) -> None:
        assert volume == 1.0

    def status(self) -> int:
        is_ended = self._audio.is_done and self.position >= self._passed
        return 2 if self._is_playing and not is_ended else 1

    def get_time(self) -> float:
        return self._time

    def pass_audio(self) -> None:
        self._passed, self._time = self._audio.frames / RATE_HZ, self.position

    def advance(self, seconds: float) -> None:
        if self._is_playing:
            wanted = self.position + seconds
            self.position = min(wanted, self._passed)
            if not self._audio.is_done:
                self.missing += wanted - self.position


class Engine:
    """The manager of the sounds, and a clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sounds: list[Sound] = []
        self.now = 0.0
        core = ModuleType("panda3d.core")
        core.UserDataAudio = Audio
        core.AudioSound = type("AudioSound", (), {"PLAYING": 2})
        monkeypatch.setitem(sys.modules, "panda3d", ModuleType("panda3d"))
        monkeypatch.setitem(sys.modules, "panda3d.core", core)
        monkeypatch.setattr(panda3d, "time", SimpleNamespace(monotonic=lambda: self.now))

    def get_sound(self, audio: Audio, positional: bool) -> Sound:
        self.sounds.append(Sound(audio))
        return self.sounds[-1]

    def update(self) -> None:
        for sound in self.sounds:
            sound.pass_audio()

    def advance(self, seconds: float) -> None:
        self.now += seconds
        for sound in self.sounds:
            sound.advance(seconds)


def frame_lengths(kind: str) -> list[float]:
    chance = random.Random(1)
    if kind == "long":
        return [LONGEST_SECONDS] * 40
    if kind == "one long":
        return [1 / 60 if number % 15 else LONGEST_SECONDS for number in range(400)]
    return [chance.choice([1 / 60, 0.1, LONGEST_SECONDS]) for _ in range(80)]


@pytest.mark.parametrize("is_manager_first", [False, True])
@pytest.mark.parametrize("kind", ["long", "one long", "random"])
def test_long_frames_make_no_gap(
    monkeypatch: pytest.MonkeyPatch, kind: str, is_manager_first: bool
) -> None:
    """The device always has audio, whether the game updates the manager or the sound first."""
    engine = Engine(monkeypatch)
    voice = line_of(noise(30))
    sound = VoiceSound(voice, engine, buffer_ms=BUFFER_SECONDS * 1000)
    for seconds in frame_lengths(kind):
        engine.advance(seconds)
        if is_manager_first:
            engine.update()
        voice.update(seconds)
        sound.update()
        if not is_manager_first:
            engine.update()

    assert [each.missing for each in engine.sounds] == [pytest.approx(0.0, abs=1e-6)]
    assert sound.gaps == 0
    assert engine.sounds[0].position > 7.0


def test_a_frame_longer_than_the_buffer_makes_one_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the gap, the speech continues, and all of it is played."""
    engine = Engine(monkeypatch)
    voice = line_of(noise(3))
    sound = VoiceSound(voice, engine, buffer_ms=BUFFER_SECONDS * 1000)
    for number in range(600):
        seconds = 0.5 if number == 60 else 1 / 60
        engine.advance(seconds)
        voice.update(seconds)
        sound.update()
        engine.update()

    assert sound.gaps == 1
    assert sum(each.position for each in engine.sounds) == pytest.approx(3.0)
    assert voice.state == "finished"
