"""
Measures playback and recording.

Each function makes one measurement, and returns the goal, whether the goal is met, and the figures.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.sound.common import NoiseSpeech, Outcome, holding_the_gil, noise, spread
from benchmarks.sound.compare import find, match
from benchmarks.sound.pulse import RATE_HZ, Recorder, pactl, play_file
from inworld_sync import (
    AudioChunk,
    AudioEncoding,
    DeviceChanged,
    Inworld,
    Microphone,
    Playback,
    Speaker,
    Speech,
    WordTime,
)

__all__ = [
    "busy_interpreter",
    "interruptions",
    "microphone",
    "slow_network",
    "stream",
    "unplug",
    "words",
]

SEED = int(os.environ.get("SEED", "1"))
STREAM_S = float(os.environ.get("STREAM_S", "60"))
BUSY_S = float(os.environ.get("BUSY_S", "30"))
INTERRUPTIONS = int(os.environ.get("INTERRUPTIONS", "200"))
WORDS = int(os.environ.get("WORDS", "200"))

# PortAudio requests a quarter of the latency (80 ms) as the period of PulseAudio.
PERIOD_MS = 20.0

TEXT = (
    "The harbour was quiet in the early morning, and only the gulls were awake. "
    "A small boat came in with its lamp still lit. "
    "Nobody on the quay asked where it had been all night. "
)


def stream() -> Outcome:
    """Stream speech of the emulator to a speaker and record it."""
    heard = []
    with Inworld(local=True) as iw, Speaker(RATE_HZ) as speaker, Recorder() as recorder:
        samples = 0
        while samples < STREAM_S * RATE_HZ:
            for chunk in iw.tts.stream(TEXT):
                speaker.write(chunk.pcm)
                heard.append(bytes(chunk.pcm))
                samples += len(chunk.pcm) // 2
        speaker.drain()
        stats = speaker.stats
        recorder.settle()
        recording = recorder.samples()
    original = np.frombuffer(b"".join(heard), "<i2")
    found = match(recording, original)
    figures = {"seconds": len(original) / RATE_HZ, **found._asdict(), "stats": str(stats)}
    declared = stats.stalls + stats.underflows
    met = found.missing == 0 and (found.breaks == 0 or declared > 0)
    return Outcome("no sample missing, and no gap that the speaker did not report", met, figures)


def busy_interpreter() -> Outcome:
    """Play audio with a speaker, then with a callback in Python; a thread holds the GIL."""
    original = noise(BUSY_S, SEED)
    with Speaker(RATE_HZ) as speaker, Recorder() as recorder, holding_the_gil():
        speaker.write(original.tobytes())
        speaker.drain()
        stats = speaker.stats
        recorder.settle()
        ours = match(recorder.samples(), original)
    with Recorder() as recorder, holding_the_gil():
        theirs_underflows = _play_from_python(original)
        recorder.settle()
        theirs = match(recorder.samples(), original)
    met = stats.underflows == 0 and ours.missing == ours.breaks == 0
    figures = {
        "ours": {"underflows": stats.underflows, **ours._asdict()},
        "python callback": {"underflows": theirs_underflows, **theirs._asdict()},
        "seconds": BUSY_S,
    }
    return Outcome("no underflow while the GIL is held 300 of 400 ms", met, figures)


def _play_from_python(samples: npt.NDArray[np.int16]) -> int:
    """Play with a Python callback, as most players do. Return the count of underflows."""
    import sounddevice

    pcm, place, underflows = samples.tobytes(), 0, 0
    done = threading.Event()

    def callback(out: Any, frames: int, _: object, status: Any) -> None:
        nonlocal place, underflows
        underflows += bool(status.output_underflow)
        piece = pcm[place : place + 2 * frames]
        place += len(piece)
        out[: len(piece)] = piece
        out[len(piece) :] = bytes(len(out) - len(piece))
        if not piece:
            done.set()

    with sounddevice.RawOutputStream(
        samplerate=RATE_HZ, channels=1, dtype="int16", latency=0.08, callback=callback
    ):
        done.wait(10 * BUSY_S)
    return underflows


def interruptions() -> Outcome:
    """Interrupt at random times. Compare the reported position with the recording."""
    chance = random.Random(SEED)
    differences = []
    taken_ms = []
    with Speaker(RATE_HZ) as speaker, Recorder() as recorder:
        for trial in range(INTERRUPTIONS):
            before = recorder.length
            original = noise(3.0, SEED * 100_000 + trial)
            playback = Playback(NoiseSpeech(original), speaker)
            time.sleep(chance.uniform(0.05, 1.2))
            start = time.monotonic()
            heard_ms = playback.interrupt()
            taken_ms.append((time.monotonic() - start) * 1000.0)
            recorder.settle(0.25)
            recorded = _recorded(recorder.samples(before), original)
            differences.append(recorded - heard_ms * RATE_HZ / 1000.0)
            if abs(differences[-1]) > 0.5:
                print(f"trial {trial}: {heard_ms:.3f} ms reported, {speaker.stats}")
        underflows = speaker.stats.underflows
    worst_ms = max(map(abs, differences)) * 1000.0 / RATE_HZ
    figures = {
        "interruptions": len(differences),
        "exact": sum(abs(difference) < 0.5 for difference in differences),
        "worst difference, ms": round(worst_ms, 3),
        "interrupt() median, ms": round(float(np.median(taken_ms)), 2),
        "interrupt() worst, ms": round(max(taken_ms), 2),
        "underflows": underflows,
    }
    goal = f"reported position within {PERIOD_MS} ms of the recorded position"
    return Outcome(goal, worst_ms <= PERIOD_MS, figures)


def _recorded(recording: npt.NDArray[np.int16], original: npt.NDArray[np.int16]) -> int:
    """Return how many samples of the original were played, including the final fade."""
    found = match(recording, original)
    if found.start < 0:
        return 0
    # The noise has no zero sample, and its fade has at most a few zero samples in a row. So 16 zero
    # samples in a row are silence after the fade.
    silent = np.flatnonzero(recording[found.end :] == 0)
    runs = np.flatnonzero(np.convolve(np.diff(silent) == 1, np.ones(15), "valid") == 15)
    return found.reached + (int(silent[runs[0]]) if len(runs) else 0)


def words() -> Outcome:
    """Compare the time of each word callback with the time at which its sample was played."""
    chance = random.Random(SEED)
    starts_ms, at = [], 30.0
    for _ in range(WORDS):
        at += chance.uniform(60, 400)
        starts_ms.append(at)
    times = tuple(WordTime(str(index), start, start + 50) for index, start in enumerate(starts_ms))
    original = noise(at / 1000.0 + 0.5, SEED)
    callbacks: list[tuple[float, float]] = []
    polls: list[tuple[float, str]] = []
    with Speaker(RATE_HZ) as speaker, Recorder() as recorder:
        playback = Playback(
            NoiseSpeech(original, times),
            speaker,
            lambda word: callbacks.append((word.start_ms, time.monotonic())),
        )
        pauses = _pause_now_and_then(speaker, playback, chance)
        while not playback.done:
            word = playback.word_at()
            polls.append((time.monotonic(), word.text if word else ""))
            time.sleep(1 / 60)
        playback.wait(10)
        pauses.join()
        underflows = speaker.stats.underflows
        recorder.settle()
        recording, clock = recorder.samples(), recorder.times()
    errors = [
        (moment - clock[_place(recording, original, start_ms)]) * 1000.0
        for start_ms, moment in callbacks
    ]
    figures = {
        "words": len(errors),
        "callback after the sound, ms": spread(errors),
        "earliest, ms": round(min(errors), 2),
        "off by more than a period": sum(bool(abs(error) > PERIOD_MS) for error in errors),
        "underflows": underflows,
        "60 Hz polls": len(polls),
    }
    met = len(errors) == WORDS and max(map(abs, errors)) <= PERIOD_MS
    return Outcome(f"every word callback within {PERIOD_MS} ms, also after pauses", met, figures)


def _place(
    recording: npt.NDArray[np.int16], original: npt.NDArray[np.int16], start_ms: float
) -> int:
    """
    Return the index in the recording of the first sample of a word.

    If a fade has changed the samples at the start of the word, the function finds samples shortly
    before or after the fade and calculates the start from their index.
    """
    sample = round(start_ms * RATE_HZ / 1000.0)
    for away in (0, 120, -144, 240, -264):
        found = find(recording, original[sample + away : sample + away + 24])
        if found >= 0:
            return found - away
    raise SystemExit(f"the word at {start_ms:.0f} ms was not recorded")


def _pause_now_and_then(
    speaker: Speaker, playback: Playback, chance: random.Random
) -> threading.Thread:
    def run() -> None:
        while not playback.done:
            time.sleep(chance.uniform(1.0, 3.0))
            speaker.pause()
            time.sleep(chance.uniform(0.05, 0.6))
            speaker.resume()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def unplug() -> Outcome:
    """Remove the sink of the sound server while a speaker plays, and add another sink."""
    changes: list[DeviceChanged] = []
    original = noise(4.0, SEED)
    with Speaker(RATE_HZ, on_change=changes.append) as speaker:
        speaker.write(original[: len(original) // 2].tobytes())
        time.sleep(0.5)
        pactl("unload-module", "module-null-sink")
        pactl("load-module", "module-null-sink", "sink_name=three", f"rate={RATE_HZ}")
        speaker.write(original[len(original) // 2 :].tobytes())
        speaker.drain(timeout=20)
        heard = speaker.heard_samples
    changed = [str(change) for change in changes]
    figures = {"heard": heard, "samples": len(original), "changes": changed}
    return Outcome(
        "all samples played although the sink was removed", heard == len(original), figures
    )


class _SlowSpeech:
    """A speech whose chunks arrive slightly slower than real time, sometimes 0.4 s late."""

    def __init__(self, speech: Speech, chance: random.Random) -> None:
        self._speech = speech
        self._chance = chance

    def __iter__(self) -> Iterator[AudioChunk]:
        pcm, size = self._speech.pcm, RATE_HZ // 10 * 2
        due = time.monotonic()
        for start in range(0, len(pcm), size):
            begin_ms, end_ms = start / 48, (start + size) / 48
            words = [word for word in self._speech.words if begin_ms <= word.start_ms < end_ms]
            yield AudioChunk(
                "slow", bytes(pcm[start : start + size]), AudioEncoding.PCM, RATE_HZ,
                words=tuple(words),
            )  # fmt: skip
            due += 0.104 if self._chance.random() > 0.05 else 0.5
            time.sleep(max(due - time.monotonic(), 0))

    def close(self) -> None:
        """Do nothing, because there is no connection to close."""


def slow_network() -> Outcome:
    """Compare the times of word callbacks with the recording. The speech is late and stretched."""
    with Inworld(local=True) as iw:
        speech = iw.tts.synthesize(TEXT * 4)
    original = np.frombuffer(speech.pcm, "<i2")
    callbacks: list[tuple[float, float]] = []
    with Speaker(RATE_HZ) as speaker, Recorder() as recorder:
        before = recorder.length
        playback = Playback(
            _SlowSpeech(speech, random.Random(SEED)),
            speaker,
            lambda word: callbacks.append((word.start_ms, time.monotonic())),
        )
        playback.wait()
        stats = speaker.stats
        recorder.settle()
        recording, clock = recorder.samples(before), recorder.times()[before:]
    errors, place = [], 0
    for start_ms, moment in callbacks:
        found = _voiced_place(recording, original, start_ms, place)
        if found >= 0:
            place = found
            errors.append((moment - clock[found]) * 1000.0)
    figures = {
        "word callbacks": len(callbacks),
        "words": len(speech.words),
        "found in the recording": len(errors),
        "callback after the sound, ms": spread(errors),
        "earliest, ms": round(min(errors), 2),
        "heard, ms": playback.heard_ms,
        "duration, ms": speech.duration_ms,
        "stats": str(stats),
    }
    met = (
        len(callbacks) == len(speech.words)
        and playback.heard_ms == speech.duration_ms
        and max(map(abs, errors)) <= PERIOD_MS
    )
    return Outcome(f"every word callback within {PERIOD_MS} ms in stretched audio", met, figures)


def _voiced_place(
    recording: npt.NDArray[np.int16], original: npt.NDArray[np.int16], start_ms: float, after: int
) -> int:
    """
    Return the index in the recording of the first sample of a word, or -1.

    The start is calculated from the first 48 samples of the word that are not quiet and that were
    recorded without stretching.
    """
    sample = round(start_ms * RATE_HZ / 1000.0)
    for away in range(0, 960, 48):
        key = original[sample + away : sample + away + 48]
        if np.abs(key).max(initial=0) < 100:
            continue
        # Search only the next 5 s. The word starts within this time, and a later repetition of
        # the same sentence must not match.
        found = find(recording[: after + 5 * RATE_HZ], key, after)
        if found >= 0:
            return found - away
    return -1


def microphone() -> Outcome:
    """Record with a microphone while a thread holds the GIL for 300 of every 400 ms."""
    pactl("set-default-source", "two.monitor")
    original = noise(BUSY_S / 2, SEED)
    with Recorder("two") as recorder, Microphone(RATE_HZ) as source, holding_the_gil():
        player = play_file("two", bytes(RATE_HZ) + original.tobytes() + bytes(2 * RATE_HZ))
        pcm = bytearray()
        while player.poll() is None or source.read(timeout=5).strip(b"\0"):
            pcm += source.read(timeout=5)
        dropped, overflows = source.dropped_samples, source.overflows
        control = match(recorder.samples(), original)
    found = match(np.frombuffer(bytes(pcm), "<i2"), original)
    met = dropped == overflows == 0 and found.exact >= control.exact
    figures = {
        "seconds": BUSY_S / 2,
        "dropped": dropped,
        "overflows": overflows,
        "ours": found._asdict(),
        "parec, another process": control._asdict(),
    }
    return Outcome("every sample recorded while the GIL is held 300 of 400 ms", met, figures)
