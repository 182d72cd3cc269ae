"""
VoiceSound plays a voice with Panda3D, and MorphMouth moves the sliders of an actor.

OpenAL writes to a pipe, in real time, and waits while the pipe is full. The tests fail without
Panda3D. ``pip install 'inworld-sync[panda3d]'`` installs Panda3D.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from inworld_sync import ConfigError
from inworld_sync.games import SHAPE_SETS, VoiceLine
from inworld_sync.games.panda3d import MorphMouth, VoiceSound

from support.audio_pipe import AudioPipe
from support.game_lines import RATE_HZ, line_of, noise
from support.openal import AHEAD_BYTES, openal_pipe

FRAME_SECONDS = 1 / 60
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def openal(tmp_path_factory) -> Iterator[tuple[Any, AudioPipe]]:
    """Return the manager and the pipe. A process can configure OpenAL only once."""
    with openal_pipe(tmp_path_factory.mktemp("openal"), RATE_HZ) as opened:
        yield opened


class Game:
    """The loop of a game with one voice."""

    def __init__(self, openal: tuple[Any, AudioPipe], voice: VoiceLine, **options: Any) -> None:
        self.manager, self.pipe = openal
        self.voice = voice
        self.sound = VoiceSound(voice, self.manager, **options)
        self.began = len(self.pipe.played)

    def frames(self, count: int) -> None:
        for _ in range(count):
            self.pipe.read(FRAME_SECONDS)
            self.voice.update(FRAME_SECONDS)
            self.sound.update()
            self.manager.update()

    def play(self) -> None:
        for _ in range(1000):
            if self.voice.is_over:
                return
            self.frames(1)
        pytest.fail(f"the line does not end: {self.voice!r}, {self.voice.heard_ms} ms heard")

    def played(self, since_bytes: int | None = None) -> npt.NDArray:
        """Return the samples of both channels."""
        since_bytes = self.began if since_bytes is None else since_bytes
        return np.frombuffer(bytes(self.pipe.played[since_bytes:]), "<i2").reshape(-1, 2)


def without_silence(samples: npt.NDArray) -> npt.NDArray:
    sounding = np.flatnonzero(samples)
    return samples[sounding[0] : sounding[-1] + 1]


@pytest.mark.slow
def test_has_no_gap(openal):
    """OpenAL plays all samples of the service without a gap."""
    sound = noise(4)
    game = Game(openal, line_of(sound))

    game.play()
    game.frames(20)

    sent = np.frombuffer(sound, "<i2").astype(float)
    found = without_silence(game.played()[:, 0]).astype(float)
    assert len(found) == len(sent)
    # A voice in the middle has a fixed gain in each channel.
    assert np.abs(found - sent * (found @ sent / (sent @ sent))).max() <= 1.5
    assert game.sound.gaps == 0
    assert game.voice.state == "finished"
    assert game.voice.heard_ms == pytest.approx(4000)
    game.sound.close()


@pytest.mark.slow
def test_continues_after_a_gap(openal):
    """If the game stops for a second, the rest of the speech is played afterwards."""
    sound = noise(2)
    game = Game(openal, line_of(sound))
    game.frames(30)
    game.pipe.read(1.0)

    game.play()
    game.frames(20)

    found = game.played()[:, 0]
    sounding = np.flatnonzero(found)
    assert len(sounding) == RATE_HZ * 2
    assert (np.diff(sounding) > 1).sum() == game.sound.gaps == 1
    game.sound.close()


@pytest.mark.slow
def test_cancel_ends_the_sound(openal):
    """After cancel(), OpenAL plays only the audio that it has already mixed, and a short fade."""
    game = Game(openal, line_of(noise(3)))
    game.frames(60)
    game.voice.cancel()
    game.frames(1)
    heard_ms = game.voice.heard_ms
    cancelled = len(game.pipe.played)
    game.frames(30)

    assert game.played()[: (cancelled - game.began) // 4].any()
    assert not game.played(cancelled + AHEAD_BYTES).any()
    assert game.voice.heard_ms == heard_ms
    # Another line on the same manager is played completely.
    again = Game(openal, line_of(noise(1, seed=2)))
    again.play()
    again.frames(20)
    assert len(without_silence(again.played()[:, 0])) == RATE_HZ
    game.sound.close()
    again.sound.close()


@pytest.mark.slow
def test_pause_is_silent(openal):
    """A pause is silent, and the speech continues afterwards until its end."""
    sound = noise(2)
    game = Game(openal, line_of(sound), latency_ms=0)
    game.frames(40)
    game.voice.pause()
    game.frames(3)
    heard_ms = game.voice.heard_ms
    paused = len(game.pipe.played)
    game.frames(60)
    assert not game.played(paused + AHEAD_BYTES).any()
    assert game.voice.heard_ms == heard_ms
    game.voice.resume()
    game.play()
    game.frames(20)

    found = game.played()[:, 0].astype(float)
    end = np.flatnonzero(found)[-1] + 1
    sent = np.frombuffer(sound, "<i2").astype(float)[-4800:]
    tail = found[end - 4800 : end]
    assert np.abs(tail - sent * (tail @ sent / (sent @ sent))).max() <= 1.5
    game.sound.close()


@pytest.mark.slow
def test_direction_is_that_of_the_voice(openal):
    """
    The channel on the side of the voice is louder than the other channel.
    """
    voice = line_of(noise(2))
    voice.position = (-3, 0, 0)
    game = Game(openal, voice, positional=True)
    game.frames(50)
    left = np.abs(game.played()[-4800:].astype(float)).mean(axis=0)
    voice.position = (3, 0, 0)
    game.play()
    right = np.abs(game.played()[-24000:-12000].astype(float)).mean(axis=0)

    assert left[0] > 2 * left[1]
    assert right[1] > 2 * right[0]
    game.sound.close()


class NoDevice:
    """A manager of a machine without a sound device."""

    def __init__(self, manager: Any) -> None:
        self.get_sound = lambda source, positional: manager.get_null_sound()
        self.update = manager.update


@pytest.mark.slow
def test_line_ends_without_a_device(openal):
    """Without a sound device, the line takes as long as with a device."""
    voice = line_of(noise(0.5))
    sound = VoiceSound(voice, NoDevice(openal[0]))
    began = last = time.monotonic()
    while not voice.is_over:
        now = time.monotonic()
        voice.update(now - last)
        sound.update()
        last = now
    assert time.monotonic() - began >= 0.5
    assert voice.state == "finished"
    sound.close()


@pytest.mark.slow
def test_sliders_follow_the_mouth():
    """In each frame, each slider has the weight of its mouth shape, in steps of 1/256."""
    from direct.actor.Actor import Actor
    from panda3d.core import ClockObject

    clock = ClockObject.get_global_clock()
    actor = Actor(str(EXAMPLES / "talking_head.egg"))
    voice = line_of(noise(1))
    mouth = MorphMouth(actor, voice.mouth)
    table = actor.find("**/+GeomNode").node().get_geom(0).get_vertex_data().get_slider_table()

    # Panda3D applies a control from the second frame on.
    clock.tick()
    actor.update()
    moved = set()
    for _ in range(30):
        voice.read_audio(400)
        voice.update(FRAME_SECONDS)
        mouth.update()
        clock.tick()
        actor.update()
        weights = voice.mouth.weights("openxr")
        values = {
            slider.get_name().get_name(): slider.get_slider()
            for slider in map(table.get_slider, range(table.get_num_sliders()))
        }
        assert values == pytest.approx({name: weights[name] for name in values}, abs=1 / 500)
        moved |= {name for name, value in values.items() if value > 0.1}

    assert moved
    assert "sil" not in mouth.sliders
    renamed = MorphMouth(actor, voice.mouth, "vrm", names={"ou": "PP"})
    assert set(renamed.sliders) == {"aa", "ih", "oh", "PP"}
    with pytest.raises(ConfigError, match=r"none of the sliders smile.*it has CH, DD"):
        MorphMouth(actor, voice.mouth, "vrm", names=dict.fromkeys(SHAPE_SETS["vrm"], "smile"))


@pytest.mark.slow
def test_example_runs(tmp_path):
    """The example speaks to the end without a window and without a sound device."""
    program = (
        "import runpy; from panda3d.core import load_prc_file_data; "
        "load_prc_file_data('', 'window-type none'); "
        f"runpy.run_path({str(EXAMPLES / 'game_panda3d.py')!r}, run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "INWORLD_SYNC_LOCAL": "1", "ALSOFT_DRIVERS": "null"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("finished: I am a head")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"buffer_ms": 49}, "buffer_ms must be 50 to 1000 ms, got 49"),
        ({"latency_ms": 1001}, "latency_ms must be 0 to 1000 ms, got 1001"),
    ],
)
def test_refuses_arguments(arguments, message):
    """A wrong argument raises an error that names the argument."""
    with pytest.raises(ConfigError, match=message):
        VoiceSound(line_of(noise(1)), object(), **arguments)


def test_needs_panda3d(monkeypatch):
    """Without Panda3D, the error says what to install."""
    monkeypatch.setitem(sys.modules, "panda3d", None)
    monkeypatch.setitem(sys.modules, "panda3d.core", None)
    with pytest.raises(ImportError, match=r"pip install 'inworld-sync\[panda3d\]'"):
        VoiceSound(line_of(noise(1)), object())
