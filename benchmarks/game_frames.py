"""
Measure the work that speech adds to a frame of a game: ``python -m benchmarks.game_frames``.

    python -m benchmarks.game_frames pygame --seconds 120
    python -m benchmarks.game_frames panda3d --seconds 120

The loop of a game runs at 60 frames per second. Each frame runs 2 ms of Python code, and then the
drawing or the tasks of the engine, without a window. Blocks of 5 s with speech alternate with
blocks of 5 s without speech. In a block with speech, the game receives a line with words and
visemes from an emulator in another process. The adapter of the engine plays the line, and a mouth
shows the visemes.

The program prints how much CPU time and how much elapsed time a frame spends in the methods of the
voice. It also prints the elapsed time of a whole frame, with and without speech. An elapsed time
contains the waits for the GIL, and the waits for the CPU if other programs run. So one row has only
the frames in which the system did not interrupt the calls to run another thread or program. The
time between two frames is not counted. The targets for the calls for speech are 0.1 ms in the
median and at most 2 ms in the worst case.

This program needs Linux.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from inworld_sync import Inworld
from inworld_sync.games import VoiceLine, prepare

FRAME_SECONDS = 1 / 60
BLOCK_SECONDS = 5.0
WORK_SECONDS = 0.002
TEXT = "A guard walks along the wall, and tells you what he has seen in the night. " * 4

# A Frame is a function that is called in each frame of the game. An Adapter returns two functions
# for a voice: the first one is called in each frame, and the second one closes the adapter.
Frame = Callable[[], object]
Adapter = Callable[[VoiceLine], tuple[Frame, Frame]]


@contextlib.contextmanager
def serving() -> Iterator[tuple[str, str]]:
    """Run an emulator in another process; yield its URL and key."""
    command = [sys.executable, "-m", "benchmarks.game_frames", "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            url, key = process.stdout.readline().split()
            yield url, key
        finally:
            process.kill()


def serve() -> None:
    from inworld_sync.emulator import Emulator, Settings

    with Emulator(settings=Settings(prepared_speech=True)) as server:
        print(server.url, server.api_key, flush=True)
        while True:
            time.sleep(3600)


def pygame_game() -> tuple[Frame, Adapter]:
    """Open a pygame window and mixer that use no devices. The mixer runs in real time."""
    os.environ.update(SDL_VIDEODRIVER="dummy", SDL_AUDIODRIVER="dummy")
    import pygame

    from inworld_sync.games.pygame import VoiceChannel

    pygame.init()
    screen = pygame.display.set_mode((640, 480))

    def draw() -> None:
        pygame.event.get()
        screen.fill("midnightblue")
        for x in range(0, 640, 40):
            pygame.draw.circle(screen, "peachpuff", (x, 240), 15)
        pygame.display.flip()

    def adapt(voice: VoiceLine) -> tuple[Frame, Frame]:
        channel = VoiceChannel(voice)

        def update() -> None:
            channel.update()
            _ = voice.mouth.openness

        return update, channel.close

    return draw, adapt


def panda3d_game() -> tuple[Frame, Adapter]:
    """Start Panda3D without a window. OpenAL uses its null driver, which runs in real time."""
    os.environ["ALSOFT_DRIVERS"] = "null"
    from direct.actor.Actor import Actor
    from direct.showbase.ShowBase import ShowBase
    from panda3d.core import load_prc_file_data

    from inworld_sync.games.panda3d import MorphMouth, VoiceSound

    load_prc_file_data("", "window-type none\naudio-library-name p3openal_audio")
    base = ShowBase()
    model = Path(__file__).parents[1] / "examples" / "talking_head.egg"
    head = Actor(str(model))
    head.reparent_to(base.render)

    def step() -> None:
        base.task_mgr.step()
        head.update()

    def adapt(voice: VoiceLine) -> tuple[Frame, Frame]:
        voice.position = (1.0, 5.0, 0.0)
        sound = VoiceSound(voice, base.sfxManagerList[0], positional=True)
        mouth = MorphMouth(head, voice.mouth)

        def update() -> None:
            sound.update()
            mouth.update()

        return update, sound.close

    return step, adapt


class Loop:
    """The loop of a game. All times are in milliseconds."""

    def __init__(self, engine: Frame, adapt: Adapter, client: Inworld) -> None:
        self._engine = engine
        self._adapt = adapt
        self._client = client
        self.calls: list[float] = []
        self.cpu: list[float] = []
        self.undisturbed: list[float] = []
        self.with_speech: list[float] = []
        self.without: list[float] = []
        self.gaps = 0

    def run(self, seconds: float) -> None:
        """Run blocks of frames, alternately with and without speech."""
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            self._block(None)
            with VoiceLine(self._client, TEXT, start=True) as voice:
                self._block(voice)

    def _block(self, voice: VoiceLine | None) -> None:
        update, close = self._adapt(voice) if voice is not None else (_nothing, _nothing)
        due = time.perf_counter()
        frames: list[float] = []
        for _ in range(round(BLOCK_SECONDS / FRAME_SECONDS)):
            due += FRAME_SECONDS
            time.sleep(max(0.0, due - time.perf_counter()))
            began = time.perf_counter()
            _work()
            if voice is not None:
                switches = _switches()
                before, cpu = time.perf_counter(), time.thread_time()
                voice.update(FRAME_SECONDS)
                update()
                self.cpu.append((time.thread_time() - cpu) * 1000)
                self.calls.append((time.perf_counter() - before) * 1000)
                if _switches() == switches:
                    self.undisturbed.append(self.calls[-1])
            self._engine()
            frames.append((time.perf_counter() - began) * 1000)
        close()
        (self.without if voice is None else self.with_speech).extend(frames)


def _switches() -> int:
    """Return how often the system has interrupted this thread, although the thread did not wait."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw


