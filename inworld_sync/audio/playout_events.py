"""Defines the results, events and statistics of a :class:`~inworld_sync.audio.playout.Playout`."""

from __future__ import annotations

import enum
from collections.abc import Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, TypeVar, cast

import attrs

from inworld_sync._native import lib

if TYPE_CHECKING:
    from inworld_sync._native._core import CData

__all__ = [
    "Cleared",
    "PlayoutEvent",
    "PlayoutEventKind",
    "PlayoutPart",
    "PlayoutPartKind",
    "PlayoutState",
    "PlayoutStats",
    "PushResult",
    "structs",
]

_Kind = TypeVar("_Kind", bound=enum.Enum)


def structs(array: CData, count: int) -> Iterator[CData]:
    """
    Iterate over the first *count* structs of an array. The next call of the core overwrites the
    array.
    """
    views = cast("Sequence[CData]", array)
    return (views[index] for index in range(count))


class PushResult(enum.Enum):
    """The result of a push. The result is true if the audio was accepted."""

    ACCEPTED = "accepted"
    FULL = "full"  # wait until some of the queued audio was played
    STALE = "stale"  # the item was cleared, has ended, or was followed by another item

    def __bool__(self) -> bool:
        return self is PushResult.ACCEPTED


class PlayoutState(enum.Enum):
    """The state of a playout."""

    EMPTY = "empty"  # no audio was pushed since the start or the last clear
    PREBUFFERING = "prebuffering"  # audio is collected before it plays
    PLAYING = "playing"
    STALLED = "stalled"  # there is no more audio, and the item is not complete
    DRAINED = "drained"  # all items were played to their ends


class PlayoutEventKind(enum.Enum):
    """The kind of a playout event."""

    ITEM_STARTED = "item_started"  # the first frame of the item was played
    ITEM_DONE = "item_done"  # the last frame of the item was played
    ITEM_CLEARED = "item_cleared"  # the item was cleared after position_ms were heard
    MARK = "mark"  # all audio before the mark was played
    MARK_CANCELLED = "mark_cancelled"  # the item was cleared before the mark was reached
    STALL = "stall"
    RESUME = "resume"
    DRAIN = "drain"
    SKIP = "skip"  # live mode: audio was skipped to reduce the delay


class PlayoutPartKind(enum.Enum):
    """The origin of a part of the output."""

    PLAYED = "played"  # audio of the source, time-scaled if the two frame counts differ
    CONCEALED = "concealed"  # generated; source_frames counts the lost frames
    HELD = "held"  # silence within an item
    IDLE = "idle"  # silence because there is nothing to play
    FADED = "faded"  # the fade after a clear


def _by_number(kinds: type[_Kind]) -> dict[int, _Kind]:
    """Map the numbers of the core to the members of an enumeration with the same names."""
    return {getattr(lib, f"IW_PLAYOUT_{kind.name}"): kind for kind in kinds}


_STATES: Final = _by_number(PlayoutState)
_EVENT_KINDS: Final = _by_number(PlayoutEventKind)
_PART_KINDS: Final = _by_number(PlayoutPartKind)


@attrs.frozen(kw_only=True)
class PlayoutEvent:
    """
    An event that :meth:`Playout.poll` returns.

    Attributes:
        kind: The kind of the event.
        item: The item of the event or of the mark; None for events of the whole stream.
        tag: The tag that was passed to :meth:`Playout.mark`; None for other events.
        position_ms: The position in the item. For STALL, RESUME, DRAIN and SKIP, the position in
            the whole stream.
        time_ns: The time on the reader's clock; None for items and marks.
    """

    kind: PlayoutEventKind
    item: Hashable
    tag: object
    position_ms: float
    time_ns: int | None

    @classmethod
    def from_core(
        cls, event: CData, item: Hashable, tag: object, sample_rate_hz: int
    ) -> PlayoutEvent:
        """Read a ``struct iw_playout_event``."""
        return cls(
            kind=_EVENT_KINDS[event.type],
            item=item,
            tag=tag,
            position_ms=event.position * 1000 / sample_rate_hz,
            time_ns=event.time_ns or None,
        )


