"""
Records a call in a WAV file with two channels: the left channel has the caller, and the right
channel has the assistant.

The timestamps of the carrier's stream give the position of the caller's audio; for carriers without
timestamps, see ``arrivals.py``. The assistant's audio is placed where the caller heard this audio.
The start of the stream on the clock of this process is computed from the piece of the caller's
audio that arrived with the least delay. The reports of the carrier, such as marks, give the delay
of each run of audio.

If the process stalls, messages are read late. So the least delay of all reports of a run counts.
For the same reason, the file is written up to 3 s before the end of the received audio, not up to
3 s before the present time.

Lock rule: ``_lock`` guards all fields except the file, which only the thread of the bridge uses.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from pathlib import Path

import attrs

from inworld_sync.audio.resample import Resampler
from inworld_sync.audio.wav import WavWriter
from inworld_sync.errors import InworldError
from inworld_sync.locks import make_lock
from inworld_sync.telephony.arrivals import Arrivals, PlacedAudio
from inworld_sync.telephony.calls import CallStart

__all__ = ["Recorder"]

# Audio is written to the file with this delay. During the delay, the audio can still be cleared or
# moved.
_BEHIND_SECONDS = 3.0

# If no audio of the caller arrives for longer than this, the file is written nevertheless.
_LONGEST_PAUSE_SECONDS = 60.0

# A frame belongs to the run of the previous frame if the gap between them is shorter than this.
_JOIN_SECONDS = 0.001

# A timestamp is ignored if it exceeds the duration of the call by more than this. Its audio is then
# placed after the earlier audio.
_AHEAD_SECONDS = 60.0

_SAMPLE_BYTES = 2


@attrs.define
class _Run:
    """
    Audio that is played without a pause.

    Attributes:
        delay: The least reported time in seconds from sending to playing; None without a report.
        next: The position of the next sample in the file; None before the first sample is placed.
    """

    delay: float | None = None
    next: int | None = None


@attrs.define
class _Sent:
    """Audio that was sent: the position of its first sample, and when this sample is played."""

    pcm: bytes
    position: int
    played_at: float
    run: _Run

    @property
    def end(self) -> int:
        """The position after the last sample."""
        return self.position + len(self.pcm) // _SAMPLE_BYTES


class Recorder:
    """
    Records one call.

    Args:
        path: The path of the file. An existing file is replaced when the call ends.
        start: The formats of the audio in both directions.
        began: When the stream began, on the monotonic clock.
        delay: The assumed time in seconds from sending to playing, until a report shows this time.
        logger: Gets an error of the file. After the error, the call continues without a recording.

    Attributes:
        completed: The path of the file after :meth:`close`; None if the file could not be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        start: CallStart,
        began: float,
        delay: float,
        logger: logging.Logger,
    ) -> None:
        self.completed: Path | None = None
        self._path, self._logger = Path(path), logger
        self._has_failed = False
        self._received, self._sent_format = start.received, start.sent
        self._rate_hz = start.received.sample_rate_hz
        self._file: WavWriter | None = None
        self._lock = make_lock()
        # The time on the monotonic clock at which the stream's time is 0.
        self._zero: float | None = None
        self._began, self._delay = began, delay
        self._arrivals = Arrivals(self._rate_hz)
        self._caller = _Channel(self._rate_hz)
        self._assistant = _Channel(self._rate_hz)
        self._pending: deque[_Sent] = deque()
        self._run = _Run()
        # When all audio that was sent has been played, if there is no delay.
        self._played_until = 0.0
        self._resampler = Resampler(start.sent.sample_rate_hz, self._rate_hz)
        # The position in the file after the assistant's audio.
        self._placed_until: int | None = None
        self._written = 0

    def received(self, audio: bytes, timestamp_ms: float | None, now: float) -> None:
        """Add audio of the caller. The audio has just arrived."""
        pcm = self._received.decode(audio)
        with self._lock:
            if timestamp_ms is None:
                for piece in self._arrivals.add(pcm, now):
                    self._place_caller(piece)
                return
            at = round(timestamp_ms * self._rate_hz / 1000.0)
            if timestamp_ms / 1000.0 > now - self._began + _AHEAD_SECONDS:
                at = self._caller.end
            self._place_caller(PlacedAudio(pcm, at, now))

    def sent(self, audio: bytes, position: int, played_at: float) -> None:
        """Add audio that is sent; see :class:`~inworld_sync.telephony.output.SentAudio`."""
        pcm = self._sent_format.decode(audio)
        with self._lock:
            if abs(played_at - self._played_until) >= _JOIN_SECONDS:
                self._run = _Run()
            seconds = len(pcm) / _SAMPLE_BYTES / self._sent_format.sample_rate_hz
            self._played_until = played_at + seconds
            self._pending.append(_Sent(pcm, position, played_at, self._run))

    def reported(self, position: int, delay: float) -> None:
        """Use a report; see :class:`~inworld_sync.telephony.output.SentAudio`."""
        with self._lock:
            for each in reversed(self._pending):
                if each.position < position <= each.end:
                    run = each.run
                    run.delay = delay if run.delay is None else min(run.delay, delay)
                    self._delay = run.delay
                    return

    def cleared(self, position: int) -> None:
        """Drop the audio from a position on."""
        with self._lock:
            kept = deque[_Sent]()
            for each in self._pending:
                samples = min(position, each.end) - each.position
                if samples > 0:
                    kept.append(attrs.evolve(each, pcm=each.pcm[: samples * _SAMPLE_BYTES]))
            self._pending = kept

    def write(self, now: float) -> None:
        """Write the audio that is old enough."""
        self._write(now, is_last=False)

    def close(self, now: float) -> None:
        """Write all audio, and complete the file."""
        self._write(now, is_last=True)
        try:
            if self._file is not None and not self._has_failed:
                self._file.close()
                self.completed = self._path
        except (OSError, InworldError) as error:
            self._fail(error)

    def _write(self, now: float, *, is_last: bool) -> None:
        pcm = self._pop(now, is_last=is_last)
        if self._has_failed or not (pcm or is_last):
            return
        try:
            if self._file is None:
                self._file = WavWriter(self._path, self._rate_hz, channels=2)
            self._file.write(pcm)
        except (OSError, InworldError) as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._has_failed = True
        self._logger.error("the call is not recorded any more: %s", error)

    def _pop(self, now: float, *, is_last: bool) -> bytes:
        """Return the samples of both channels that are old enough."""
        with self._lock:
            if is_last:
                for piece in self._arrivals.finish():
                    self._place_caller(piece)
            zero = self._began if self._zero is None else self._zero
            elapsed = now - zero
            until = max(
                min(elapsed, self._caller.end / self._rate_hz) - _BEHIND_SECONDS,
                elapsed - _LONGEST_PAUSE_SECONDS,
            )
            while self._pending and (is_last or self._pending[0].played_at - zero < until):
                self._place(self._pending.popleft(), zero)
            if is_last and self._placed_until is not None:
                self._assistant.place(self._placed_until, self._resampler.finish())
            end = max(self._caller.end, self._assistant.end)
            if not is_last:
                end = min(end, round(until * self._rate_hz))
            samples = end - self._written
            if samples <= 0:
                return b""
            self._written = end
            return _interleaved(self._caller.pop(samples), self._assistant.pop(samples))

    def _place_caller(self, piece: PlacedAudio) -> None:
        self._caller.place(piece.position, piece.pcm)
        end = piece.position + len(piece.pcm) // _SAMPLE_BYTES
        zero = piece.arrived - end / self._rate_hz
        self._zero = zero if self._zero is None else min(self._zero, zero)

    def _place(self, sent: _Sent, zero: float) -> None:
        run = sent.run
        if run.next is None:
            delay = self._delay if run.delay is None else run.delay
            run.next = round((sent.played_at + delay - zero) * self._rate_hz)
        pcm = self._resampler.feed(sent.pcm)
        self._assistant.place(run.next, pcm)
        run.next += len(pcm) // _SAMPLE_BYTES
        self._placed_until = run.next


