"""
Play one line of speech for a long time, and compare the played audio with the sent audio.

    python tests/soak_games.py pygame --minutes 30
    python tests/soak_games.py panda3d --minutes 30

All samples must be played in order and without a gap. The mixer of pygame plays as fast as the
program reads, which is 50 to 100 times as fast as in a game. OpenAL plays in real time. A server
in this process replaces the service. This server sends noise as fast as the client reads. The test
suite does not run this program.
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
    """Run the loop of a game until the line is over, and return how many seconds the loop took."""
    began = time.monotonic()
    while not voice.is_over:
        if time.monotonic() - began > limit:
            raise TimeoutError(f"the line is {voice.state} after {limit:.0f} s")
        while voice.queued_ms < AHEAD_MS and voice.speech is None and voice.error is None:
            time.sleep(0.001)  # the loop must not overtake the service
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
    """Return the samples of the left channel, the number of gaps, and the duration in seconds."""
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
    """Return the samples of the left channel, the number of gaps, and the duration in seconds."""
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
    """
    Compare the played audio with the sent audio, and return the differences.

    The volume may differ from the volume that was sent, but must be constant. No sample of the
    noise is 0, so a sample of 0 is a gap.
    """
    found = np.frombuffer(played, "<i2")
    sounding = np.flatnonzero(found)
    faults = []
    gaps = np.diff(sounding) - 1
    if gaps.any():
        faults.append(
            f"{np.count_nonzero(gaps)} gaps were played, with {gaps.sum() / RATE_HZ:.2f} s in total"
        )
    heard = found[sounding].astype(float)
    position, gain = 0, 0.0
    for number, chunk in enumerate(sent(seconds)):
        wanted = np.frombuffer(chunk, "<i2").astype(float)
        here = heard[position : position + len(wanted)]
        position += len(wanted)
        if len(here) < len(wanted):
            break
        gain = gain or float(here @ wanted / (wanted @ wanted))
        different = int((np.abs(here - gain * wanted) > 1.5).sum())
        if different:
            faults.append(f"at {number * CHUNK_SECONDS} s, {different} samples are different")
    count = round(seconds / CHUNK_SECONDS) * round(CHUNK_SECONDS * RATE_HZ)
    if len(heard) != count:
        faults.append(f"{len(heard)} samples were played, and {count} were sent")
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
