"""
Simulates a room with a loudspeaker and a microphone, in virtual time.

Each device has its own clock. The loudspeaker distorts the sound, the room reflects the sound, and
the microphone records the result at its own clock. The callbacks of both devices are late by random
times.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import NamedTuple

import attrs
import numpy as np
import numpy.typing as npt
import soxr

from inworld_sync.audio.echo.canceller import EchoCanceller, EchoSettings
from inworld_sync.audio.taps import BlockTime

__all__ = ["Recording", "Room", "cancel", "record"]

Wave = npt.NDArray[np.float32]

# The time at which the loudspeaker plays, and the microphone captures, its first sample.
START_S = 1.0
# The duration of the audio in the buffer of the loudspeaker.
OUTPUT_LATENCY_S = 0.08
INPUT_LATENCY_S = 0.02
OUTPUT_BLOCK_S = 0.02
INPUT_BLOCK_S = 0.01
# By how much the direct sound is louder than its reverberation.
DIRECT_DB = 6.0
# The noise of the microphone, in units of 16-bit samples.
NOISE = 4.0


@attrs.frozen(kw_only=True)
class Room:
    """
    A room with its devices.

    Attributes:
        seed: The seed of all random numbers.
        seconds: The duration of the simulation.
        delay_ms: By how many milliseconds the echo is later than the devices report.
        reverberation_s: The time in which the reverberation decays by 60 dB.
        distortion: How much the loudspeaker distorts: 0 is none, 1 is much.
        speaker_ppm: By how many parts per million the clock of the loudspeaker is too fast.
        microphone_ppm: By how many parts per million the clock of the microphone is too fast.
        speaker_hz: The sample rate of the loudspeaker.
        microphone_hz: The sample rate of the microphone.
        late_ms: The mean time by which callbacks are late.
        is_reported: Whether the devices report how late each callback is.
        underruns: How many times the loudspeaker has nothing to play for a moment.
        replaced: Whether the loudspeaker is replaced by another after half of the time.
        near_db: By how many decibels the user is louder than the echo.
    """

    seed: int
    seconds: float = 60.0
    delay_ms: float = 20.0
    reverberation_s: float = 0.25
    distortion: float = 0.0
    speaker_ppm: float = 0.0
    microphone_ppm: float = 0.0
    speaker_hz: int = 24_000
    microphone_hz: int = 16_000
    late_ms: float = 1.0
    is_reported: bool = True
    underruns: int = 0
    replaced: bool = False
    near_db: float = 6.0

    def describe(self) -> str:
        """Return the differences from the default values."""
        fields = {field.name: field.default for field in attrs.fields(Room)}
        shown = {name: getattr(self, name) for name in fields if name != "seed"}
        return ", ".join(f"{k} {v}" for k, v in shown.items() if v != fields[k]) or "plain"


class Recording(NamedTuple):
    """The audio that the loudspeaker plays, and its echo at the microphone."""

    played: npt.NDArray[np.int16]
    heard_s: npt.NDArray[np.float64]  # when each sample of *played* is really heard
    devices: npt.NDArray[np.int64]  # the number of the loudspeaker that plays each sample
    echo: Wave  # at the rate of the microphone


def record(room: Room, played: npt.NDArray[np.int16]) -> Recording:
    """Return the echo of the samples that the loudspeaker plays."""
    chance = np.random.default_rng(room.seed)
    rate = room.speaker_hz
    real_hz = rate * (1.0 + room.speaker_ppm * 1e-6)
    # Pairs of a position in *played* and the count of samples of silence before this position. A
    # device plays each block without a gap. It has nothing to play only between two blocks.
    block = int(OUTPUT_BLOCK_S * rate)
    gaps = [
        (int(at) // block * block, int(chance.uniform(0.005, 0.06) * rate))
        for at in sorted(chance.uniform(0.3, 0.9, room.underruns) * len(played))
    ]
    change = len(played) // 2 // block * block
    if room.replaced:
        gaps = sorted([*gaps, (change, rate * 3 // 10)])
    silences = np.zeros(len(played), np.int64)
    for at, size in gaps:
        silences[at:] += size
    places = np.arange(len(played)) + silences
    physical = np.zeros(places[-1] + 1 + rate // 2, np.float32)
    physical[places] = played
    heard = _reverberated(_distorted(physical, room.distortion), _impulses(room, chance))
    if room.replaced:
        other = _reverberated(_distorted(physical, 0.5), _impulses(room, chance))
        border = change + int(silences[change]) - rate // 10
        heard = np.concatenate((heard[:border], other[border:]))
    delay = round(room.delay_ms * rate / 1000.0)
    heard = np.concatenate((np.zeros(delay, np.float32), heard))
    microphone_hz = room.microphone_hz * (1.0 + room.microphone_ppm * 1e-6)
    echo = np.asarray(soxr.resample(heard, real_hz, microphone_hz), np.float32)
    devices = np.ones(len(played), np.int64)
    if room.replaced:
        devices[change:] = 2
    return Recording(played, START_S + places / real_hz, devices, echo)


def _distorted(wave: Wave, amount: float) -> Wave:
    """Clip softly, and asymmetrically, as a small loudspeaker does."""
    if not amount:
        return wave
    scale = np.float32(32768.0 * (1.0 - 0.75 * amount))
    bent = np.tanh(wave / scale) + 0.1 * amount * np.tanh(wave / scale) ** 2
    return np.asarray(bent * scale, np.float32)


def _impulses(room: Room, chance: np.random.Generator) -> Wave:
    """Return the impulse response of a room: the direct sound, and reflections that decay."""
    count = int(max(room.reverberation_s, 0.05) * room.speaker_hz)
    decay = np.exp(-6.9 * np.arange(count) / count)
    response = chance.normal(size=count) * decay * 0.05
    # The direct sound is louder than the reverberation, since loudspeaker and microphone are near.
    response *= 0.6 * 10 ** (-DIRECT_DB / 20) / np.sqrt((response**2).sum())
    response[0] = 0.6
    # A small loudspeaker has no low frequencies.
    response = response - np.convolve(response, np.ones(48) / 48)[: len(response)]
    return np.asarray(response, np.float32)


def _reverberated(wave: Wave, response: Wave) -> Wave:
    """Convolve in pieces, so that half an hour of audio needs little memory."""
    piece = 1 << 16
    size = 1 << (piece + len(response)).bit_length()
    spectrum = np.fft.rfft(response, size)
    result = np.zeros(len(wave) + size, np.float32)
    for start in range(0, len(wave), piece):
        part = np.fft.irfft(np.fft.rfft(wave[start : start + piece], size) * spectrum, size)
        result[start : start + size] += part.astype(np.float32)
    return result[: len(wave)]


class _Call(NamedTuple):
    """
    A callback of a device.

    Attributes:
        at_ns: When the callback runs.
        is_input: Whether the device is the microphone.
        start: Index of the first sample.
        end: Index after the last sample.
        time_ns: The time that the device reports for the first sample.
    """

    at_ns: int
    is_input: bool
    start: int
    end: int
    time_ns: int


def _calls(room: Room, recording: Recording, recorded: int) -> Iterator[_Call]:
    """Yield the callbacks of both devices in the order of time."""
    chance = np.random.default_rng(room.seed + 1000)
    block = int(OUTPUT_BLOCK_S * room.speaker_hz)
    starts = np.arange(0, len(recording.played), block)
    heard = recording.heard_s[starts]
    late = chance.exponential(room.late_ms / 1000.0, len(starts)).clip(0, 0.06)
    outputs = _timed(starts, block, heard, heard - OUTPUT_LATENCY_S, late, room, chance, False)
    block = int(INPUT_BLOCK_S * room.microphone_hz)
    starts = np.arange(0, recorded, block)
    captured = START_S + starts / (room.microphone_hz * (1.0 + room.microphone_ppm * 1e-6))
    late = chance.exponential(room.late_ms / 1000.0, len(starts)).clip(0, 0.06)
    ready = captured + INPUT_BLOCK_S + INPUT_LATENCY_S
    inputs = _timed(starts, block, captured, ready, late, room, chance, True)
    return heapq.merge(outputs, inputs)


def _timed(
    starts: npt.NDArray[np.int64],
    block: int,
    real: npt.NDArray[np.float64],
    due: npt.NDArray[np.float64],
    late: npt.NDArray[np.float64],
    room: Room,
    chance: np.random.Generator,
    is_input: bool,
) -> Iterator[_Call]:
    calls = np.maximum.accumulate(due + late)
    error = chance.normal(0, 0.0002, len(starts)) if room.is_reported else calls - due
    for start, call, time in zip(starts, calls, real + error, strict=True):
        yield _Call(int(call * 1e9), is_input, int(start), int(start) + block, int(time * 1e9))


def cancel(
    room: Room,
    recording: Recording,
    recorded: npt.NDArray[np.int16],
    settings: EchoSettings | None = None,
) -> tuple[npt.NDArray[np.int16], EchoCanceller]:
    """Remove the echo from *recorded*. Return the cleaned audio and the canceller."""
    canceller = EchoCanceller(
        settings or EchoSettings(),
        recorded_hz=room.microphone_hz,
        sample_rate_hz=16_000,
        played_hz=room.speaker_hz,
    )
    result = bytearray()
    breaks = 0
    last_end_s = 0.0
    for call in _calls(room, recording, len(recorded)):
        if call.is_input:
            pcm = recorded[call.start : call.end].tobytes()
            canceller.add_recorded(call.start, pcm, [BlockTime(call.start, call.time_ns, 0, 1)])
            result += canceller.process(call.at_ns)
        else:
            begins_s = float(recording.heard_s[call.start])
            breaks += abs(begins_s - last_end_s) > 0.001 and call.start > 0
            pcm = recording.played[call.start : call.end].tobytes()
            devices = int(recording.devices[call.start])
            block = BlockTime(call.start, call.time_ns, breaks, devices)
            canceller.add_played(call.start, pcm, [block])
            end = min(call.end, len(recording.played)) - 1
            last_end_s = float(recording.heard_s[end]) + 1.0 / room.speaker_hz
    result += canceller.finish()
    return np.frombuffer(bytes(result), "<i2"), canceller