class _Channel:
    """The samples of one channel that are not written yet."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._samples = bytearray()
        self._first = 0

    @property
    def end(self) -> int:
        """The position after the last sample."""
        return self._first + len(self._samples) // _SAMPLE_BYTES

    def place(self, at: int, pcm: bytes) -> None:
        """Add audio at a position. Audio before the end of the written part is dropped."""
        if at < self._first:
            pcm, at = pcm[(self._first - at) * _SAMPLE_BYTES :], self._first
        offset = (at - self._first) * _SAMPLE_BYTES
        if len(self._samples) < offset:
            self._samples.extend(bytes(offset - len(self._samples)))
        self._samples[offset : offset + len(pcm)] = pcm

    def pop(self, samples: int) -> bytes:
        """Return and remove the first samples; missing samples are silence."""
        size_bytes = samples * _SAMPLE_BYTES
        pcm = bytes(self._samples[:size_bytes])
        del self._samples[:size_bytes]
        self._first += samples
        return pcm + bytes(size_bytes - len(pcm))


def _interleaved(left: bytes, right: bytes) -> bytes:
    stereo = bytearray(len(left) * 2)
    for offset in (0, 1):
        stereo[offset::4] = left[offset::2]
        stereo[2 + offset :: 4] = right[offset::2]
    return bytes(stereo)
