"""
A simulated room. A microphone records the sound of a loudspeaker after a delay. The microphone and
the loudspeaker have different clocks.

All times are virtual, so a test of some seconds of audio takes a fraction of that time and does not
depend on the speed of the machine.
"""

from __future__ import annotations

import attrs
import numpy as np
import numpy.typing as npt
import soxr

from inworld_sync.audio.echo.canceller import EchoCanceller, EchoSettings
from inworld_sync.audio.taps import BlockTime

__all__ = ["RATE_HZ", "Room", "babble", "removed_db"]

RATE_HZ = 16_000
PLAYED_HZ = 24_000
START_NS = 10**9
OUTPUT_LATENCY_NS = 80_000_000
INPUT_LATENCY_NS = 20_000_000

Wave = npt.NDArray[np.float64]


def babble(seconds: float, rate_hz: int, seed: int) -> Wave:
    """Return noise with the band and the rhythm of speech."""
    random = np.random.default_rng(seed)
    count = int(seconds * rate_hz)
    spectrum = np.fft.rfft(random.normal(size=count))
    hertz = np.fft.rfftfreq(count, 1 / rate_hz)
    spectrum *= (hertz > 200) & (hertz < 4000)
    wave = np.fft.irfft(spectrum / np.maximum(hertz, 500), count)
    wave *= np.maximum(np.sin(2 * np.pi * 2.1 * np.arange(count) / rate_hz + seed), 0) ** 0.5
    return np.asarray(wave * (3000 / wave.std()))


@attrs.define
class Room:
    """
    One loudspeaker, one microphone and the times that the devices report.

    Attributes:
        played: The samples that the loudspeaker plays, at 24 kHz.
        delay_ms: The delay of the echo in ms, after the time that the devices report.
        ppm: How much too fast the clock of the loudspeaker is, in parts per million.
        gap_at: The sample before which the loudspeaker plays nothing for 30 ms. With 0, there is
            no gap.
        late_ms: By how many milliseconds the times after the gap are reported too late.
        other_at: The first sample of another loudspeaker, which starts after a pause of 0.5 s.
            With 0, there is only one loudspeaker.
        near: The user's speech, at 16 kHz.
        recorded: The samples that the microphone records, at 16 kHz.
        stops_at: The sample at which the callbacks of the loudspeaker stop. With 0, they run until
            the end.
    """

    played: Wave
    delay_ms: float = 20.0
    ppm: float = 0.0
    gap_at: int = 0
    late_ms: float = 0.0
    other_at: int = 0
    stops_at: int = 0
    near: Wave = attrs.field(factory=lambda: np.zeros(0))
    recorded: npt.NDArray[np.int16] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        physical = self._physical()
        random = np.random.default_rng(7)
        count = PLAYED_HZ // 8
        response = random.normal(size=count) * np.exp(-6.9 * np.arange(count) / count) * 0.02
        response[0] = 0.3
        size = 1 << (len(physical) + count).bit_length()
        echo = np.fft.irfft(np.fft.rfft(physical, size) * np.fft.rfft(response, size), size)
        delay = np.zeros(round(self.delay_ms * PLAYED_HZ / 1000))
        echo = np.concatenate((delay, echo[: len(physical)]))
        mixed = soxr.resample(echo, PLAYED_HZ * (1 + self.ppm * 1e-6), RATE_HZ)
        mixed[: len(self.near)] += self.near[: len(mixed)]
        mixed += random.normal(size=len(mixed)) * 2
        self.recorded = mixed.round().clip(-32768, 32767).astype("<i2")

    def _physical(self) -> Wave:
        """Return the played samples with the silence of the gaps."""
        wave = self.played
        for at, silence in sorted(self._silences().items(), reverse=True):
            wave = np.concatenate((wave[:at], np.zeros(silence), wave[at:]))
        return wave

    def _silences(self) -> dict[int, int]:
        gaps = {self.gap_at: PLAYED_HZ * 3 // 100, self.other_at: PLAYED_HZ // 2}
        return {at: silence for at, silence in gaps.items() if at}

    def cancel(
        self, sample_rate_hz: int = RATE_HZ, settings: EchoSettings | None = None
    ) -> tuple[npt.NDArray[np.int16], EchoCanceller]:
        """Remove the echo. Return the result and the canceller."""
        canceller = EchoCanceller(
            settings or EchoSettings(),
            recorded_hz=RATE_HZ,
            sample_rate_hz=sample_rate_hz,
            played_hz=PLAYED_HZ,
        )
        played = self.played.round().astype("<i2")
        block, done, now_ns = 480, 0, 0
        result = bytearray()
        for start in range(0, len(self.recorded), 160):
            captured_ns = START_NS + start * 10**9 // RATE_HZ
            now_ns = captured_ns + 10_000_000 + INPUT_LATENCY_NS
            while done < (self.stops_at or len(played)):
                block_time = self._block_time(done)
                if block_time.time_ns - OUTPUT_LATENCY_NS > now_ns:
                    break
                canceller.add_played(done, played[done : done + block].tobytes(), [block_time])
                done += block
            pcm = self.recorded[start : start + 160].tobytes()
            canceller.add_recorded(start, pcm, [BlockTime(start, captured_ns, 1, 1)])
            result += canceller.process(now_ns)
        result += canceller.finish()
        return np.frombuffer(bytes(result), "<i2"), canceller

    def _block_time(self, position: int) -> BlockTime:
        silences = self._silences()
        place = position + sum(silence for at, silence in silences.items() if at <= position)
        time_ns = START_NS + int(place * 1e9 / (PLAYED_HZ * (1 + self.ppm * 1e-6)))
        time_ns += int(self.late_ms * 1e6) if 0 < self.gap_at <= position else 0
        breaks = 1 + sum(at <= position for at in silences)
        return BlockTime(position, time_ns, breaks, 1 + (0 < self.other_at <= position))


def removed_db(
    before: npt.NDArray[np.int16],
    after: npt.NDArray[np.int16],
    start_s: float,
    end_s: float,
    rate_hz: int = RATE_HZ,
) -> float:
    """Return by how many decibels a part of *after* is quieter than the same part of *before*."""
    one = before[int(start_s * RATE_HZ) : int(end_s * RATE_HZ)].astype(float)
    other = after[int(start_s * rate_hz) : int(end_s * rate_hz)].astype(float)
    return float(10 * np.log10((one * one).mean() / max((other * other).mean(), 1e-9)))