@attrs.frozen(kw_only=True)
class PlayoutPart:
    """
    A part of the output that has one origin.

    Attributes:
        kind: The origin.
        output_frames: The number of output frames in the part.
        source_frames: The number of source frames that the part plays or replaces.
        position_frames: The position of the part's first source frame, counted over all items.
    """

    kind: PlayoutPartKind
    output_frames: int
    source_frames: int
    position_frames: int

    @classmethod
    def from_core(cls, part: CData) -> PlayoutPart:
        """Read a ``struct iw_playout_part``."""
        return cls(
            kind=_PART_KINDS[part.kind],
            output_frames=part.output_frames,
            source_frames=part.source_frames,
            position_frames=part.position,
        )


@attrs.frozen(kw_only=True)
class Cleared:
    """
    How much was heard of an item that was cleared. The values are final.

    Attributes:
        heard_ms: How much of the item was heard, including the fade; at most *received_ms*.
        received_ms: How much of the item was pushed.
        cancelled_marks: The number of marks that were not reached.
    """

    heard_ms: float
    received_ms: float
    cancelled_marks: int

    @property
    def audio_end_ms(self) -> int:
        """Whole milliseconds that were heard, for ``conversation.item.truncate``."""
        return int(self.heard_ms)

    @classmethod
    def from_core(cls, cleared: CData, sample_rate_hz: int) -> Cleared:
        """Read a ``struct iw_playout_cleared``."""
        return cls(
            heard_ms=cleared.heard_frames * 1000 / sample_rate_hz,
            received_ms=cleared.received_frames * 1000 / sample_rate_hz,
            cancelled_marks=cleared.cancelled_marks,
        )


@attrs.frozen(kw_only=True)
class PlayoutStats:
    """
    The statistics of a playout since its creation.

    Attributes:
        state: The current state.
        queued_ms: How much audio was received and not played yet.
        target_delay_ms: In live mode, the target delay, in addition to the delay of the fastest
            packet. In burst mode, how much of an item must be buffered before the item starts.
        delay_ms: In live mode, the delay of the audio that was played last, in addition to the
            delay of the fastest packet.
        received_frames: The number of frames in accepted pushes.
        stale_frames: Frames that were refused because their item had ended.
        refused_frames: Frames that were refused because the playout was full.
        resyncs: In live mode, how many new time bases began, after jumps of the timestamps or long
            pauses.
        clears: The number of calls of :meth:`Playout.clear`.
        pulled_frames: The number of all output frames, which is the sum of the next five counts.
        played_frames: Output that is audio of the source.
        concealed_frames: Output that was generated.
        held_frames: Silence within items.
        idle_frames: Silence because there was nothing to play.
        faded_frames: Output of fades after clears.
        inserted_frames: Output frames that time scaling added.
        removed_frames: Source frames that time scaling removed.
        lost_frames: Source frames that never arrived, or arrived too late to be played.
        late_frames: Source frames that arrived after they were due.
        duplicate_frames: Source frames that arrived twice.
        skipped_frames: In live mode, source frames that were skipped to reduce the delay.
        stalls: How many times there was no audio to play before the item was complete.
        stalled_frames: Output during stalls.
        interruptions: The number of stalls of 150 ms or more.
        missed_events: Events that were lost because :meth:`Playout.poll` was not called.
    """

    state: PlayoutState
    queued_ms: float
    target_delay_ms: float
    delay_ms: float
    received_frames: int
    stale_frames: int
    refused_frames: int
    resyncs: int
    clears: int
    pulled_frames: int
    played_frames: int
    concealed_frames: int
    held_frames: int
    idle_frames: int
    faded_frames: int
    inserted_frames: int
    removed_frames: int
    lost_frames: int
    late_frames: int
    duplicate_frames: int
    skipped_frames: int
    stalls: int
    stalled_frames: int
    interruptions: int
    missed_events: int

    @classmethod
    def from_core(cls, stats: CData, sample_rate_hz: int) -> PlayoutStats:
        """Read a ``struct iw_playout_stats``."""
        return cls(
            state=_STATES[stats.state],
            queued_ms=stats.queued_frames * 1000 / sample_rate_hz,
            target_delay_ms=stats.target_delay_ms,
            delay_ms=stats.delay_ms,
            **{name: getattr(stats, name) for name in _COUNTS},
        )


# The counts have the names of the struct's fields.
_COUNTS: Final = [field.name for field in attrs.fields(PlayoutStats)][4:]
