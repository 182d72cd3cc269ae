"""
Passes the replies of a session to an engine. Each item of the session is a line with a negative
number.

Lock rule: ``_lock`` guards the items. A thread that holds ``_lock`` acquires no other lock than the
lock of :class:`Outgoing`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping

import attrs

from inworld_sync.errors import DeadlineExceeded, InworldError
from inworld_sync.games.engines.outgoing import RATE_HZ, Outgoing, OutgoingLine
from inworld_sync.games.engines.timed import TimedSpeech
from inworld_sync.locks import make_lock
from inworld_sync.models.realtime import AudioDelta, AudioFormat
from inworld_sync.transport.deadline import Deadline

__all__ = ["Replies"]

_DRAIN_POLL_SECONDS = 0.05

# Events about an item may arrive after its interruption. So the ids of this many interrupted items
# are kept.
_MAX_PAST_ITEMS = 256


@attrs.define(eq=False)
class _Item:
    """
    An item of the session.

    One thread passes the audio of an item, and another thread passes the words and mouth shapes.
    The line is complete when all audio, all words and all mouth shapes have been passed.

    Attributes:
        number: The number of the line of this item.
        line: The line; None before the first audio.
        speech: The words and mouth shapes; None before the first audio and after the last times.
        pushed_samples: How many samples of audio were pushed.
        has_all_audio: Whether no more audio follows.
        has_all_times: Whether no more words and mouth shapes follow.
    """

    number: int
    line: OutgoingLine | None = None
    speech: TimedSpeech | None = None
    pushed_samples: int = 0
    has_all_audio: bool = False
    has_all_times: bool = False


class Replies:
    """
    The lines of the replies. The session uses this object as an ``ItemSink``.

    Args:
        outgoing: Gets the audio, the words and the mouth shapes.
        shapes: The name of the set of mouth shapes.
        numbers: Yields the next unused negative number, for the line of each item.

    Attributes:
        failure: Always None. If the engine disconnects, the connection closes the session.
    """

    def __init__(self, outgoing: Outgoing, shapes: str, numbers: Iterator[int]) -> None:
        self._outgoing, self._shapes, self._numbers = outgoing, shapes, numbers
        self._lock = make_lock()
        self._items: dict[str, _Item] = {}
        self._past: deque[str] = deque(maxlen=_MAX_PAST_ITEMS)
        self._closed = False
        self.failure: InworldError | None = None

    # For the session.

    @property
    def is_idle(self) -> bool:
        """Whether all audio that was pushed has been heard."""
        return self._outgoing.open_lines(are_replies=True) == 0

    def push(
        self, item_id: str, audio: bytes, audio_format: AudioFormat, *, end: bool = False
    ) -> bool:
        """Queue audio of an item; see :class:`~inworld_sync.ItemSink`."""
        with self._lock:
            item = self._item(item_id)
            if item is None:
                return True
            if audio and not self._outgoing.put(self._begin(item), audio, wait=False):
                return False
            item.pushed_samples += len(audio) // audio_format.bytes_per_sample
            item.has_all_audio = item.has_all_audio or end
            self._complete(item)
        return True

    def clear(self) -> Mapping[str, int]:
        """Stop all replies. Return how many samples of each item were heard."""
        heard = {}
        with self._lock:
            for item_id, item in self._items.items():
                self._past.append(item_id)
                if item.line is None:
                    continue
                heard_ms, is_all = self._outgoing.heard_ms(item.line)
                samples = round(heard_ms * RATE_HZ / 1000.0)
                heard[item_id] = item.pushed_samples if is_all else samples
                self._outgoing.end(item.line, "interrupted")
            self._items.clear()
        return heard

    def drain(self, timeout: float | None) -> None:
        """Wait until all audio that was pushed has been heard."""
        deadline = Deadline(timeout, "playing the speech in the engine")
        while not self.is_idle:
            if deadline.expired:
                raise DeadlineExceeded("the engine has not reported that all speech was heard")
            time.sleep(_DRAIN_POLL_SECONDS)

    def close(self) -> None:
        """Accept no more audio."""
        with self._lock:
            self._closed = True

    # For the conversation.

    def end_all(self) -> None:
        """End all items, because no more audio arrives. Audio that has arrived is still played."""
        with self._lock:
            self._closed = True
            for item in self._items.values():
                item.has_all_audio = True
                self._finish(item)

    def add_times(self, event: AudioDelta) -> None:
        """Send the words and mouth shapes of a piece of audio."""
        with self._lock:
            item = self._item(event.item_id)
            if item is None or item.has_all_times:
                return
            if event.audio or event.words or event.phonemes:
                self._begin(item)
                assert item.speech is not None
                item.speech.add(event.audio, event.words, phonemes=event.phonemes)

    def finish_times(self, item_id: str | None = None) -> None:
        """Send the last mouth shapes of an item, or of all items."""
        with self._lock:
            for each in [item_id] if item_id is not None else list(self._items):
                if each in self._items:
                    self._finish(self._items[each])

    def number_of(self, item_id: str) -> int | None:
        """Return the number of the line of an item; None if the item was interrupted."""
        with self._lock:
            item = self._item(item_id)
            return None if item is None else item.number

    # The callers of the following methods hold ``_lock``.

    def _item(self, item_id: str) -> _Item | None:
        item = self._items.get(item_id)
        if item is None and not self._closed and item_id not in self._past:
            item = self._items[item_id] = _Item(next(self._numbers))
        return item

    def _begin(self, item: _Item) -> OutgoingLine:
        if item.line is None:
            item.line = self._outgoing.add_line(item.number)
            item.speech = TimedSpeech(self._outgoing, item.line, self._shapes)
        return item.line

    def _finish(self, item: _Item) -> None:
        if item.speech is not None:
            item.speech.finish()
        item.has_all_times, item.speech = True, None
        self._complete(item)

    def _complete(self, item: _Item) -> None:
        if item.has_all_audio and item.has_all_times and item.line is not None:
            self._outgoing.complete(item.line)
