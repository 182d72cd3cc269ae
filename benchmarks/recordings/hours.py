"""
Transcribes a call of several hours with the emulator, and measures the memory of the client.

The call has two speakers. Each speaker has one channel. Each word is a tone. The emulator detects
speech by its loudness and recognizes words by their frequency. Both methods also work after
compression to MP3, and are faster than speech recognition.

The emulator runs in another process. The client sends 5000 messages per second instead of 50, which
is the limit of the service, so that the measurement takes minutes instead of hours.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import numpy as np
import numpy.typing as npt

from inworld_sync import Inworld, Transcription
from inworld_sync.audio.wav import header
from inworld_sync.emulator import Emulator
from inworld_sync.emulator.recognition.engine import SpeechEngine
from inworld_sync.emulator.recognition.protocols import SAMPLE_RATE_HZ, HeardWord
from inworld_sync.transport.chunk_rate import ChunkRateLimiter

RATE_HZ = 8000
WORD_MS, GAP_MS, TURN_MS, PAUSE_MS = 250, 50, 1200, 800
# For each speaker, the tones of the words.
TONES_HZ = ((500, 700, 900, 1100), (1300, 1500, 1700, 1900))
BLOCK_SECONDS = 2 * (TURN_MS + PAUSE_MS) / 1000
# By how many MiB the memory may grow after the first minute. The transcript is not counted.
MAX_GROWTH_MIB = 16
MESSAGES_PER_SECOND = 5000.0
RUNS = [
    (suffix, channels) for suffix in ("raw", "wav", "mp3") for channels in ("mixed", "separate")
]


def block() -> bytes:
    """Return stereo audio in which each speaker says four words, one speaker after the other."""
    channels = []
    for number, tones in enumerate(TONES_HZ):
        pieces = [np.zeros(RATE_HZ * (TURN_MS + PAUSE_MS) // 1000)] * number
        for hz in tones:
            at = np.arange(RATE_HZ * WORD_MS // 1000) / RATE_HZ
            pieces += [0.4 * np.sin(2 * np.pi * hz * at), np.zeros(RATE_HZ * GAP_MS // 1000)]
        said = np.concatenate(pieces)
        channels.append(np.pad(said, (0, round(RATE_HZ * BLOCK_SECONDS) - len(said))))
    return (np.stack(channels, axis=1) * 32767).astype("<i2").tobytes()


def write_call(path: Path, hours: float) -> int:
    """Write a call. Return the number of its turns."""
    frames, count = block(), round(hours * 3600 / BLOCK_SECONDS)
    if path.suffix == ".mp3":
        command = ["ffmpeg", "-v", "error", "-y", "-f", "s16le", "-ar", str(RATE_HZ), "-ac", "2"]
        command += ["-i", "-", "-c:a", "libmp3lame", "-b:a", "64k", str(path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as encoder:
            assert encoder.stdin is not None
            for _ in range(count):
                encoder.stdin.write(frames)
        assert not encoder.returncode
    else:
        with path.open("wb") as file:
            if path.suffix == ".wav":
                file.write(header(RATE_HZ, 2, len(frames) * count))
            for _ in range(count):
                file.write(frames)
    return 2 * count


# The service.


class _LoudnessVad:
    """Detects speech by its loudness."""

    window_samples = SAMPLE_RATE_HZ * 32 // 1000

    def probability(self, window: bytes) -> float:
        return float(np.abs(np.frombuffer(window, "<i2")[::8]).max() > 5000)


class _ToneRecognizer:
    """Recognizes tones. The word of a tone is its frequency in Hz."""

    languages = ("en",)

    def recognize(self, pcm: bytes) -> tuple[HeardWord, ...]:
        samples = np.frombuffer(pcm, "<i2").astype(np.float32)
        step = SAMPLE_RATE_HZ * 25 // 1000
        words: list[HeardWord] = []
        start: int | None = None
        for at in range(0, len(samples) + step, step):
            part = samples[at : at + step]
            is_loud = bool(len(part)) and float(np.abs(part).max()) > 5000
            if is_loud and start is None:
                start = at
            elif not is_loud and start is not None:
                words.append(self._word(samples[start:at], start))
                start = None
        return tuple(words)

    def _word(self, samples: npt.NDArray[np.float32], start: int) -> HeardWord:
        spectrum = np.abs(np.fft.rfft(samples))
        hz = int(spectrum.argmax()) * SAMPLE_RATE_HZ / len(samples)
        known = [each for tones in TONES_HZ for each in tones]
        nearest = min(known, key=lambda each: abs(each - hz))
        per_ms = SAMPLE_RATE_HZ / 1000
        end = start + len(samples)
        return HeardWord(str(nearest), 1.0, round(start / per_ms), round(end / per_ms))


def serve() -> None:
    """Run the emulator until standard input ends."""
    engine = SpeechEngine(_ToneRecognizer(), new_vad=_LoudnessVad)
    with Emulator(speech_engine=engine) as server:
        print(json.dumps([server.url, server.api_key]), flush=True)
        sys.stdin.read()


# The client and the service run in different processes, so only the client's memory is measured.


def peak_mib() -> float:
    """Return the largest amount of memory that this process has used, in MiB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def size_bytes(value: object) -> int:
    """Return the bytes of memory that a transcript and all its parts use."""
    size = sys.getsizeof(value)
    if isinstance(value, tuple):
        return size + sum(map(size_bytes, value))
    if attrs.has(type(value)):
        return size + sum(map(size_bytes, attrs.astuple(value, recurse=False)))
    return size


