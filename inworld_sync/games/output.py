"""
Passes the speech of a voice from the threads of the package to the engine. The output has the
playout, the position that is heard, and the mouth shapes.

Threads: one thread of the package pushes audio, one thread of the engine reads audio, and the
thread of the game advances the position. A realtime session may call ``clear`` on any thread.

Lock rule: ``_lock`` guards the items and the position. No thread holds ``_lock`` while user code
runs. The locks of the playout are acquired while ``_lock`` is held.
"""

from __future__ import annotations

import math
import time

import attrs

from inworld_sync.audio.formats import pcm_of
from inworld_sync.audio.mix import gain, gain_into
from inworld_sync.audio.playout import Playout
from inworld_sync.audio.resample import Resampler
from inworld_sync.errors import DeadlineExceeded, InworldError, LocalProtocolError
from inworld_sync.games.heard import HeardClock, Segments
from inworld_sync.games.mouth_track import MouthTrack
from inworld_sync.locks import Condition
from inworld_sync.models.realtime import AudioFormat, PcmFormat
from inworld_sync.transport.deadline import Deadline

__all__ = ["HeardItem", "SpeechOutput", "ramped"]

# The playout has room for half an hour. Memory is allocated only when it is needed.
_CAPACITY_MS = 1_800_000
_FULL_MS = _CAPACITY_MS - 60_000

# The mouth shapes of this many items are kept.
_MAX_TRACKS = 64

_SAMPLE_BYTES = 2
_RAMP_FRAMES = 64
# A change of the volume is divided into steps of this length, so that no click is heard.
_STEP_FRAMES = 32
_LOOK_SECONDS = 0.02

# If the device has no more speech of an incomplete item, the voice still counts as speaking for
# this time, because the engine usually reads the next block soon.
_BETWEEN_SECONDS = 0.05


@attrs.define(eq=False)
class _Item:
    """An item of speech. *pushed* and *read* count frames at the rate of the output."""

    from_hz: int
    resampler: Resampler | None = None
    pushed: int = 0
    read: int = 0
    is_ended: bool = False


@attrs.define
class HeardItem:
    """
    The item that is heard now, or that will be heard next.

    Attributes:
        name: The name of the item; None before the first item.
        position_ms: The position in the item. It is negative if the item has been read, but is not
            heard yet.
        track: The mouth shapes of the item; None if no speech is heard now, and the device has no
            speech that will be heard next.
    """

    name: str | None
    position_ms: float
    track: MouthTrack | None


