"""
Play one line of speech for a long time, and compare the played audio with the sent audio.

    python tests/soak_games.py pygame --minutes 30
    python tests/soak_games.py panda3d --minutes 30

All samples must be played in order and without a gap. The mixer of pygame plays as fast as the
program reads, which is 50 to 100 times as fast as in a game. OpenAL plays in real time to a file,
and the loop of the game runs at 60 frames per second. A server in this process replaces the
service. This server sends noise as fast as the client reads. The test suite does not run this
program.

On a busy machine, frames are late. With Panda3D, speech may have a gap after a frame that took
longer than three quarters of the buffer of ``VoiceSound``. The thread of OpenAL may be late too. It
then plays what it has missed at once, which a device never does. So the program prints for each gap
the longest frame before the gap, and how late OpenAL was. A gap is a fault if neither was more than
250 ms.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import numpy as np
import numpy.typing as npt

from inworld_sync.games import VoiceLine

from support.audio_pipe import AudioPipe
from support.game_lines import RATE_HZ, noise
from support.openal import HEADER_BYTES, openal_file
from support.scripted import Service, scripted

FRAME_SECONDS = 1 / 60
CHUNK_SECONDS = 0.5
LIMIT_SECONDS = 60.0
AHEAD_MS = 5000
FRAME_BYTES = 4
# A gap after a frame that took longer, or after a longer delay of OpenAL, is not a fault.
IN_TIME_SECONDS = 0.25
# A frame is before a gap if it ended at most this long before the gap. OpenAL has a buffer of
# 0.4 s, and writes to the file in steps of 0.04 s.
BEFORE_SECONDS = 0.5
# After a delay of OpenAL, Panda3D needs up to this time to correct the time of the sound.
CORRECTION_SECONDS = 3.0


@attrs.frozen
class Played:
    """
    The audio that was played.

    Attributes:
        samples: The samples of the left channel.
        counted_gaps: How many gaps the adapter has counted.
        took_seconds: How long the loop took.
        frames: The end of each frame, as a time in seconds; its length in seconds; and the number
            of samples that had been played at this time. Empty if the game decides how fast the
            engine plays.
    """

    samples: npt.NDArray[np.int16]
    counted_gaps: int
    took_seconds: float
    frames: npt.NDArray[np.float64]


def sent(seconds: float) -> Iterator[bytes]:
    """Yield the chunks of audio that the service sends."""
    for number in range(round(seconds / CHUNK_SECONDS)):
        yield noise(CHUNK_SECONDS, seed=number)


def wait_for_service(voice: VoiceLine) -> None:
    """Wait until enough speech has arrived, because the loop must not overtake the service."""
    while voice.queued_ms < AHEAD_MS and voice.speech is None and voice.error is None:
        time.sleep(0.001)


def require_time(voice: VoiceLine, began: float, limit_seconds: float) -> None:
    """Raise an error if the loop takes too long."""
    if time.monotonic() - began > limit_seconds:
        raise TimeoutError(f"the line is {voice.state} after {limit_seconds:.0f} s")


def left(stereo: bytes) -> npt.NDArray[np.int16]:
    """Return the samples of the left channel."""
    return np.frombuffer(stereo, "<i2")[::2]


def play_with_pygame(voice: VoiceLine, folder: Path, seconds: float) -> Played:
    """Play the line as fast as possible."""
    import pygame.mixer

    from inworld_sync.games.pygame import VoiceChannel

    os.environ["SDL_AUDIODRIVER"] = "disk"
    os.environ["SDL_DISKAUDIOFILE"] = str(folder / "sound")
    os.environ["SDL_DISKAUDIODELAY"] = "0"
    began = time.monotonic()
    with AudioPipe(folder / "sound", FRAME_BYTES, RATE_HZ) as pipe:
        pygame.mixer.init(RATE_HZ, -16, 2, 512, allowedchanges=0)
        channel = VoiceChannel(voice, clock=lambda: pipe.seconds)
        while not voice.is_over:
            require_time(voice, began, seconds + LIMIT_SECONDS)
            wait_for_service(voice)
            pipe.read(FRAME_SECONDS)
            voice.update(FRAME_SECONDS)
            channel.update()
        for _ in range(60):
            pipe.read(FRAME_SECONDS)
        channel.close()
    pygame.mixer.quit()
    took = time.monotonic() - began
    return Played(left(bytes(pipe.played)), channel.gaps, took, np.zeros((0, 3)))


def play_with_panda3d(voice: VoiceLine, folder: Path, seconds: float) -> Played:
    """Play the line in real time, at 60 frames per second."""
    from inworld_sync.games.panda3d import VoiceSound

    path = folder / "sound"
    frames: list[tuple[float, float, float]] = []
    wait_for_service(voice)
    with openal_file(path, RATE_HZ) as manager:
        sound = VoiceSound(voice, manager)
        began = last = due = time.monotonic()
        while not voice.is_over:
            require_time(voice, began, 1.2 * seconds + LIMIT_SECONDS)
            due = max(due + FRAME_SECONDS, last)
            time.sleep(max(0.0, due - time.monotonic()))
            now = time.monotonic()
            voice.update(now - last)
            sound.update()
            manager.update()
            played = (path.stat().st_size - HEADER_BYTES) / FRAME_BYTES
            frames.append((time.monotonic(), now - last, played))
            last = now
        time.sleep(1.0)  # OpenAL plays the rest of its buffer
        sound.close()
    stereo = path.read_bytes()[HEADER_BYTES:]
    return Played(left(stereo), sound.gaps, time.monotonic() - began, np.array(frames))


def gaps_in(played: Played) -> tuple[list[str], list[str]]:
    """
    Find the gaps. No sample of the noise is 0, so a sample of 0 is a gap.

    Returns:
        A description of each gap that is a fault, and of each gap after a late frame or a delay of
        OpenAL.
    """
    sounding = np.flatnonzero(played.samples)
    faults, late = [], []
    for at in np.flatnonzero(np.diff(sounding) > 1):
        start = int(sounding[at]) + 1
        length_ms = (int(sounding[at + 1]) - start) / RATE_HZ * 1000
        gap = f"a gap of {length_ms:.0f} ms was played at {start / RATE_HZ:.2f} s"
        if not len(played.frames):
            faults.append(gap)
            continue
        ends, lengths, positions = played.frames.T
        # The first frame that has seen the end of the gap in the file.
        seen = min(int(np.searchsorted(positions, int(sounding[at + 1]))), len(ends) - 1)
        since = ends[seen] - BEFORE_SECONDS - length_ms / 1000
        longest = float(lengths[np.searchsorted(ends, since) : seen + 1].max())
        behind = ends - positions / RATE_HZ
        first = np.searchsorted(ends, since - CORRECTION_SECONDS)
        delay = float(behind[first : seen + 1].max() - np.median(behind))
        gap += (
            f"; before it, the longest frame took {longest * 1000:.0f} ms, and OpenAL was at most "
            f"{delay * 1000:.0f} ms late"
        )
        (late if max(longest, delay) > IN_TIME_SECONDS else faults).append(gap)
    return faults, late


def faults_in(found: npt.NDArray[np.int16], seconds: float) -> list[str]:
    """
    Compare the played audio with the sent audio, and return the differences.

    The volume may differ from the volume that was sent, but must be constant. Gaps do not count.
    """
    faults = []
    heard = found[found != 0].astype(np.float32)
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
        played = play(voice, Path(folder), seconds)
        faults, late = gaps_in(played)
        if played.counted_gaps and not (faults or late):
            faults.append(f"{played.counted_gaps} gaps were counted, but none was played")
        faults += faults_in(played.samples, seconds)
        if voice.state != "finished":
            faults.append(f"the line is {voice.state}: {voice.error}")
    for gap in late:
        sys.stdout.write(f"LATE: {gap}\n")
    for fault in faults[:20]:
        sys.stdout.write(f"WRONG: {fault}\n")
    if len(played.frames):
        lengths_ms = played.frames[:, 1] * 1000
        sys.stdout.write(
            f"{len(lengths_ms)} frames, median {np.median(lengths_ms):.0f} ms, longest "
            f"{lengths_ms.max():.0f} ms, {(lengths_ms > IN_TIME_SECONDS * 1000).sum()} longer than "
            f"{IN_TIME_SECONDS * 1000:.0f} ms\n"
        )
    sys.stdout.write(
        f"{arguments.engine}: {seconds:.0f} s of speech in {played.took_seconds:.0f} s, "
        f"{played.counted_gaps} gaps counted, {len(late)} gaps because of the load, "
        f"{len(faults)} faults\n"
    )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
