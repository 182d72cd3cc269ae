"""
Implements the jitter buffer between a network and a device. Audio arrives from the network at
irregular times, but the device needs audio at a fixed rate.

One thread pushes audio as it arrives, one thread reads blocks of any size, and any thread may set
marks, clear and poll. A read never waits. It returns queued audio, which may be stretched;
generated audio where audio is missing; or silence where nothing has to be played.
:meth:`Playout.attach` lets the C callback of a sound device read, so that no Python code runs in
the callback.

The mode ``burst`` is for a source that is faster than real time, such as speech synthesis. No audio
is skipped, each item starts when enough of it is buffered, and speech is slowed down a little
before playback would stall. The mode ``live`` is for a source in real time, such as a telephone.
Then queued audio is a delay, and the playout adapts the delay to the jitter of recent packets.

>>> playout = Playout(16000)
>>> playout.push(bytes(640), item="a", end=True)
<PushResult.ACCEPTED: 'accepted'>
>>> playout.read(bytearray(640))
320
>>> playout.position_ms("a")
20.0
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Final

from inworld_sync._native import ffi, lib
from inworld_sync.audio._arguments import require_number, require_time_ns
from inworld_sync.audio._memory import readable_samples
from inworld_sync.audio._playout_config import (
    FORMATS,
    GAP_COSTS,
    MODES,
    SAMPLE_BYTES,
    PlayoutMode,
    PlayoutProfile,
    SampleFormat,
    check_range,
    choose,
)
from inworld_sync.audio._pulled import Pulled
from inworld_sync.audio.playout_events import (
    Cleared,
    PlayoutEvent,
    PlayoutPart,
    PlayoutStats,
    PushResult,
    structs,
)
from inworld_sync.audio.track import Track
from inworld_sync.errors import AudioError, ConfigError, LocalProtocolError
from inworld_sync.models.checks import require_whole

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from inworld_sync._native._core import CData
    from inworld_sync.audio.samples import AudioData

__all__ = ["Playout"]

_RESULTS: Final = {
    lib.IW_OK: PushResult.ACCEPTED,
    lib.IW_NO_ROOM: PushResult.FULL,
    lib.IW_STALE: PushResult.STALE,
}
_EVENTS: Final = 64
# The largest position or latency in milliseconds. It is longer than any item, and far below the
# limit of the core.
_MOST_MS: Final = 1e9
# The largest number of frames of one read. It is an hour at 48 kHz.
_MOST_FRAMES: Final = 172_800_000
# The number of items that are kept; the core keeps fewer.
_KEPT_ITEMS: Final = 4 * lib.IW_PLAYOUT_ITEMS


class _ItemNumbers:
    """
    Maps the items of the user to numbers for the core. An item may be any hashable object.

    Numbers start at 1. No number is used twice.

    Thread safety: none; the caller holds the playout's lock.
    """

    __slots__ = ("_items", "_last", "_numbers", "_unnamed")

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}
        self._items: dict[int, Hashable] = {}
        self._unnamed = 0
        self._last = 0

    def known(self, item: Hashable) -> int:
        """Return the number of an item, or 0 if the item is new."""
        try:
            return self._unnamed if item is None else self._numbers.get(item, 0)
        except TypeError as error:
            raise ConfigError(
                f"item must be hashable, such as a text or a number, got {type(item).__name__}"
            ) from error

    def number(self, item: Hashable) -> int:
        """Return the number of an item; a new item gets the next number."""
        number = self.known(item)
        if number:
            return number
        self._last += 1
        self._items[self._last] = item
        if item is None:
            self._unnamed = self._last
        else:
            self._numbers[item] = self._last
        if len(self._items) > _KEPT_ITEMS:
            oldest = next(iter(self._items))
            self._numbers.pop(self._items.pop(oldest), None)
        return self._last

    def item(self, number: int) -> Hashable:
        """Return the item with this number; None for the unnamed item or an unknown number."""
        return self._items.get(number)

    def end_unnamed(self) -> None:
        """End the unnamed item. The next use of None begins a new item."""
        self._unnamed = 0


def _require_counter(name: str, value: int | None) -> None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise ConfigError(f"{name} must be an integer or None, got {value!r}")


class Playout(Pulled):
    """
    A jitter buffer for PCM.

    Args:
        sample_rate_hz: Samples per second of each channel of input and output, 8000 to 48000.
        channels: 1 or 2, interleaved. A frame is one sample of each channel.
        mode: ``burst`` or ``live``, see above.
        profile: For live mode, whether to prefer a short delay (``interactive``), few gaps
            (``smooth``), or neither (``balanced``).
        input_format: The sample format of the input: ``s16`` little-endian, or ``f32`` in [-1, 1].
        output_format: The sample format of the output.
        min_delay_ms: For live mode, the smallest target delay, 0 to 1000.
        max_delay_ms: For live mode, the largest target delay, *min_delay_ms* to 10000. Audio with a
            longer delay is skipped.
        start_ms: For burst mode, how much of an item must be buffered before the item starts, 1 to
            10000. A complete item starts in any case. With None, the value adapts to earlier items.
        capacity_ms: How much audio may be queued, 10 to 3600000. Memory is allocated when it is
            needed.
        fade_ms: The length of the fade when audio that is playing is cleared, 1 to 10.
        time_scaling: Whether to stretch or shorten speech, to reach the target delay or avoid a
            stall.
        conceal: Whether to repeat the last pitch period where audio is missing, for up to 100 ms.
            With False, the audio fades out at once.

    Attributes:
        sample_rate_hz: Samples per second of each channel.
        channels: Samples per frame.
        input_format: The sample format of the input.
        output_format: The sample format of the output.

    Raises:
        ConfigError: An argument is out of range.
        ClosedError: Raised by every method except :meth:`close` after the playout was closed.

    Thread safety:
        One thread at a time may call :meth:`read`, :meth:`numpy` and :meth:`parts`. Any thread may
        call all other methods at any time.
    """

    def __init__(
        self,
        sample_rate_hz: int,
        channels: int = 1,
        *,
        mode: PlayoutMode = "burst",
        profile: PlayoutProfile = "balanced",
        input_format: SampleFormat = "s16",
        output_format: SampleFormat = "s16",
        min_delay_ms: int = 10,
        max_delay_ms: int = 1500,
        start_ms: int | None = None,
        capacity_ms: int = 600_000,
        fade_ms: int = 5,
        time_scaling: bool = True,
        conceal: bool = True,
    ) -> None:
        config = {
            "sample_rate_hz": check_range("sample_rate_hz", sample_rate_hz, 8000, 48000),
            "channels": check_range("channels", channels, 1, 2),
            "input_format": choose("input_format", input_format, FORMATS),
            "output_format": choose("output_format", output_format, FORMATS),
            "mode": choose("mode", mode, MODES),
            "min_delay_ms": check_range("min_delay_ms", min_delay_ms, 0, 1000),
            "max_delay_ms": check_range("max_delay_ms", max_delay_ms, min_delay_ms, 10_000),
            # With 0, the core adapts the value.
            "start_ms": 0 if start_ms is None else check_range("start_ms", start_ms, 1, 10_000),
            "capacity_ms": check_range("capacity_ms", capacity_ms, 10, 3_600_000),
            "fade_ms": check_range("fade_ms", fade_ms, 1, 10),
            "fixed_speed": not time_scaling,
            "fixed_silence": not conceal,
            "gap_cost": choose("profile", profile, GAP_COSTS),
        }
        super().__init__("playout", config, output_format)
        self.input_format: Final[SampleFormat] = input_format
        self.output_format: Final[SampleFormat] = output_format
        self._input_frame_bytes = SAMPLE_BYTES[input_format] * channels
        self._capacity_ms = capacity_ms
        self._items = _ItemNumbers()
        self._tags: dict[int, object] = {}
        self._last_tag = 0
        self._cleared = ffi.new("struct iw_playout_cleared[]", lib.IW_PLAYOUT_ITEMS)
        self._events = ffi.new("struct iw_playout_event[]", _EVENTS)

    def __repr__(self) -> str:
        if self._core is None:
            return "<Playout closed>"
        stats = self.stats()
        return f"<Playout {self.sample_rate_hz} Hz {stats.state.value} {stats.queued_ms:.0f} ms>"

    # ---- in ----------------------------------------------------------------------------------

    def push(
        self,
        data: AudioData,
        *,
        item: Hashable = None,
        end: bool = False,
        timestamp: int | None = None,
        sequence: int | None = None,
        now_ns: int | None = None,
    ) -> PushResult:
        """
        Queue audio of an item. *data* is queued as a whole or not at all.

        Without *timestamp* and *sequence* the audio is appended, and items play one after another.
        With one of the two, packets may be late, duplicated, reordered or lost.

        Args:
            data: Whole frames in the input format as bytes, or an array of samples, which is
                converted to this format. The data is copied.
            item: The item that the audio belongs to, any hashable object. None is an unnamed item.
                After the end of the unnamed item, or after :meth:`clear`, the next None is a new
                item.
            end: Whether this is the last audio of the item.
            timestamp: The timestamp as in RTP, in frames, modulo 2**32. A jump of more than 5 s
                begins a new time base.
            sequence: The sequence number as in RTP, modulo 2**16, for packets of equal size without
                timestamps.
            now_ns: The time of arrival, on the clock that the reader uses; None means now.

        Returns:
            A result that is true if the audio was accepted. After ``FULL``, wait until some audio
            was played, and push again. ``STALE`` means that the item was cleared, has ended, or was
            followed by another item.

        Raises:
            AudioError: *data* is not audio, not whole frames, or more than the capacity.
            ConfigError: *item* is not hashable, or a number is out of range.
            LocalProtocolError: Both *timestamp* and *sequence* were passed.
        """
        if now_ns is not None:
            require_time_ns(now_ns)
        if timestamp is not None or sequence is not None:
            _require_counter("timestamp", timestamp)
            _require_counter("sequence", sequence)
        src = readable_samples(data, self.input_format, self.channels)
        frames, rest_bytes = divmod(len(src), self._input_frame_bytes)
        if rest_bytes:
            raise AudioError(
                f"a frame has {self._input_frame_bytes} bytes, got {len(src)} bytes: the last "
                "frame is cut"
            )
        if frames * 1000 > self._capacity_ms * self.sample_rate_hz:
            raise AudioError(
                f"{frames * 1000 / self.sample_rate_hz:.0f} ms are longer than the capacity of "
                f"{self._capacity_ms} ms: push the audio in pieces, or increase capacity_ms"
            )
        if timestamp is not None and sequence is not None:
            raise LocalProtocolError("push() accepts timestamp or sequence, got both")
        flags = lib.IW_PLAYOUT_END_OF_ITEM if end else 0
        now_ns = lib.iw_playout_clock_ns() if now_ns is None else now_ns
        with self._control:
            core = self._open()
            number = self._items.number(item)
            if timestamp is not None:
                place = timestamp & 0xFFFFFFFF
                status = lib.iw_playout_push_at(core, src, frames, number, place, flags, now_ns)
            elif sequence is not None:
                place = sequence & 0xFFFF
                status = lib.iw_playout_push_sequence(
                    core, src, frames, number, place, flags, now_ns
                )
            else:
                status = lib.iw_playout_push(core, src, frames, number, flags, now_ns)
            if end and item is None and status == lib.IW_OK:
                self._items.end_unnamed()
        if status == lib.IW_NO_MEMORY:
            raise MemoryError(f"no memory for {frames} frames of audio")
        return _RESULTS[status]

    def end(self, item: Hashable = None, *, now_ns: int | None = None) -> PushResult:
        """Mark an item as complete, so that it plays to its end without waiting for more audio."""
        return self.push(b"", item=item, end=True, now_ns=now_ns)

    def mark(self, item: Hashable, offset_ms: float, tag: object) -> None:
        """
        Set a mark. :meth:`poll` reports the mark when the item was played up to *offset_ms*.

        The audio at the mark may be pushed later. A mark after the end of the item is reported when
        the item ends. The marks of an item are reported in the order of their offsets.

        Args:
            item: The item that was passed to :meth:`push`.
            offset_ms: The position in the item, 0 to 1e9.
            tag: Any object; :meth:`poll` returns it.

        Raises:
            ConfigError: *item* is not hashable, or *offset_ms* is out of range.
            LocalProtocolError: The item was cleared, or 16384 marks are set.
        """
        require_number("offset_ms", offset_ms, 0, _MOST_MS)
        with self._control:
            core = self._open()
            number, self._last_tag = self._items.number(item), self._last_tag + 1
            status = lib.iw_playout_mark(core, number, self._frames(offset_ms), self._last_tag)
            if status == lib.IW_OK:
                self._tags[self._last_tag] = tag
        if status == lib.IW_STALE:
            raise LocalProtocolError(f"item {item!r} was cleared: set marks before clear()")
        if status == lib.IW_NO_MEMORY:
            raise MemoryError("no memory for a mark")
        if status != lib.IW_OK:
            raise LocalProtocolError("too many marks or items are queued: play or clear them first")

    # ---- out ---------------------------------------------------------------------------------

    def numpy(
        self, frames: int, *, now_ns: int | None = None
    ) -> npt.NDArray[np.int16] | npt.NDArray[np.float32]:
        """
        Read the next frames as a new array of shape (frames,) or (frames, 2); see :meth:`read`.

        The type is int16 for the output format ``s16``, and float32 for ``f32``.
        """
        require_whole("frames", frames, 0, _MOST_FRAMES)
        import numpy as np

        out = bytearray(frames * self._output_frame_bytes)
        self.read(out, now_ns=now_ns)
        shape = (frames,) if self.channels == 1 else (frames, self.channels)
        if self.output_format == "s16":
            return np.frombuffer(out, np.int16).reshape(shape)
        return np.frombuffer(out, np.float32).reshape(shape)

    def parts(self) -> list[PlayoutPart]:
        """
        Return the parts of the output of the last read, in order; at most 256 parts.

        Raises:
            LocalProtocolError: Another thread or a device is reading.
        """
        parts = ffi.new("struct iw_playout_part[]", lib.IW_PLAYOUT_PARTS)
        if self._reading.locked():
            raise self._busy_error()
        with self._reading:
            count = lib.iw_playout_parts(self._open_for_reading(), parts, lib.IW_PLAYOUT_PARTS)
        return [PlayoutPart.from_core(part) for part in structs(parts, count)]

    # ---- control -----------------------------------------------------------------------------

    def clear(self, *, latency_ms: float = 0.0) -> dict[Hashable, Cleared]:
        """
        Drop all queued audio. Audio that is playing fades out within *fade_ms*.

        The result is final. It includes the fade, and later pushes for these items return
        ``STALE``. Marks that were not reached are cancelled.

        Args:
            latency_ms: How much audio the device has taken and will drop, because the device was
                stopped. Pass 0 if the device plays all audio that it has taken.

        Returns:
            How much was heard of each item that was not heard to its end, in the order of items.
        """
        require_number("latency_ms", latency_ms, 0, _MOST_MS)
        with self._control:
            core = self._open()
            latency_frames = self._frames(latency_ms)
            count = lib.iw_playout_clear(core, self._cleared, lib.IW_PLAYOUT_ITEMS, latency_frames)
            self._items.end_unnamed()
            return {
                self._items.item(cleared.item): Cleared.from_core(cleared, self.sample_rate_hz)
                for cleared in structs(self._cleared, count)
            }

    def position_ms(
        self, item: Hashable = None, *, latency_ms: float = 0.0, track: Track | None = None
    ) -> float:
        """
        Return how much of an item was played. The result is never more than the audio that was
        pushed.

        Args:
            item: The item that was passed to :meth:`push`; None means the current unnamed item.
            latency_ms: How much audio the device has taken and not yet played.
            track: The track of the mixer that reads this playout. A track counts exactly what was
                heard.

        Raises:
            LocalProtocolError: The item is unknown, because it was never pushed or ended long ago.
        """
        with self._control:
            until = self._until(latency_ms, track, None)
            frames = lib.iw_playout_position(self._open(), self._items.known(item), until)
        if frames < 0:
            raise LocalProtocolError(f"item {item!r} is unknown: push some of it first")
        return frames * 1000 / self.sample_rate_hz

    def poll(
        self, *, latency_ms: float = 0.0, track: Track | None = None, now_ns: int | None = None
    ) -> list[PlayoutEvent]:
        """
        Return the events since the last poll in order; the list may be empty.

        Marks and items are reported when they are heard. With *latency_ms*, the time of a report is
        exact while audio plays without a pause. With *track*, the time is also exact around pauses.

        Args:
            latency_ms: How much audio the device has taken and not yet played.
            track: The track of the mixer that reads this playout. A track counts exactly what was
                heard by *now_ns*.
            now_ns: The time of the poll, on the clock of the reader; None means now.
        """
        found: list[PlayoutEvent] = []
        with self._control:
            until = self._until(latency_ms, track, now_ns)
            count = _EVENTS
            while count == _EVENTS:
                count = lib.iw_playout_poll(self._open(), self._events, _EVENTS, until)
                found += [self._event(event) for event in structs(self._events, count)]
        return found

    def pause(self) -> None:
        """Fade out and stop playing until :meth:`resume`. No audio is lost. May be called twice."""
        with self._control:
            lib.iw_playout_pause(self._open(), 1)

    def resume(self) -> None:
        """Continue after :meth:`pause`."""
        with self._control:
            lib.iw_playout_pause(self._open(), 0)

    def stats(self) -> PlayoutStats:
        """Return the statistics. A read may change some values during this call."""
        stats = ffi.new("struct iw_playout_stats *")
        with self._control:
            lib.iw_playout_stats(self._open(), stats)
        return PlayoutStats.from_core(stats, self.sample_rate_hz)

    # ---- inside ------------------------------------------------------------------------------

    def _until(self, latency_ms: float, track: Track | None, now_ns: int | None) -> int:
        """Return the frame of the stream up to which the audio was heard."""
        if track is not None and not isinstance(track, Track):
            raise ConfigError(f"track must be a Track or None, got {type(track).__name__}")
        require_time_ns(now_ns)
        if track is not None:
            return track.position_frames(now_ns)
        require_number("latency_ms", latency_ms, 0, _MOST_MS)
        return lib.iw_playout_pulled(self._open()) - self._frames(latency_ms)

    def _frames(self, duration_ms: float) -> int:
        return round(duration_ms * self.sample_rate_hz / 1000)

    def _event(self, event: CData) -> PlayoutEvent:
        item = self._items.item(event.item)
        tag = self._tags.pop(event.tag, None)
        return PlayoutEvent.from_core(event, item, tag, self.sample_rate_hz)
