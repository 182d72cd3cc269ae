"""
Play one line of speech for a long time, and compare what an engine plays with what was sent.

    python tests/soak_games.py pygame --minutes 30
    python tests/soak_games.py panda3d --minutes 30

Every sample must be played, in its order and without a gap. The mixer of pygame plays as fast as
the program reads, about sixty times as fast as a game. OpenAL plays in real time. The service is a
server in this process that sends noise as fast as the client takes it. The test suite does not run
this program.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from inworld_sync.games import VoiceLine

from support.audio_pipe import AudioPipe
from support.game_lines import RATE_HZ, noise
from support.openal import openal_pipe
from support.scripted import Service, scripted

FRAME_SECONDS = 1 / 60
CHUNK_SECONDS = 0.5
LIMIT_SECONDS = 60.0
AHEAD_MS = 5000


def sent(seconds: float) -> Iterator[bytes]:
    """Yield the chunks of audio that the service sends."""
    for number in range(round(seconds / CHUNK_SECONDS)):
        yield noise(CHUNK_SECONDS, seed=number)


def run(voice: VoiceLine, pipe: AudioPipe, update: Callable[[], None], limit: float) -> float:
    """Run the loop of a game until the line is over, and return how long it took."""
    began = time.monotonic()
    while not voice.is_over:
        if time.monotonic() - began > limit:
            raise TimeoutError(f"the line is {voice.state} after {limit:.0f} s")
        while voice.queued_ms < AHEAD_MS and voice.speech is None and voice.error is None:
            time.sleep(0.001)  # the service must not be slower than in real time
        pipe.read(FRAME_SECONDS)
        voice.update(FRAME_SECONDS)
        update()
    for _ in range(60):
        pipe.read(FRAME_SECONDS)
    return time.monotonic() - began


def left(pipe: AudioPipe) -> bytes:
    """Return the samples of the left channel."""
    return np.frombuffer(bytes(pipe.played), "<i2")[::2].tobytes()


def play_with_pygame(voice: VoiceLine, folder: Path, seconds: float) -> tuple[bytes, int, float]:
    """Return the samples of the left channel, the gaps that were counted, and the time it took."""
    import pygame.mixer

    from inworld_sync.games.pygame import VoiceChannel

    os.environ["SDL_AUDIODRIVER"] = "disk"
    os.environ["SDL_DISKAUDIOFILE"] = str(folder / "sound")
    os.environ["SDL_DISKAUDIODELAY"] = "0"
    with AudioPipe(folder / "sound", 4, RATE_HZ) as pipe:
        pygame.mixer.init(RATE_HZ, -16, 2, 512, allowedchanges=0)
        channel = VoiceChannel(voice, clock=lambda: pipe.seconds)
        took = run(voice, pipe, channel.update, seconds + LIMIT_SECONDS)
        channel.close()
    pygame.mixer.quit()
    return left(pipe), channel.gaps, took


def play_with_panda3d(voice: VoiceLine, folder: Path, seconds: float) -> tuple[bytes, int, float]:
    """Return the samples of the left channel, the gaps that were counted, and the time it took."""
    from inworld_sync.games.panda3d import VoiceSound

    with openal_pipe(folder, RATE_HZ) as (manager, pipe):
        sound = VoiceSound(voice, manager)

        def update() -> None:
            sound.update()
            manager.update()

        took = run(voice, pipe, update, 1.2 * seconds + LIMIT_SECONDS)
        sound.close()
    return left(pipe), sound.gaps, took


def faults_in(played: bytes, seconds: float) -> list[str]:
    """Compare what was played with what was sent. The volume may differ, but not change."""
    found = np.frombuffer(played, "<i2")
    sounding = np.flatnonzero(found)
    if not len(sounding):
        return ["nothing was played"]
    position = int(sounding[0])
    count = round(seconds / CHUNK_SECONDS) * round(CHUNK_SECONDS * RATE_HZ)
    faults = []
    if sounding[-1] + 1 - position != count:
        faults.append(f"{sounding[-1] + 1 - position} samples were played, and {count} were sent")
    gain = 0.0
    for number, chunk in enumerate(sent(seconds)):
        wanted = np.frombuffer(chunk, "<i2").astype(float)
        here = found[position : position + len(wanted)].astype(float)
        position += len(wanted)
        if len(here) < len(wanted):
            break
        gain = gain or float(here @ wanted / (wanted @ wanted))
        different = int((np.abs(here - gain * wanted) > 1.5).sum())
        if different:
            faults.append(f"at {number * CHUNK_SECONDS} s, {different} samples are different")
    return faults


def main() -> int:
    """Run the program. Return 1 if there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", choices=["pygame", "panda3d"])
    parser.add_argument("--minutes", type=float, default=30.0)
    arguments = parser.parse_args()
    seconds = arguments.minutes * 60
    play = play_with_pygame if arguments.engine == "pygame" else play_with_panda3d

    def speak(service: Service) -> None:
        context_id = service.until("close_context")
        service.result(context_id, contextCreated={})
        for chunk in sent(seconds):
            service.audio(context_id, chunk)
        service.flushed(context_id)
        service.closed(context_id)
        service.until_left()

    with (
        tempfile.TemporaryDirectory() as folder,
        scripted(speak) as client,
        VoiceLine(client, "Noise.", start=True) as voice,
    ):
        played, gaps, took = play(voice, Path(folder), seconds)
        faults = faults_in(played, seconds)
        if gaps:
            faults.append(f"{gaps} gaps were counted")
        if voice.state != "finished":
            faults.append(f"the line is {voice.state}: {voice.error}")
    for fault in faults[:20]:
        sys.stdout.write(f"WRONG: {fault}\n")
    sys.stdout.write(
        f"{arguments.engine}: {seconds:.0f} s of speech in {took:.0f} s, {len(faults)} faults\n"
    )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
