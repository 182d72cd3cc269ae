"""
Manages the audio that is sent to a caller: the queue of items, the clock that counts heard audio,
and the pacing.

The session pushes items, the program adds announcements, and the writer thread takes frames when
they are due. A frame is due ``lead_ms`` before it is played. This time is computed from the start
of the run and the frame's position, so that one late frame does not delay the next frames.

Lock rule: ``_news`` guards all fields and the clock. ``_news`` is never held while a message is
sent.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import Protocol

import attrs

from inworld_sync.audio.resample import Resampler
from inworld_sync.errors import DeadlineExceeded, InworldError
from inworld_sync.locks import Condition
from inworld_sync.models.realtime import AudioFormat
from inworld_sync.telephony.formats import CallFormat, ToCall
from inworld_sync.telephony.heard import HeardClock, Reports
from inworld_sync.transport.deadline import LONGEST_WAIT_SECONDS, Deadline

__all__ = ["FRAME_MS", "CallOutput", "Frame", "Pacing", "SentAudio"]

FRAME_MS = 20

# Ten minutes of mu-law. While more audio than this is queued, the session waits.
_MAX_QUEUED_BYTES = 8000 * 600

_DRAIN_POLL_SECONDS = 0.05


@attrs.frozen(kw_only=True)
class Pacing:
    """
    How audio is sent to a carrier.

    Attributes:
        lead_ms: Audio is sent this many milliseconds before its playback, so that a late packet
            makes no gap.
        start_ms: How many milliseconds of audio are collected after a pause before the first frame
            is sent.
        delay_ms: The assumed delay from sending to hearing, until this delay is measured.
        pads_tails: Whether the last frame of an item is filled with silence to 20 ms.
        reports: How the carrier reports the audio that it has played.
        can_clear: Whether the carrier can drop audio that was sent. Otherwise the caller hears all
            audio that was sent.
    """

    lead_ms: float
    start_ms: float
    delay_ms: float
    pads_tails: bool
    reports: Reports
    can_clear: bool = True

    @property
    def recorded_delay(self) -> float:
        """
        The assumed time in seconds from sending to playing at the carrier, for a recording.

        A carrier without reports sends a frame to the phone every 20 ms. So the carrier plays audio
        half a frame after the audio arrives, on average.
        """
        delay_ms = FRAME_MS / 2 if self.reports == "none" else self.delay_ms
        return delay_ms / 1000.0

    def changed(self, lead_ms: float | None, start_ms: float | None) -> Pacing:
        """Return a copy with other times. If an argument is None, the copy has the old time."""
        return attrs.evolve(
            self,
            lead_ms=self.lead_ms if lead_ms is None else lead_ms,
            start_ms=self.start_ms if start_ms is None else start_ms,
        )


class SentAudio(Protocol):
    """Gets the audio that is sent, for a recording. The methods are called with a lock held."""

    def sent(self, audio: bytes, position: int, played_at: float) -> None:
        """Get audio, the position of its first sample, and when this sample is played."""

    def reported(self, position: int, delay: float) -> None:
        """
        Use a report of the carrier that the audio up to a position was played.

        Args:
            position: The position after the last sample.
            delay: The seconds from the earliest time at which the position can have been played
                until the report.
        """

    def cleared(self, position: int) -> None:
        """Drop the audio from a position on, because this audio was not heard."""


@attrs.define
class _Item:
    """
    An item that is played.

    Attributes:
        to_call: Converts the item's audio. None means that the audio has the format of the call.
        rate_hz: The sample rate of the audio that was pushed.
        pushed_samples: How many samples were pushed.
        queued_bytes: How much converted audio waits in the queue.
        is_ended: Whether no more audio is pushed.
        spans: The parts of the sent audio that belong to the item, as (position, samples).
    """

    to_call: ToCall | None
    rate_hz: int
    pushed_samples: int = 0
    queued_bytes: int = 0
    is_ended: bool = False
    spans: list[tuple[int, int]] = attrs.field(factory=list)

    def add(self, position: int, samples: int) -> None:
        """Record that audio of the item is sent."""
        if self.spans and sum(self.spans[-1]) == position:
            position, before = self.spans.pop()
            samples += before
        self.spans.append((position, samples))

    def heard_samples(self, heard: int, call_hz: int) -> int:
        """Return how much of the item was heard, in samples of the session."""
        sent = sum(samples for _, samples in self.spans)
        played = sum(min(max(heard - start, 0), samples) for start, samples in self.spans)
        if self.is_ended and not self.queued_bytes and played == sent:
            return self.pushed_samples
        return min(played * self.rate_hz // call_hz, self.pushed_samples)


@attrs.frozen
class Frame:
    """
    One unit that the writer sends: audio with a mark, or a clear.

    Attributes:
        audio: Audio; may be empty.
        mark: The name of a mark to send after the audio, or None.
        is_clear: Whether the carrier must drop its queue. If True, the frame has no audio.
    """

    audio: bytes
    mark: str | None = None
    is_clear: bool = False


class CallOutput:
    """
    The audio to one caller. The session uses this object as an ``ItemSink``.

    Args:
        call_format: The format of the call.
        pacing: How the audio is sent.
        recorder: Gets the audio that is sent; None for no recording.

    Attributes:
        failure: The error because of which no more audio is played, or None.
        interruptions: How often unheard audio was cleared.
    """

    def __init__(
        self, call_format: CallFormat, pacing: Pacing, recorder: SentAudio | None = None
    ) -> None:
        self._format = call_format
        self._lead = pacing.lead_ms / 1000.0
        self._pads_tails, self._can_clear = pacing.pads_tails, pacing.can_clear
        self._recorder = recorder
        self._frame_bytes = call_format.bytes_of(FRAME_MS)
        self._start_bytes = call_format.bytes_of(pacing.start_ms)
        self._news = Condition()
        self._clock = HeardClock(
            call_format.sample_rate_hz, pacing.delay_ms / 1000.0, pacing.reports
        )
        self._queue: deque[tuple[_Item, bytes]] = deque()
        self._queued_bytes = 0
        self._items: dict[str, _Item] = {}
        # The newest item of the session.
        self._last: _Item | None = None
        # For each cleared announcement, the result of heard_ms_of().
        self._interrupted: dict[str, tuple[float, bool]] = {}
        self._dropped_samples = 0
        self._is_paused = self._needs_clear = self._closed = False
        self.failure: InworldError | None = None
        self.interruptions = 0

    # For the session.

    @property
    def is_idle(self) -> bool:
        """Whether all audio that was pushed has been heard."""
        with self._news:
            return not self._queue and self._clock.is_drained(time.monotonic())

    def push(
        self, item_id: str, audio: bytes, audio_format: AudioFormat, *, end: bool = False
    ) -> bool:
        """Queue audio of an item; see :class:`~inworld_sync.ItemSink`."""
        with self._news:
            if self._closed:
                return True
            if self._queued_bytes > _MAX_QUEUED_BYTES:
                return False
            item = self._items.get(item_id)
            if item is None:
                if end and not audio:
                    return True
                # A new item shows that the last item has no more audio, even if the service has not
                # ended the last item.
                if self._last is not None:
                    self._end(self._last)
                to_call = ToCall(audio_format, self._format)
                item = _Item(to_call, audio_format.sample_rate_hz)
                self._items[item_id] = self._last = item
            if not item.is_ended and item.to_call is not None:
                item.pushed_samples += len(audio) // audio_format.bytes_per_sample
                self._put(item, item.to_call.feed(audio))
                if end:
                    self._end(item)
            return True

    def clear(self) -> Mapping[str, int]:
        """Drop the unheard audio. Return how many samples of each item were heard."""
        with self._news:
            now = time.monotonic()
            is_unheard = not self._clock.is_drained(now)
            heard = self._clock.heard(now) if self._can_clear else self._clock.sent
            call_hz = self._format.sample_rate_hz
            found = {name: item.heard_samples(heard, call_hz) for name, item in self._items.items()}
            self.interruptions += bool(is_unheard or self._queue)
            # If the carrier cannot clear its queue, the caller still hears all audio that was sent.
            if is_unheard and self._can_clear:
                self._needs_clear = True
                self._dropped_samples += self._clock.sent - heard
                self._clock.clear(now)
                if self._recorder is not None:
                    self._recorder.cleared(heard)
            for name, item in self._items.items():
                if item.to_call is None:
                    self._interrupted[name] = (found[name] * 1000.0 / call_hz, True)
            self._items, self._last = {}, None
            self._queue.clear()
            self._queued_bytes = 0
            self._news.notify_all()
        return found

    def drain(self, timeout: float | None) -> None:
        """Wait until all audio that was pushed has been heard."""
        deadline = Deadline(timeout, "playing the speech to the caller")
        while not self.is_idle:
            if self.failure is not None:
                raise self.failure
            if deadline.expired:
                raise DeadlineExceeded(f"the speech was not heard to its end after {timeout:g} s")
            with self._news:
                self._news.wait(deadline.at_most(_DRAIN_POLL_SECONDS))

    def close(self) -> None:
        """Send no more audio. The caller still hears the audio that was sent."""
        with self._news:
            self._closed = True
            self._queue.clear()
            self._queued_bytes = 0
            self._news.notify_all()

    # For the bridge.

    @property
    def call_format(self) -> CallFormat:
        """The format of the call."""
        return self._format

    def announce(self, name: str, pcm: bytes | memoryview, sample_rate_hz: int) -> None:
        """Queue 16-bit PCM of the program as an item of its own, behind the queued audio."""
        resampler = Resampler(sample_rate_hz, self._format.sample_rate_hz)
        self.add(name, self._format.encode(resampler.feed(bytes(pcm)) + resampler.finish()))

    def add(self, name: str, audio: bytes) -> None:
        """Queue audio in the format of the call; see :meth:`announce`."""
        with self._news:
            if self._closed:
                return
            item = self._items[name] = _Item(None, self._format.sample_rate_hz)
            item.pushed_samples = len(audio) // self._format.bytes_per_sample
            item.is_ended = True
            self._put(item, audio)

    def heard_ms_of(self, name: str) -> tuple[float, bool]:
        """Return how many ms of an announcement were heard, and whether this number is final."""
        with self._news:
            item = self._items.get(name)
            if item is None:
                return self._interrupted.get(name, (0.0, False))
            call_hz = self._format.sample_rate_hz
            heard = item.heard_samples(self._clock.heard(time.monotonic()), call_hz)
            return heard * 1000.0 / call_hz, heard == item.pushed_samples

    @property
    def heard_ms(self) -> float:
        """How many milliseconds of audio were heard in the whole call."""
        with self._news:
            heard = self._clock.heard(time.monotonic()) - self._dropped_samples
            return heard * 1000.0 / self._format.sample_rate_hz

    @property
    def stale_marks(self) -> int:
        """How many marks returned too early, or after their audio was cleared."""
        with self._news:
            return self._clock.stale + self._clock.early

    @property
    def delay(self) -> float:
        """The time in seconds from sending to hearing."""
        with self._news:
            return self._clock.delay

    def handle_mark(self, name: str) -> None:
        """Handle a mark that the carrier returns."""
        with self._news:
            self._report(self._clock.handle_mark(name, time.monotonic()))

    def handle_queue(self, queued_ms: float) -> None:
        """Handle the length of the carrier's queue."""
        with self._news:
            samples = int(queued_ms * self._format.sample_rate_hz / 1000)
            self._report(self._clock.handle_queue(samples, time.monotonic()))

    def pause(self, *, is_paused: bool) -> None:
        """Send no audio while *is_paused* is True, because the carrier's queue is full."""
        with self._news:
            self._is_paused = is_paused
            self._news.notify_all()

    def fail(self, error: InworldError) -> None:
        """Stop, because the carrier does not accept audio."""
        with self._news:
            self.failure = self.failure or error
        self.close()

    # For the writer.

    def notify(self) -> None:
        """End a wait of :meth:`next_frame`."""
        with self._news:
            self._news.notify_all()

    def next_frame(self, timeout: float) -> Frame | None:
        """Return the next frame when it is due; None after *timeout* seconds or a notification."""
        with self._news:
            now = time.monotonic()
            if (frame := self._frame(now)) is not None:
                return frame
            wait = min(timeout, LONGEST_WAIT_SECONDS)
            if (send_at := self._send_at(now)) is not None:
                wait = min(wait, send_at - now)
            self._news.wait(max(wait, 0.0))
            return self._frame(time.monotonic())

    # The methods below are called with ``_news`` held.

    def _report(self, position: int | None) -> None:
        if position is not None and self._recorder is not None:
            self._recorder.reported(position, self._clock.delay)
        self._news.notify_all()

    def _put(self, item: _Item, audio: bytes) -> None:
        if audio:
            self._queue.append((item, audio))
            self._queued_bytes += len(audio)
            item.queued_bytes += len(audio)
        self._news.notify_all()

    def _end(self, item: _Item) -> None:
        if not item.is_ended:
            if item.to_call is not None:
                self._put(item, item.to_call.finish())
            item.is_ended = True
            self._news.notify_all()

    def _send_at(self, now: float) -> float | None:
        """Return when the next frame must be sent; None if there is none, or during a pause."""
        if self._is_paused or not self._queue:
            return None
        due = self._clock.due()
        is_pause = due is None or now >= due
        needed = max(self._start_bytes if is_pause else 0, self._frame_bytes)
        if self._queued_bytes < needed and not self._queue[-1][0].is_ended:
            return None
        return now if due is None or is_pause else due - self._lead

    def _frame(self, now: float) -> Frame | None:
        if self._needs_clear:
            self._needs_clear = False
            return Frame(b"", is_clear=True)
        send_at = self._send_at(now)
        audio = self._audio(now) if send_at is not None and now >= send_at else b""
        is_last = not self._queue and (self._last is None or self._last.is_ended)
        mark = None
        if self._clock.is_report_due(now, is_last=is_last):
            mark = self._clock.request_report(now)
        return Frame(audio, mark) if audio or mark else None

    def _audio(self, now: float) -> bytes:
        position, parts, missing = self._clock.sent, [], self._frame_bytes
        sample_bytes = self._format.bytes_per_sample
        while self._queue and missing:
            item, audio = self._queue.popleft()
            part, rest = audio[:missing], audio[missing:]
            if rest:
                self._queue.appendleft((item, rest))
            item.queued_bytes -= len(part)
            start = position + (self._frame_bytes - missing) // sample_bytes
            item.add(start, len(part) // sample_bytes)
            missing -= len(part)
            parts.append(part)
        self._queued_bytes -= self._frame_bytes - missing
        if self._pads_tails:
            parts.append(self._format.silence(missing))
        audio = b"".join(parts)
        due = self._clock.due()
        self._clock.send(len(audio) // sample_bytes, now)
        if self._recorder is not None:
            self._recorder.sent(audio, position, now if due is None else max(now, due))
        return audio
