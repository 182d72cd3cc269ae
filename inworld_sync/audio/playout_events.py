"""What a :class:`~inworld_sync.audio.playout.Playout` tells: results, events and figures."""

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
    """The first *count* structs of an array; they are views that the next call overwrites."""
    views = cast("Sequence[CData]", array)
    return (views[index] for index in range(count))


class PushResult(enum.Enum):
    """What became of a push; true when it was accepted."""

    ACCEPTED = "accepted"
    FULL = "full"  # wait until some of what is queued is played
    STALE = "stale"  # the item was cleared, has ended, or was followed by another one

    def __bool__(self) -> bool:
        return self is PushResult.ACCEPTED


class PlayoutState(enum.Enum):
    """What a playout is doing."""

    EMPTY = "empty"  # nothing came since the start or the last clear
    PREBUFFERING = "prebuffering"  # sound is collected
    PLAYING = "playing"
    STALLED = "stalled"  # the sound ran out and is not over
    DRAINED = "drained"  # all items were played to their ends


class PlayoutEventKind(enum.Enum):
    """What happened."""

    ITEM_STARTED = "item_started"  # its first frame was played
    ITEM_DONE = "item_done"  # its last frame was played
    ITEM_CLEARED = "item_cleared"  # position_ms of it were heard
    MARK = "mark"  # what the tag marks was played
    MARK_CANCELLED = "mark_cancelled"  # a clear came first
    STALL = "stall"
    RESUME = "resume"
    DRAIN = "drain"
    SKIP = "skip"  # live: sound was left out to catch up


class PlayoutPartKind(enum.Enum):
    """Where a part of the output comes from."""

    PLAYED = "played"  # from the source; stretched where the counts differ
    CONCEALED = "concealed"  # made up; where it has source frames, it stands for lost ones
    HELD = "held"  # silence within an item
    IDLE = "idle"  # silence because nothing is due
    FADED = "faded"  # the way out after a clear


def _by_number(kinds: type[_Kind]) -> dict[int, _Kind]:
    """The members of an enumeration by their numbers in the core, whose names are the same."""
    return {getattr(lib, f"IW_PLAYOUT_{kind.name}"): kind for kind in kinds}


_STATES: Final = _by_number(PlayoutState)
_EVENT_KINDS: Final = _by_number(PlayoutEventKind)
_PART_KINDS: Final = _by_number(PlayoutPartKind)


@attrs.frozen(kw_only=True)
class PlayoutEvent:
    """
    Something that happened, as :meth:`Playout.poll` tells it.

    Attributes:
        kind: What it was.
        item: The item that it happened to, or that a mark belongs to; else None.
        tag: What was given to :meth:`Playout.mark`; None for what is no mark.
        position_ms: Where in the item; from STALL on, where in the whole stream.
        time_ns: When, by the reader's clock; None for items and marks, which are found by poll.
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
    A stretch of output of one kind.

    Attributes:
        kind: Where it comes from.
        output_frames: Its length.
        source_frames: How much of the source it stands for.
        position_frames: Where in the stream of the source it begins, all items counted.
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
    What was heard of an item that was cleared; final.

    Attributes:
        heard_ms: Of the item, the fade with it; never more than received_ms.
        received_ms: What had been pushed.
        cancelled_marks: Marks that were not reached.
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
    Figures of a playout since it was made.

    Attributes:
        state: What it is doing.
        queued_ms: Received and not played.
        target_delay_ms: Live: the delay that is aimed at, above that of the quickest packet.
            Burst: how much of an item must be there before it starts.
        delay_ms: Live: the delay of what was played last, above that of the quickest packet.
        received_frames: Of accepted pushes.
        stale_frames: Refused, since their item was over.
        refused_frames: Refused, since there was no room.
        resyncs: Live: new time bases, by jumps of the timestamps or by long pauses.
        clears: Calls of :meth:`Playout.clear`.
        pulled_frames: All output, the sum of the next five.
        played_frames: Output that is sound of the source.
        concealed_frames: Output that was made up.
        held_frames: Silence within items.
        idle_frames: Silence because nothing was due.
        faded_frames: Output of fades after clears.
        inserted_frames: Output that time scaling added.
        removed_frames: Source that time scaling left out.
        lost_frames: Source that never came, or came too late to be played.
        late_frames: Source that came when its time was over.
        duplicate_frames: Source that came twice.
        skipped_frames: Live: source that was left out to catch up.
        stalls: How often the sound ran out.
        stalled_frames: Output during stalls.
        interruptions: Stalls of 150 ms or more.
        missed_events: Events that were lost because nobody polled.
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
