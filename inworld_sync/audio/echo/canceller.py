"""
Removes the echo of a speaker from the audio of a microphone.

```
speaker ── samples, times ── PlayedAudio, DeviceClock ─┐ read at the microphone's clock
                                                       ├─ LinearCanceller ──┬─ ResidualGate,
microphone ─ samples, times ─ Resampler, DeviceClock ──┴─ Processor ────────┘  ResidualSuppressor
```
The played audio is read a little ahead of its echo. The rate of reading follows the clocks of both
devices. If the speaker had nothing to play for a moment, this silence is read too. The duration of
the silence is measured with the clock first, and then with the echo of the audio after the silence.
This module starts no thread and reads no clock: the caller passes all times.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import attrs

from inworld_sync.audio.echo.clock import DeviceClock
from inworld_sync.audio.echo.delay import DelayFinder
from inworld_sync.audio.echo.linear import LinearCanceller
from inworld_sync.audio.echo.processor import FRAME_MS, RATES_HZ, Processor
from inworld_sync.audio.echo.reference import PlayedAudio
from inworld_sync.audio.echo.residual import ResidualGate
from inworld_sync.audio.pcm import SAMPLE_BYTES
from inworld_sync.audio.resample import Resampler
from inworld_sync.audio.taps import BlockTime
from inworld_sync.models.devices import EchoStats

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["PLAYED_SECONDS", "EchoCanceller", "EchoSettings"]

# This much played audio is kept, because a program may read the microphone late.
PLAYED_SECONDS: Final = 10
# The played audio is read this much ahead of its echo. The canceller fails if the echo comes before
# the played audio, and the reported times may be wrong by some milliseconds.
_AHEAD_SECONDS: Final = 0.04
# The canceller works if the delay of the echo is between the first two numbers. Otherwise the
# played audio is shifted by a time between the last two numbers.
_LEAST_ECHO_SECONDS: Final = 0.008
_MOST_ECHO_SECONDS: Final = 0.4
_LEAST_SHIFT_SECONDS: Final = -0.2
_MOST_SHIFT_SECONDS: Final = 0.8
# A recorded frame waits for played audio while the speaker's last audio is younger than
# _STOPPED_SECONDS and the frame is at most _WAIT_SECONDS old. Otherwise, the speaker counts as
# stopped.
_STOPPED_SECONDS: Final = 0.1
_WAIT_SECONDS: Final = 0.3
# A small difference between the position of the reading and the measured position is removed
# gradually. The rate changes so that the difference would be zero after _FOLLOW_SECONDS, but the
# rate changes at most by the share _FOLLOW_RATE. A difference above _SKIP_SECONDS is skipped at
# once; directly after an interruption of a device, a difference above _SKIP_AFTER_BREAK_SECONDS.
_FOLLOW_SECONDS: Final = 100.0
_FOLLOW_RATE: Final = 10e-6
# While the echo is removed well, the rate changes by at most this share in each frame, because the
# times that a busy sound server reports are wrong for seconds.
_EXACT_RATE_STEP: Final = 0.05e-6
_SKIP_SECONDS: Final = 0.02
_SKIP_AFTER_BREAK_SECONDS: Final = 0.003
# After a gap of the speaker, the delay of the echo is searched for at most this many frames. Only
# frames whose expected echo is above this level are counted.
_MOST_SEARCHED_FRAMES: Final = 40
# A search takes up to 6 ms at 48 kHz, so the delay is searched once in this many frames.
_SEARCH_FRAMES: Final = 3
_LEAST_ECHO_LEVEL: Final = 20.0
# The removed echo is measured only while the played audio is above this level, in units of 16-bit
# samples. The measurement is averaged over _AVERAGED_FRAMES frames.
_LEAST_PLAYED_LEVEL: Final = 100.0
_AVERAGED_FRAMES: Final = 100


@attrs.frozen
class EchoSettings:
    """
    The processing of a microphone's audio besides echo cancellation.

    Attributes:
        noise_suppression: Whether to reduce steady noise.
        auto_gain: Whether to adjust the volume of speech.
    """

    noise_suppression: bool = False
    auto_gain: bool = False


class EchoCanceller:
    """
    Removes the echo of one speaker from the audio of one microphone.

    Args:
        settings: The processing besides echo cancellation.
        recorded_hz: The sample rate of the microphone's device.
        sample_rate_hz: The sample rate of the result.
        played_hz: The sample rate of the speaker's device. None means that there is no speaker, and
            only the settings are applied.

    Raises:
        DeviceError: livekit is not installed.

    Thread safety: only one thread at a time may use an object.
    """

    def __init__(
        self,
        settings: EchoSettings,
        *,
        recorded_hz: int,
        sample_rate_hz: int,
        played_hz: int | None,
    ) -> None:
        rate_hz = next((each for each in RATES_HZ if each >= sample_rate_hz), RATES_HZ[-1])
        self._settings = settings
        self._rate_hz = rate_hz
        self._recorded_step = recorded_hz / rate_hz
        self._first_position: int | None = None
        self._has_speaker = played_hz is not None
        self._played_hz = played_hz or rate_hz
        self._played_step = self._played_hz / rate_hz
        self._frame_samples = rate_hz * FRAME_MS // 1000
        self._processor = self._new_processor()
        self._linear = LinearCanceller(rate_hz, self._frame_samples)
        self._gate = ResidualGate(rate_hz)
        self._input = Resampler(recorded_hz, rate_hz)
        self._output = Resampler(rate_hz, sample_rate_hz)
        self._waiting = bytearray()
        self._frames = 0  # processed so far
        self._recorded_clock = DeviceClock(recorded_hz)
        self._played_clock = DeviceClock(self._played_hz)
        self._played = PlayedAudio(PLAYED_SECONDS * self._played_hz, self._played_hz, rate_hz)
        self._finder = DelayFinder(rate_hz)
        self._shift_seconds = 0.0  # by how much the played audio is delayed
        self._ratio = 1.0  # of the measured rates
        self._place: float | None = None  # in the played audio; None until it is measured
        # The position after the last gap that was read, and whether the delay since this gap is
        # still searched.
        self._gap: int | None = None
        self._is_searching = False
        self._searched_frames = 0
        self._stretches = (0, 0)
        self._devices = 0
        self._energy_before = self._energy_after = 0.0

    @property
    def stats(self) -> EchoStats:
        """The measurements so far; see :class:`EchoStats`."""
        removed_db = None
        if self._energy_before:
            removed_db = 10 * math.log10(self._energy_before / max(self._energy_after, 1e-9))
        skew_ppm = (self._ratio - 1.0) * 1e6
        return EchoStats(removed_db, self._shift_seconds * 1000.0, skew_ppm)

    def add_played(self, position: int, pcm: bytes, blocks: Iterable[BlockTime]) -> None:
        """
        Add audio that the speaker has played or will play soon.

        Args:
            position: The position of the first sample, as in *blocks*.
            pcm: 16-bit little-endian samples.
            blocks: The times at which blocks of the audio are heard.
        """
        self._played.append(position, pcm)
        for block in blocks:
            self._played_clock.add(block)

    def add_recorded(self, position: int, pcm: bytes, blocks: Iterable[BlockTime]) -> None:
        """
        Add audio of the microphone.

        Args:
            position: The position of the first sample, as in *blocks*. No samples may be missing
                between two calls.
            pcm: The next samples, 16-bit little-endian.
            blocks: When blocks were captured, even if they are not in *pcm* yet.
        """
        if self._first_position is None:
            self._first_position = position
        self._waiting += self._input.feed(pcm)
        for block in blocks:
            self._recorded_clock.add(block)

    def process(self, now_ns: int) -> bytes:
        """
        Return the audio that is ready.

        Recorded audio waits until the speaker has played the audio of the same time.

        Args:
            now_ns: The time now, on the monotonic clock.
        """
        return self._output.feed(self._process(now_ns))

    def finish(self) -> bytes:
        """Return the remaining audio. An incomplete frame of less than 10 ms is dropped."""
        self._waiting += self._input.finish()
        return self._output.feed(self._process(None)) + self._output.finish()

    def _process(self, now_ns: int | None) -> bytes:
        import numpy as np

        size = self._frame_samples * SAMPLE_BYTES
        ready = bytearray()
        while len(self._waiting) >= size:
            played = self._next_played(now_ns)
            if played is None:
                break
            recorded = np.frombuffer(self._waiting[:size], "<i2").astype(np.float32)
            del self._waiting[:size]
            self._frames += 1
            ready += self._clean(played, recorded)
        return bytes(ready)

    def _clean(self, played: npt.NDArray[np.float32], recorded: npt.NDArray[np.float32]) -> bytes:
        """Remove the echo from a frame."""
        import numpy as np

        if not self._has_speaker:
            return self._processor.process(b"", _pcm(recorded))
        echo, rest = self._linear.process(played, recorded, is_uncertain=self._is_searching)
        is_uncertain = self._is_searching and self._search_jump(echo)
        processed = self._processor.process(_pcm(played), _pcm(recorded))
        samples = np.frombuffer(processed, "<i2").astype(np.float64)
        cleaned = self._gate.process(played, echo, rest, samples, is_uncertain=is_uncertain)
        self._measure(played, recorded, cleaned)
        return _pcm(cleaned)

    def _next_played(self, now_ns: int | None) -> npt.NDArray[np.float32] | None:
        """Return the played audio for the next frame; None if the frame has to wait."""
        import numpy as np

        silence = np.zeros(self._frame_samples, np.float32)
        if not (self._played_clock.is_started and self._recorded_clock.is_started):
            return silence
        captured = self._frames * self._frame_samples * self._recorded_step
        captured_ns = self._recorded_clock.time_ns((self._first_position or 0) + captured)
        heard_ns = captured_ns + (_AHEAD_SECONDS - self._shift_seconds) * 1e9
        self._measure_gaps()
        measured = self._played_clock.position(heard_ns)
        if measured is None and self._place is None:
            return silence
        rate = self._rate()
        place, ratio = self._follow(measured, rate)
        end = place + self._frame_samples * self._played_step * ratio
        played_end = self._played.place(self._played.end)
        if end + self._played.reach > played_end and self._may_play(now_ns, captured_ns):
            return None
        self._ratio = rate
        self._stretches = self._counts
        if self._devices != self._played_clock.devices:
            # The echo of another loudspeaker is different.
            if self._devices:
                self._restart()
            self._devices = self._played_clock.devices
        self._place = end
        self._begin_search(end)
        return self._played.read(place, ratio, self._frame_samples)

    @property
    def _counts(self) -> tuple[int, int]:
        return self._recorded_clock.stretches, self._played_clock.stretches

    def _rate(self) -> float:
        """Return the rate at which the played audio is read, relative to the nominal rate."""
        ratio = (1.0 + self._recorded_clock.skew) / (1.0 + self._played_clock.skew)
        if not self._gate.is_exact:
            return ratio
        return min(max(ratio, self._ratio - _EXACT_RATE_STEP), self._ratio + _EXACT_RATE_STEP)

    def _follow(self, measured: float | None, ratio: float) -> tuple[float, float]:
        """
        Return the place of the next frame in the played audio, and the rate of reading.

        Args:
            measured: The position by the clocks; None in a gap.
            ratio: The measured rate.
        """
        if measured is None:
            return self._place or 0.0, ratio
        measured = self._played.place(measured)
        if self._place is None:
            return measured, ratio
        error_seconds = (measured - self._place) / self._played_hz
        is_broken = self._stretches != self._counts
        if abs(error_seconds) > (_SKIP_AFTER_BREAK_SECONDS if is_broken else _SKIP_SECONDS):
            return measured, ratio
        correction = min(max(error_seconds / _FOLLOW_SECONDS, -_FOLLOW_RATE), _FOLLOW_RATE)
        return self._place, ratio * (1.0 + correction)

    def _measure_gaps(self) -> None:
        """Measure the gaps that were not read yet."""
        rate_hz = self._played_hz / (1.0 + self._played_clock.skew)
        for position, seconds in self._played_clock.gaps():
            if self._gap is None or position > self._gap:
                self._played.set_gap(position, seconds * rate_hz)

    def _begin_search(self, end: float) -> None:
        """Begin to search the delay if a gap was read. *end* is the place after the last frame."""
        for position, _ in self._played_clock.gaps():
            if self._gap is not None and position <= self._gap:
                continue
            if self._played.place(position) - self._played.reach < end:
                self._gap = position
                self._is_searching = self._gate.is_adapted
                self._searched_frames = 0

    def _search_jump(self, echo: npt.NDArray[np.float64]) -> bool:
        """
        Search the delay of the echo after a gap.

        Returns:
            Whether the delay is still uncertain in this frame.
        """
        assert self._gap is not None
        assert self._place is not None
        step = self._played_step * self._ratio
        since = (self._place - self._played.place(self._gap)) / step
        if not self._linear.after_gap(since):
            return False
        if float((echo * echo).mean()) < _LEAST_ECHO_LEVEL**2:
            return True
        if not self._gate.has_user:
            self._searched_frames += 1
        if self._frames % _SEARCH_FRAMES:
            return True
        jump_seconds = self._linear.find_jump(since)
        if jump_seconds is not None:
            gap = (self._played.gap(self._gap) or 0.0) + jump_seconds * self._played_hz
            self._played.set_gap(self._gap, gap)
            count = int(since + self._frame_samples)
            audio = self._played.read(self._place - count * step, self._ratio, count)
            self._linear.replace_played(audio)
            self._is_searching = False
        elif self._searched_frames >= _MOST_SEARCHED_FRAMES:
            # The response is no longer right, so it is estimated again.
            self._linear.forget()
            self._is_searching = False
        return True

    def _may_play(self, now_ns: int | None, captured_ns: float) -> bool:
        """Return whether the speaker may still play the audio for a frame."""
        if now_ns is None or now_ns - captured_ns > _WAIT_SECONDS * 1e9:
            return False
        newest_ns = self._played_clock.time_ns(self._played.end)
        return now_ns - newest_ns < _STOPPED_SECONDS * 1e9

    def _measure(
        self,
        played: npt.NDArray[np.float32],
        before: npt.NDArray[np.float32],
        after: npt.NDArray[np.float64],
    ) -> None:
        """
        Measure the delay of the echo, and how much echo was removed.

        Shift the played audio if needed.
        """
        if float((played * played).mean()) > _LEAST_PLAYED_LEVEL**2:
            keep = 1.0 - 1.0 / _AVERAGED_FRAMES
            self._energy_before = keep * self._energy_before + float((before * before).mean())
            self._energy_after = keep * self._energy_after + float((after * after).mean())
        delay = self._finder.add(played, before)
        if delay is None or self._gate.is_adapted:
            return
        if _LEAST_ECHO_SECONDS <= delay <= _MOST_ECHO_SECONDS:
            self._linear.set_delay(delay)
            return
        shift_seconds = self._shift_seconds + delay - _AHEAD_SECONDS
        if not _LEAST_SHIFT_SECONDS <= shift_seconds <= _MOST_SHIFT_SECONDS:
            return
        self._shift_seconds = shift_seconds
        self._place = None
        self._finder.clear()
        self._restart()

    def _restart(self) -> None:
        """Adapt the cancellers from the beginning, because the echo is different."""
        self._processor = self._new_processor()
        self._linear = LinearCanceller(self._rate_hz, self._frame_samples)
        self._gate = ResidualGate(self._rate_hz)
        self._is_searching = False

    def _new_processor(self) -> Processor:
        return Processor(
            self._rate_hz,
            cancel_echo=self._has_speaker,
            noise_suppression=self._settings.noise_suppression,
            auto_gain=self._settings.auto_gain,
            delay_ms=round(_AHEAD_SECONDS * 1000),
        )


def _pcm(samples: npt.NDArray[np.floating[Any]]) -> bytes:
    import numpy as np

    rounded: npt.NDArray[np.int16] = np.rint(samples).clip(-32768, 32767).astype("<i2")
    return rounded.tobytes()