class SpeechOutput:
    """
    The speech of one voice. It is an :class:`~inworld_sync.ItemSink`.

    Args:
        sample_rate_hz: Samples per second of the audio that is read.
        latency_ms: The time from the read of a sample until the sample is heard.

    Attributes:
        drops: How many times the output dropped speech that was read, but not yet heard.
        failure: Always None, because a voice plays until it is closed.
    """

    def __init__(self, sample_rate_hz: int, latency_ms: float) -> None:
        self.sample_rate_hz = sample_rate_hz
        self.drops = 0
        self.failure: InworldError | None = None
        self._playout = Playout(sample_rate_hz, capacity_ms=_CAPACITY_MS)
        self._lock = Condition()
        self._clock = HeardClock(sample_rate_hz, latency_ms)
        self._segments = Segments()
        self._heard = HeardItem(None, 0.0, None)
        # The items that were pushed since the last clear, in order. _unread has only the items that
        # the engine has not read completely.
        self._items: dict[str, _Item] = {}
        self._unread: dict[str, _Item] = {}
        self._tracks: dict[str, MouthTrack] = {}
        # How much of each item was heard when the game stopped the speech. The session gets these
        # counts when it calls clear(). Until then, new audio is dropped.
        self._stopped: dict[str, int] | None = None
        self._closed = False
        self._is_speaking = False
        # For how long the device has had no speech.
        self._dry_seconds = math.inf
        # Whether reads return silence, because the voice was paused while it did not speak.
        self._is_held = False
        self._fade_frames = self._fade_left = 0

    # ---- the package's threads ---------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Whether all audio that was pushed has been heard."""
        with self._lock:
            return not self._unread and self._segments.is_empty

    def push(
        self, item_id: str, audio: bytes, audio_format: AudioFormat, *, end: bool = False
    ) -> bool:
        """Queue audio of an item; see :class:`~inworld_sync.ItemSink`."""
        with self._lock:
            if self._refuses:
                return True
            if self.queued_ms > _FULL_MS:
                return False
            item = self._items.get(item_id)
            if item is None:
                if not audio:
                    return True
                item = self._add(item_id, audio_format.sample_rate_hz)
            track = self.track(item_id)
        if item.is_ended:
            return True
        # Only one thread pushes. The lock is not held during the conversion, so that the game does
        # not wait.
        pcm = pcm_of(audio, audio_format)
        if item.from_hz != self.sample_rate_hz:
            if item.resampler is None:
                item.resampler = Resampler(item.from_hz, self.sample_rate_hz)
            sound = item.resampler.feed(pcm)
            pcm = memoryview(sound + item.resampler.finish() if end else sound)
        track.add_audio(pcm)
        with self._lock:
            if not self._refuses:
                self._push(item_id, item, pcm, end=end)
        return True

    def push_pcm(self, item_id: str, pcm: memoryview, *, end: bool = False) -> bool:
        """Queue samples that have the rate of the output."""
        return self.push(item_id, bytes(pcm), PcmFormat(self.sample_rate_hz), end=end)

    def clear(self) -> dict[str, int]:
        """Drop all audio that was not heard; see :class:`~inworld_sync.ItemSink`."""
        with self._lock:
            stopped, self._stopped = self._stopped, None
            heard = self._drop()
            return heard if stopped is None else {**heard, **stopped}

    def drain(self, timeout: float | None) -> None:
        """Wait until all audio that was pushed has been heard."""
        deadline = Deadline(timeout, "playing the speech")
        while not self.is_idle:
            if deadline.remaining() == 0.0:
                raise DeadlineExceeded("the game has not played the speech in time")
            time.sleep(deadline.at_most(_LOOK_SECONDS))

    def close(self) -> None:
        """Accept no more audio. Audio that was received is still played."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._end_all()

    # ---- the thread of the game --------------------------------------------------------------

    def stop(self) -> None:
        """Stop at once. New audio is dropped until the session calls :meth:`clear`."""
        with self._lock:
            if self._stopped is None:
                self._stopped = self._drop()

    def advance(self, seconds: float) -> HeardItem:
        """
        Advance the position that is heard, and return the item at this position.

        Each call returns the same object, which the next call changes.
        """
        with self._lock:
            clock, segments = self._clock, self._segments
            clock.advance(seconds)
            segments.reach(clock.heard_frames)
            name, position = segments.item, segments.position
            track = None
            # If the latency is 0, all audio that was read has been heard, but more may follow soon.
            self._dry_seconds = self._dry_seconds + seconds if segments.is_empty else 0.0
            self._is_speaking = segments.is_speaking or (
                self._dry_seconds < _BETWEEN_SECONDS and name in self._unread
            )
            if self._is_speaking:
                if name is not None:
                    track = self._tracks.get(name)
            elif (upcoming := segments.upcoming(clock.heard_frames)) is not None:
                name, position = upcoming
                track = self._tracks.get(name)
        heard = self._heard
        heard.name, heard.track = name, track
        heard.position_ms = position * 1000.0 / self.sample_rate_hz
        return heard

    def heard_ms(self, item_id: str) -> float:
        """Return how many milliseconds of an item were heard."""
        # The game calls this in each frame. A dict can be read without the lock.
        return self._segments.heard.get(item_id, 0.0) * 1000.0 / self.sample_rate_hz

    def is_heard(self, item_id: str) -> bool:
        """Return whether an item is complete and was heard to its end."""
        with self._lock:
            item = self._items.get(item_id)
            if item is None:
                return True
            return item.is_ended and round(self._segments.heard.get(item_id, 0.0)) >= item.pushed

    def track(self, item_id: str) -> MouthTrack:
        """Return the mouth shapes of an item. The audio of the item may arrive later."""
        with self._lock:
            track = self._tracks.get(item_id)
            if track is None:
                track = self._tracks[item_id] = MouthTrack(self.sample_rate_hz)
                if len(self._tracks) > _MAX_TRACKS:
                    del self._tracks[next(iter(self._tracks))]
            return track

    @property
    def is_speaking(self) -> bool:
        """Whether speech was heard at the last :meth:`advance`; False after speech was dropped."""
        return self._is_speaking

    @property
    def has_speech(self) -> bool:
        """Whether speech has arrived that the engine has not read."""
        with self._lock:
            return bool(self._unread)

    @property
    def is_incomplete(self) -> bool:
        """Whether the engine has read the beginning of an item, but not the whole item."""
        with self._lock:
            return any(item.read for item in self._unread.values())

    @property
    def queued_ms(self) -> float:
        """How many milliseconds of speech have arrived that the engine has not read."""
        with self._lock:
            frames = sum(item.pushed - item.read for item in self._unread.values())
            return frames * 1000.0 / self.sample_rate_hz

    @property
    def starved_frames(self) -> int:
        """How many frames of output had no speech because audio was missing."""
        with self._lock:
            return self._playout.stats().stalled_frames

    @property
    def latency_ms(self) -> float:
        """The time from the read of a sample until the sample is heard."""
        return self._clock.latency_ms

    @latency_ms.setter
    def latency_ms(self, value: float) -> None:
        with self._lock:
            self._clock.latency_ms = value

    def report_heard(self, frames: int) -> None:
        """Set the number of frames that the device has played or dropped since the first read."""
        with self._lock:
            self._clock.report(frames)

    def pause(self, *, is_paused: bool) -> None:
        """Pause the speech, or continue."""
        with self._lock:
            # The playout fades out at a pause. If no speech was read recently, there is nothing to
            # fade out, so reads return silence at once.
            self._is_held = is_paused and (self._is_held or self._is_dry)
            (self._playout.pause if is_paused else self._playout.resume)()

    def fade_out(self, duration_ms: float) -> None:
        """Reduce the volume to 0 in the audio that is read from now on."""
        with self._lock:
            if not self._fade_frames:
                frames = max(1, round(duration_ms * self.sample_rate_hz / 1000.0))
                self._fade_frames = self._fade_left = frames

    @property
    def is_fading(self) -> bool:
        """Whether a fade of the present speech has begun."""
        return self._fade_frames > 0

    @property
    def has_faded(self) -> bool:
        """Whether the end of a fade has been read."""
        return self._fade_frames > 0 and self._fade_left <= 0

    # ---- the engine --------------------------------------------------------------------------

    def read(self, out: bytearray | memoryview, *, only_speech: bool) -> int:
        """
        Fill a buffer with speech, and with silence where there is no speech.

        Args:
            out: A writable buffer of whole frames.
            only_speech: Whether the engine plays only blocks with speech. If True, a block without
                speech is not counted.

        Returns:
            How many frames are speech.
        """
        with self._lock:
            frames = len(out) // _SAMPLE_BYTES
            count = 0
            if self._is_held:
                out[:] = bytes(len(out))
            else:
                count = self._playout.read(out)
            start = self._clock.read_frames
            self._relate(start, start + max(count, 1))
            if count == 0 and only_speech:
                return 0
            self._clock.read(frames)
            if self._fade_frames:
                self._fade(memoryview(out))
            return count

    def _relate(self, start: int, end: int) -> None:
        """Record which items of speech the output frames from *start* to *end* play."""
        found: list[tuple[str, int, int]] = []
        for name, item in list(self._unread.items()):
            if not (item.pushed or item.is_ended):
                break
            position = self._position(name, item)
            if position > item.read:
                found.append((name, item.read, position))
                item.read = position
            if not item.is_ended or position < item.pushed:
                break
            del self._unread[name]
        if found:
            self._dry_seconds = 0.0
        total = sum(until - since for _, since, until in found)
        place = float(start)
        for name, since, until in found:
            next_place = place + (end - start) * (until - since) / total
            self._segments.add(name, place, next_place, since, until)
            place = next_place

    def _position(self, name: str, item: _Item) -> int:
        try:
            position_ms = self._playout.position_ms(name)
        except LocalProtocolError:
            return item.pushed  # the playout does not keep items that were read long ago
        return min(round(position_ms * self.sample_rate_hz / 1000.0), item.pushed)

    def _fade(self, out: memoryview) -> None:
        for start in range(0, len(out), _RAMP_FRAMES * _SAMPLE_BYTES):
            part = out[start : start + _RAMP_FRAMES * _SAMPLE_BYTES]
            gain_into(part, max(self._fade_left, 0) / self._fade_frames, part)
            self._fade_left -= len(part) // _SAMPLE_BYTES

    # ---- inside; the lock is held ------------------------------------------------------------

    @property
    def _is_dry(self) -> bool:
        """Whether the device has no speech, and had no speech recently."""
        return self._segments.is_empty and self._dry_seconds >= _BETWEEN_SECONDS

    @property
    def _refuses(self) -> bool:
        """Whether new audio is dropped, because the speech was stopped or the output was closed."""
        return self._closed or self._stopped is not None

    def _add(self, item_id: str, from_hz: int) -> _Item:
        # The earlier items get no more audio, even if the service has not ended them.
        self._end_all()
        item = self._items[item_id] = self._unread[item_id] = _Item(from_hz)
        return item

    def _push(self, item_id: str, item: _Item, pcm: memoryview, *, end: bool) -> None:
        if self._playout.push(pcm, item=item_id, end=end):
            item.pushed += len(pcm) // _SAMPLE_BYTES
            if end:
                self._end(item_id, item)
        elif not item.pushed:
            # Audio of an item that was cleared has arrived late.
            self._items.pop(item_id, None)
            self._unread.pop(item_id, None)

    def _end(self, name: str, item: _Item) -> None:
        """Mark an item as complete. The engine may have already read all audio of the item."""
        item.is_ended = True
        if item.read >= item.pushed:
            self._unread.pop(name, None)

    def _end_all(self) -> None:
        for name, item in list(self._unread.items()):
            if not item.is_ended:
                self._playout.end(name)
                self._end(name, item)

    def _drop(self) -> dict[str, int]:
        """Drop all audio. Return how many samples of each item were heard, at the item's rate."""
        self._segments.reach(self._clock.heard_frames)
        heard = {
            name: round(self._segments.heard.get(name, 0.0) * item.from_hz / self.sample_rate_hz)
            for name, item in self._items.items()
            if item.pushed
        }
        if self._clock.heard_frames < self._clock.read_frames and not self._segments.is_empty:
            self.drops += 1
        self._playout.clear()
        self._fade_frames = self._fade_left = 0
        self._segments.clear()
        self._clock.drop()
        self._is_speaking = False
        self._dry_seconds = math.inf
        self._items.clear()
        self._unread.clear()
        self._tracks.clear()
        return heard


def ramped(mono: bytes, before: float, after: float) -> bytes:
    """Multiply samples by a factor that changes in steps."""
    if before == after:
        return gain(mono, after)
    size_bytes = _STEP_FRAMES * _SAMPLE_BYTES
    steps = -(-len(mono) // size_bytes)
    return b"".join(
        gain(mono[at * size_bytes : (at + 1) * size_bytes], before + (after - before) * at / steps)
        for at in range(steps)
    )