def _nothing() -> None:
    """Add nothing to a frame."""


def _work() -> None:
    """Do the work of a game in Python."""
    count = 0
    for number in range(_ROUNDS):
        count += number % 7


def _rounds() -> int:
    """Return how many rounds of the loop in :func:`_work` take ``WORK_SECONDS``."""
    global _ROUNDS
    _ROUNDS = 100_000
    times = []
    for _ in range(5):
        began = time.perf_counter()
        _work()
        times.append(time.perf_counter() - began)
    return round(_ROUNDS * WORK_SECONDS / min(times))


_ROUNDS = 0


def row(name: str, values: list[float]) -> str:
    median, high, highest, worst = np.percentile(values, [50, 99, 99.9, 100])
    return f"| {name} | {median:.3f} | {high:.3f} | {highest:.3f} | {worst:.3f} |"


def main() -> None:
    """Run one engine, and print the rows."""
    global _ROUNDS
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", choices=["pygame", "panda3d", "serve"])
    parser.add_argument("--seconds", type=float, default=120.0)
    chosen = parser.parse_args()
    if chosen.engine == "serve":
        serve()
    games: dict[str, Any] = {"pygame": pygame_game, "panda3d": panda3d_game}
    with serving() as (url, key), Inworld(base_url=url, api_key=key) as client:
        engine, adapt = games[chosen.engine]()
        prepare(client)
        _ROUNDS = _rounds()
        loop = Loop(engine, adapt, client)
        loop.run(2 * BLOCK_SECONDS)
        for times in (loop.calls, loop.cpu, loop.undisturbed, loop.with_speech, loop.without):
            times.clear()
        loop.run(chosen.seconds)
    added = float(np.median(loop.with_speech) - np.median(loop.without))
    print(f"| {chosen.engine}, ms | median | 99 % | 99.9 % | worst |\n|---|---:|---:|---:|---:|")
    print(row("calls for speech, CPU time", loop.cpu))
    print(row("calls for speech, elapsed time", loop.calls))
    print(row("calls for speech, elapsed time, not interrupted", loop.undisturbed))
    print(row("frame with speech, elapsed time", loop.with_speech))
    print(row("frame without speech, elapsed time", loop.without))
    print(f"speech adds {added:.3f} ms to the median; {len(loop.calls)} frames with speech")
    print(
        f"{len(loop.calls) - len(loop.undisturbed)} of these frames were interrupted in the calls"
    )


if __name__ == "__main__":
    main()
