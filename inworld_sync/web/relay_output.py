"""
Manages everything that is sent to a browser: the audio of the items, and the text messages.

The session pushes the audio of items. The writer thread takes each message when it is due. Audio is
sent at most *lead_ms* before it is played, so that little audio waits in the network when the user
interrupts. A message has the audio of only one item.

The browser counts how much of each item was heard. When the audio is cleared, the browser answers
with its count at that moment, and :meth:`PageOutput.clear` waits for this answer. If no answer
comes, the position is computed from the last report and the time since then.

Lock rule: ``_news`` guards all fields. ``_news`` is never held while a message is sent.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Literal, TypeAlias

import attrs

from inworld_sync.audio.formats import pcm_of
from inworld_sync.audio.resample import Resampler
from inworld_sync.errors import DeadlineExceeded, InworldError
from inworld_sync.locks import Condition
from inworld_sync.models.realtime import AudioFormat, PcmFormat
from inworld_sync.transport.deadline import LONGEST_WAIT_SECONDS, Deadline
from inworld_sync.transport.framework_socket import Message
from inworld_sync.web.relay_messages import RATE_HZ, audio_message, json_message

__all__ = ["ANSWER_SECONDS", "PageOutput", "Stop"]

# How long a clear waits for the answer of the browser.
ANSWER_SECONDS = 1.0

# The meaning of an ``interrupted`` message: the answer to a clear, a stop by the user, a message
# about audio that is no longer played, or a message about an item that never existed.
Stop: TypeAlias = Literal["answer", "stopped", "stale", "wrong"]

_SAMPLE_BYTES = 2

# One message has at most 100 ms of audio.
_PIECE_BYTES = RATE_HZ // 10 * _SAMPLE_BYTES

# Two minutes of audio. While more audio than this is queued, the session waits.
_MAX_QUEUED_BYTES = RATE_HZ * _SAMPLE_BYTES * 120

# If more text messages than this wait, the browser has stopped reading.
_MAX_TEXTS = 1000

# The numbers of this many items are kept, for transcripts that arrive late.
_MAX_NUMBERS = 1000

# Without a report, an item counts as heard this long after its end should have been played.
_LOST_SECONDS = 2.0

# An item is heard to its end if at most this much is missing, because pages may round times.
_ROUNDING_MS = 1.0

_DRAIN_POLL_SECONDS = 0.05


@attrs.define
class _Item:
    """
    An item that is played.

    Attributes:
        number: The number of the item in messages.
        source_hz: The sample rate of the audio that was pushed.
        resampler: Converts the audio to the rate of the browser; None if nothing is converted.
        pushed_samples: How many samples were pushed, at *source_hz*.
        sent_samples: How many samples were sent, at the rate of the browser.
        queued_bytes: How many bytes of the item's audio wait in the queue.
        is_ended: Whether no more audio is pushed.
        is_end_sent: Whether all audio and the end were sent.
        is_finished: Whether the browser has reported that all audio was heard.
        heard_ms: How many milliseconds were heard at the time *heard_at*.
        heard_at: When the browser last reported *heard_ms*. Before the first report, this is the
            time at which the first sample is due.
    """

    number: int
    source_hz: int
    resampler: Resampler | None
    pushed_samples: int = 0
    sent_samples: int = 0
    queued_bytes: int = 0
    is_ended: bool = False
    is_end_sent: bool = False
    is_finished: bool = False
    heard_ms: float = 0.0
    heard_at: float = math.inf

    @property
    def sent_ms(self) -> float:
        """How many milliseconds of audio were sent."""
        return self.sent_samples * 1000.0 / RATE_HZ

    def is_heard(self, now: float) -> bool:
        """Return whether the item was heard to its end."""
        left_seconds = (self.sent_ms - self.heard_ms) / 1000.0
        is_lost = self.is_end_sent and now >= self.heard_at + left_seconds + _LOST_SECONDS
        return self.is_finished or is_lost

    def estimated_ms(self, now: float) -> float:
        """Return how many ms were heard if playback has continued since the last report."""
        return min(self.sent_ms, self.heard_ms + max(0.0, now - self.heard_at) * 1000.0)

    def samples(self, heard_ms: float) -> int:
        """Return how many samples were heard, at the rate of the pushed audio."""
        is_whole = self.is_end_sent and heard_ms >= self.sent_ms - _ROUNDING_MS
        if self.is_finished or is_whole:
            return self.pushed_samples
        # The number is rounded up, so that the item is not truncated at an earlier millisecond.
        samples = math.ceil(heard_ms * self.source_hz / 1000.0 - 1e-6)
        return min(samples, self.pushed_samples)


@attrs.define
class _Clear:
    """A ``clear`` of the page. *answer* has the item and the heard ms; None before the answer."""

    answer: tuple[int, float] | None = None


class PageOutput:
    """
    Everything that is sent to one browser. The session uses this object as its ``ItemSink``.

    Args:
        lead_ms: Audio is sent at most this many milliseconds before it is played.

    Attributes:
        failure: The error because of which nothing more is sent, or None.
        interruptions: How often unheard audio was cleared.
        late_answers: How many clears the browser did not answer in time.
        reader: The thread that reads the browser's messages. This thread never waits for an answer.
    """

    def __init__(self, lead_ms: float) -> None:
        self._lead = lead_ms / 1000.0
        self._news = Condition()
        self._texts: deque[str] = deque()
        self._queue: deque[tuple[_Item, bytes]] = deque()
        self._queued_bytes = 0
        self._items: dict[str, _Item] = {}
        self._numbers: dict[str, int] = {}
        self._count = 0
        # The newest item.
        self._last: _Item | None = None
        self._clear: _Clear | None = None
        # How many samples were sent in all, and how many of them before the present run. A run is
        # audio that is played without a pause.
        self._sent = self._run_position = 0
        self._run_began: float | None = None
        self._heard_before_ms = 0.0
        self._closed = False
        self.failure: InworldError | None = None
        self.interruptions = self.late_answers = 0
        self.reader: threading.Thread | None = None

    # For the session.

    @property
    def is_idle(self) -> bool:
        """Whether all audio that was pushed has been heard."""
        with self._news:
            return not self._is_unheard(time.monotonic())

    def push(
        self, item_id: str, audio: bytes, audio_format: AudioFormat, *, end: bool = False
    ) -> bool:
        """Queue audio of an item; see :class:`~inworld_sync.ItemSink`."""
        with self._news:
            if self._closed or self._clear is not None:
                return True
            if self._queued_bytes > _MAX_QUEUED_BYTES:
                return False
            item = self._items.get(item_id)
            if item is None:
                if end and not audio:
                    return True
                # A new item ends the earlier item, even if the service has not ended that item.
                if self._last is not None:
                    self._end(self._last)
                item = self._items[item_id] = self._last = self._new(item_id, audio_format)
            if not item.is_ended:
                item.pushed_samples += len(audio) // audio_format.bytes_per_sample
                pcm = bytes(pcm_of(audio, audio_format))
                self._put(item, pcm if item.resampler is None else item.resampler.feed(pcm))
                if end:
                    self._end(item)
            return True

    def clear(self) -> Mapping[str, int]:
        """
        Make the browser drop the unheard audio. Wait until the browser reports how much was heard.

        Returns:
            How many samples of each item were heard.
        """
        with self._news:
            if self._clear is None and self._is_unfinished():
                self._begin_clear()
            clear = self._clear
            if clear is not None and threading.current_thread() is not self.reader:
                self._news.wait_for(
                    lambda: clear.answer is not None or self._closed, ANSWER_SECONDS
                )
            if clear is not None and clear.answer is None:
                self.late_answers += 1
            self._clear = None
            return self._remove_items(None if clear is None else clear.answer)

    def drain(self, timeout: float | None) -> None:
        """Wait until all audio that was pushed has been heard."""
        deadline = Deadline(timeout, "playing the speech in the browser")
        while not self.is_idle:
            if self.failure is not None:
                raise self.failure
            if deadline.expired:
                raise DeadlineExceeded(f"the speech was not heard to its end after {timeout:g} s")
            with self._news:
                self._news.wait(deadline.at_most(_DRAIN_POLL_SECONDS))

    def close(self) -> None:
        """Send no more audio."""
        with self._news:
            self._closed = True
            self._queue.clear()
            self._queued_bytes = 0
            self._news.notify_all()

    # For the relay.

    def begin_clear(self) -> bool:
        """
        Make the browser drop the unheard audio, and return at once.

        Returns:
            Whether the browser must answer. :attr:`is_clear_answered` is True after the answer.
        """
        with self._news:
            if self._clear is None and self._is_unfinished():
                self._begin_clear()
            return self._clear is not None

    @property
    def is_clear_answered(self) -> bool:
        """Whether the browser has answered, or there is no clear to answer."""
        with self._news:
            return self._clear is None or self._clear.answer is not None

    def handle_heard(self, number: int, heard_ms: float) -> bool:
        """Record how much of an item was heard so far. Return False for an unknown item."""
        with self._news:
            item = self._item(number)
            if item is not None:
                item.heard_ms = max(item.heard_ms, min(heard_ms, item.sent_ms))
                item.heard_at = time.monotonic()
                self._news.notify_all()
            return 0 < number <= self._count

    def handle_finished(self, number: int) -> bool:
        """Record a report that an item was heard to its end. Return False for a wrong report."""
        with self._news:
            item = self._item(number)
            if item is not None and not item.is_end_sent:
                return False
            if item is not None:
                item.is_finished, item.heard_ms = True, item.sent_ms
                self._news.notify_all()
            return 0 < number <= self._count

    def handle_stop(self, number: int, heard_ms: float) -> Stop:
        """Handle a report that the browser has stopped after *heard_ms* of an item."""
        with self._news:
            if number > self._count:
                return "wrong"
            if self._clear is not None:
                if self._clear.answer is None:
                    self._clear.answer = (number, heard_ms)
                    self._news.notify_all()
                return "answer"
            if self._item(number) is None or not self._is_unfinished():
                return "stale"
            # If a newer item is on its way, send a clear, so that the page drops that item.
            is_newest = self._last is not None and self._last.number == number
            self._begin_clear((number, heard_ms), is_sent=not is_newest)
            return "stopped"

    def send(self, kind: str, **fields: object) -> None:
        """Queue a text message."""
        with self._news:
            self._put_text(kind, **fields)

    def send_about(self, item_id: str, kind: str, **fields: object) -> None:
        """Queue a text message about an item, unless the item is being cleared."""
        with self._news:
            if self._clear is None:
                self._put_text(kind, item=self._number(item_id), **fields)

    @property
    def is_overfull(self) -> bool:
        """Whether so many text messages wait that the browser must have stopped reading."""
        with self._news:
            return len(self._texts) > _MAX_TEXTS

    @property
    def heard_ms(self) -> float:
        """How many milliseconds of audio were heard in the whole conversation."""
        with self._news:
            return self._heard_before_ms + sum(item.heard_ms for item in self._items.values())

    # For the writer.

    def notify(self) -> None:
        """End a wait of :meth:`next_messages`."""
        with self._news:
            self._news.notify_all()

    def fail(self, error: InworldError) -> None:
        """Stop, because the browser accepts no messages."""
        with self._news:
            self.failure = self.failure or error
        self.close()

    def next_messages(self, timeout: float) -> list[Message]:
        """Wait at most *timeout* seconds or until :meth:`notify`. Return the due messages."""
        with self._news:
            now = time.monotonic()
            if messages := self._due(now):
                return messages
            wait = min(timeout, LONGEST_WAIT_SECONDS)
            if (send_at := self._send_at(now)) is not None:
                wait = min(wait, send_at - now)
            self._news.wait(max(wait, 0.0))
            return self._due(time.monotonic())

    # The caller of the methods below holds ``_news``.

    def _item(self, number: int) -> _Item | None:
        for item in self._items.values():
            if item.number == number:
                return item
        return None

    def _new(self, item_id: str, audio_format: AudioFormat) -> _Item:
        rate_hz = audio_format.sample_rate_hz
        is_unchanged = isinstance(audio_format, PcmFormat) and rate_hz == RATE_HZ
        resampler = None if is_unchanged else Resampler(rate_hz, RATE_HZ)
        return _Item(self._number(item_id), rate_hz, resampler)

    def _number(self, item_id: str) -> int:
        """Return the number of an item. A new number is also sent to the browser."""
        number = self._numbers.get(item_id)
        if number is None:
            self._count += 1
            number = self._numbers[item_id] = self._count
            while len(self._numbers) > _MAX_NUMBERS:
                del self._numbers[next(iter(self._numbers))]
            self._put_text("item", item=number, item_id=item_id)
        return number

    def _put_text(self, kind: str, **fields: object) -> None:
        if not self._closed and len(self._texts) <= _MAX_TEXTS:
            self._texts.append(json_message(kind, **fields))
            self._news.notify_all()

    def _put(self, item: _Item, pcm: bytes) -> None:
        if pcm:
            self._queue.append((item, pcm))
            self._queued_bytes += len(pcm)
            item.queued_bytes += len(pcm)
        self._news.notify_all()

    def _end(self, item: _Item) -> None:
        if not item.is_ended:
            if item.resampler is not None:
                self._put(item, item.resampler.finish())
            item.is_ended = True
            self._news.notify_all()
            if not item.queued_bytes:
                self._texts.append(self._end_message(item))

    def _end_message(self, item: _Item) -> str:
        item.is_end_sent = True
        return json_message("item_end", item=item.number, ms=round(item.sent_ms, 3))

    def _is_unheard(self, now: float) -> bool:
        return any(not item.is_heard(now) for item in self._items.values())

    def _is_unfinished(self) -> bool:
        """Return whether the browser may still play, because some item's end was not reported."""
        return any(not item.is_finished for item in self._items.values())

    def _begin_clear(
        self, answer: tuple[int, float] | None = None, *, is_sent: bool = True
    ) -> None:
        self.interruptions += 1
        self._clear = _Clear(answer)
        self._queue.clear()
        self._queued_bytes = 0
        self._run_began = None
        if is_sent:
            number = next((item.number for item in self._items.values() if not item.is_finished), 0)
            self._put_text("clear", item=number)

    def _remove_items(self, answer: tuple[int, float] | None) -> Mapping[str, int]:
        now, found = time.monotonic(), {}
        for item_id, item in self._items.items():
            if item.is_finished:
                heard_ms = item.sent_ms
            elif answer is None:
                heard_ms = item.estimated_ms(now)
            elif answer[0] == 0:
                heard_ms = item.heard_ms
            elif item.number == answer[0]:
                heard_ms = min(answer[1], item.sent_ms)
            else:
                # The browser plays the items in order.
                heard_ms = item.sent_ms if item.number < answer[0] else 0.0
            self._heard_before_ms += heard_ms
            found[item_id] = item.samples(heard_ms)
        self._items, self._last = {}, None
        self._queue.clear()
        self._queued_bytes = 0
        self._news.notify_all()
        return found

    def _run_due(self) -> float | None:
        """Return the earliest time at which the next sample is played; None without a run."""
        if self._run_began is None:
            return None
        return self._run_began + (self._sent - self._run_position) / RATE_HZ

    def _send_at(self, now: float) -> float | None:
        """Return when the next audio must be sent; None if there is no audio."""
        if not self._queue:
            return None
        due = self._run_due()
        if due is None or now >= due:
            return now
        item = self._queue[0][0]
        is_full = item.is_ended or item.queued_bytes >= _PIECE_BYTES
        return due - (self._lead if is_full else self._lead / 2)

    def _due(self, now: float) -> list[Message]:
        messages: list[Message] = [*self._texts]
        self._texts.clear()
        send_at = self._send_at(now)
        if send_at is not None and now >= send_at:
            item, pcm = self._take_piece()
            self._record_sent(item, len(pcm) // _SAMPLE_BYTES, now)
            messages.append(audio_message(item.number, pcm))
            if item.is_ended and not item.queued_bytes:
                messages.append(self._end_message(item))
        return messages

    def _take_piece(self) -> tuple[_Item, bytes]:
        item, parts, missing = self._queue[0][0], [], _PIECE_BYTES
        while self._queue and missing and self._queue[0][0] is item:
            pcm = self._queue.popleft()[1]
            part, rest = pcm[:missing], pcm[missing:]
            if rest:
                self._queue.appendleft((item, rest))
            missing -= len(part)
            parts.append(part)
        size_bytes = _PIECE_BYTES - missing
        item.queued_bytes -= size_bytes
        self._queued_bytes -= size_bytes
        return item, b"".join(parts)

    def _record_sent(self, item: _Item, samples: int, now: float) -> None:
        due = self._run_due()
        if due is None or now >= due:
            self._run_began, self._run_position, due = now, self._sent, now
        if not item.sent_samples:
            item.heard_at = due
        item.sent_samples += samples
        self._sent += samples