def transcribe(path: str, channels: str, url: str, api_key: str) -> None:
    """Transcribe a call, and print the turns and the memory as JSON."""
    first_minute_mib = 0.0

    def watch(said: Transcription) -> None:
        nonlocal first_minute_mib
        if not first_minute_mib and said.words and said.words[-1].end_ms > 60_000:
            first_minute_mib = peak_mib()

    started = time.monotonic()
    with Inworld(base_url=url, api_key=api_key) as iw:
        iw.stt._recordings_rate = ChunkRateLimiter(MESSAGES_PER_SECOND)  # noqa: SLF001
        is_raw = path.endswith(".raw")
        transcript = iw.stt.transcribe(
            path,
            sample_rate_hz=RATE_HZ if is_raw else None,
            channels="separate" if channels == "separate" else 2 if is_raw else 1,
            # The default model sends no times of words.
            model="assemblyai/u3-rt-pro",
            on_transcript=watch,
            timeout=60.0,
        )
    took = time.monotonic() - started
    end_mib = peak_mib()
    print(
        json.dumps(
            {
                "turns": [[turn.channel, turn.text] for turn in transcript.turns],
                "seconds": took,
                "first_minute_mib": first_minute_mib,
                "end_mib": end_mib,
                "transcript_mib": size_bytes(transcript.turns) / (1 << 20),
            }
        )
    )


def expected(turns: int, channels: str) -> Iterator[list[object]]:
    """Yield the channel and the text of each turn that the client must receive."""
    for number in range(turns):
        text = " ".join(map(str, TONES_HZ[number % 2]))
        yield [number % 2 if channels == "separate" else None, text]


def measure(hours: float) -> bool:
    """Print a row for each file and kind of channels. Return whether all goals are met."""
    met = True
    print(f"The call has {hours:g} hours. The memory is the peak memory of the client.\n")
    print(
        "| file | channels | turns | time | memory after a minute of the call "
        "| memory at the end | size of the transcript | goal |"
    )
    print("|---|---|---|---|---|---|---|---|")
    this = [sys.executable, "-m", "benchmarks.recordings.hours"]
    with tempfile.TemporaryDirectory() as folder:
        for suffix, channels in RUNS:
            path = Path(folder) / f"call.{suffix}"
            turns = 0
            if not path.exists():
                turns = write_call(path, hours)
            turns = turns or 2 * round(hours * 3600 / BLOCK_SECONDS)
            with subprocess.Popen(
                [*this, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            ) as server:
                assert server.stdout is not None
                url, api_key = json.loads(server.stdout.readline())
                done = subprocess.run(
                    [*this, str(path), channels, url, api_key], stdout=subprocess.PIPE, check=True
                )
            found = json.loads(done.stdout)
            is_right = found["turns"] == list(expected(turns, channels))
            wrong = [
                f"turn {at}: got {got}, expected {want}"
                for at, (got, want) in enumerate(
                    zip(found["turns"], expected(turns, channels), strict=False)
                )
                if got != want
            ]
            growth_mib = found["end_mib"] - found["first_minute_mib"] - found["transcript_mib"]
            is_met = is_right and growth_mib < MAX_GROWTH_MIB
            met &= is_met
            print(
                f"| {suffix} | {channels} | {len(found['turns'])} of {turns}, "
                f"{'right' if is_right else 'WRONG'} | {found['seconds']:.0f} s | "
                f"{found['first_minute_mib']:.0f} MiB | {found['end_mib']:.0f} MiB | "
                f"{found['transcript_mib']:.0f} MiB | "
                f"{'met' if is_met else 'NOT MET'} |",
                flush=True,
            )
            print("\n".join(wrong[:5]), end="\n" if wrong else "", flush=True)
    print()
    return met


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        transcribe(*sys.argv[1:])
