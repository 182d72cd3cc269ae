"""
Plays a realtime session's speech, and counts how much of each item was heard.

The count comes from the sink's own count of samples, not from a clock. Only the session's executor
pushes to a player. Any thread may clear a player. The session ensures that two threads never clear
a player at the same time.

Threads: each player has a thread ``inworld-player``, since ``write`` of a sink waits.

Lock rule: ``_news`` guards a player's fields and is never held while the sink is called.
Only the thread that holds ``_sink_use`` uses the sink. The holder is the player's thread, inside
``write`` or ``end`` of the sink, or another thread that clears the sink. So no old audio follows a
clear. If a write does not return although the sink was cleared, a clear waits for 5 s at most.
"""

from __future__ import annotations

import logging
import threading
from collections import deque

import attrs

from inworld_sync.audio.formats import pcm_of
from inworld_sync.audio.playout import Playout
from inworld_sync.audio.resample import Resampler
from inworld_sync.devices.playout_sink import PlayoutSink
from inworld_sync.errors import (
    ClosedError,
    ConfigError,
    DeadlineExceeded,
    InworldError,
    LocalProtocolError,
)
from inworld_sync.locks import Condition, Mutex
from inworld_sync.models.devices import AudioSink, ItemSink
from inworld_sync.models.realtime import AudioFormat

__all__ = ["Player", "player_for"]

# A player is full if more audio than this waits: almost six minutes of 24 kHz PCM.
MAX_QUEUED_BYTES = 16 * 1024 * 1024

# The milliseconds of audio that are written in one call. A clear may have to wait for the end of
# such a write.
_BLOCK_MS = 20

_RELEASE_SECONDS = 5.0
_LONGEST_WAIT_SECONDS = 1.0


@attrs.define
class _Item:
    """An item that is played. The device counts the samples of the item at *device_hz*."""

    rate_hz: int
    device_hz: int
    resampler: Resampler
    pushed_samples: int = 0
    is_ended: bool = False
    start: int | None = None
    written: int = 0
    is_written: bool = False

    def heard_samples(self, device_position: int) -> int:
        """Return how much of the item was heard, in samples of *rate_hz*."""
        if self.start is None:
            return 0
        heard = max(device_position - self.start, 0)
        if self.is_written and heard >= self.written:
            return self.pushed_samples
        return min(heard * self.rate_hz // self.device_hz, self.pushed_samples)


class Player:
    """
    Plays items one after another on a speaker or another sink.

    Args:
        sink: The sink, to which only this player may write.
        name: The name of the session, for the thread.
        logger: Gets the error of a sink that fails.

    Attributes:
        failure: Why the player no longer plays; None while it plays. The failure is set once.
    """

    def __init__(self, sink: AudioSink, name: str, logger: logging.Logger) -> None:
        self._sink = sink
        self._device_hz = sink.sample_rate_hz
        self._logger = logger
        self._news = Condition()
        # The thread that uses the sink holds this mutex. This thread is the player's thread, or a
        # thread that clears the sink.
        self._sink_use = Mutex()
        self._queue: deque[tuple[_Item, memoryview | None]] = deque()
        self._queued_bytes = 0
        self._items: dict[str, _Item] = {}
        self._position = sink.heard_samples
        self._clears = 0
        self._is_busy = False
        self._closed = False
        self.failure: InworldError | None = None
        self._thread = threading.Thread(
            target=self._run, name=f"inworld-player-{name}", daemon=True
        )
        self._thread.start()

    @property
    def is_idle(self) -> bool:
        """Whether all audio that was pushed has been heard."""
        with self._news:
            is_working, position = self._is_working, self._position
        if self.failure is not None:
            return True
        return not is_working and self._sink.heard_samples >= position

    def push(
        self, item_id: str, audio: bytes, audio_format: AudioFormat, *, end: bool = False
    ) -> bool:
        """
        Queue audio of an item; never waits.

        Args:
            item_id: The item. The first audio of an item ends all earlier items.
            audio: Whole samples; may be empty.
            audio_format: The format of *audio*.
            end: Whether the item is complete with this audio.

        Returns:
            False if the player is full. Then the caller pushes the same audio again, until it is
            accepted or the player is cleared.
        """
        with self._news:
            if self._closed or self.failure is not None:
                return True
            if self._queued_bytes > MAX_QUEUED_BYTES:
                return False
            item = self._items.get(item_id)
            if item is None:
                if end and not audio:
                    return True
                # The earlier items have no more audio, even if the service has not ended them.
                for earlier in self._items.values():
                    self._end(earlier)
                rate_hz = audio_format.sample_rate_hz
                item = self._items[item_id] = _Item(
                    rate_hz, self._device_hz, Resampler(rate_hz, self._device_hz)
                )
            if not item.is_ended:
                pcm = pcm_of(audio, audio_format)
                item.pushed_samples += len(pcm) // 2
                self._put(item, pcm)
                if end:
                    self._end(item)
            return True

    def clear(self) -> dict[str, int]:
        """
        Stop at once.

        For each item that was pushed since the last clear, return how many samples were heard.
        """
        with self._news:
            self._clears += 1
            self._queue.clear()
            self._queued_bytes = 0
            items, self._items = self._items, {}
            self._news.notify_all()
        # The first clear ends a write that waits for room. The second clear drops the audio of that
        # write.
        position = self._clear_sink()
        # A sink may call this method inside its own write, so waiting for the write would not end.
        if threading.current_thread() is not self._thread:
            with self._sink_use.hold(_RELEASE_SECONDS) as is_alone:
                if is_alone:
                    position = self._clear_sink()
        with self._news:
            self._position = position
        return {item_id: item.heard_samples(position) for item_id, item in items.items()}

    def _clear_sink(self) -> int:
        """
        Clear the sink, and return how many samples were heard.

        If the sink raises an exception, the player fails. The caller gets no error, because the
        caller has to send the interruption. The result is then ``heard_samples`` of the sink, or 0
        if ``heard_samples`` raises an exception too.
        """
        try:
            return self._sink.clear()
        except Exception as error:  # noqa: BLE001 - the sink of a user may raise anything
            self._fail(_as_failure(error))
        try:
            return self._sink.heard_samples
        except Exception:  # noqa: BLE001 - its first error is reported
            return 0

    def drain(self, timeout: float | None) -> None:
        """
        Wait until all audio that was pushed has been heard.

        Raises:
            DeadlineExceeded: The audio was not heard within *timeout* seconds. Playback continues.
            InworldError: The sink failed.
            LocalProtocolError: The sink called this method inside its own ``write`` or ``end``.
        """
        if threading.current_thread() is self._thread:
            raise LocalProtocolError(
                "drain() in a method of the sink would wait for the sink itself: call it on "
                "another thread"
            )
        with self._news:
            if not self._news.wait_for(lambda: not self._is_working, timeout):
                raise DeadlineExceeded(f"the speech was not played to its end after {timeout:g} s")
            if self.failure is not None:
                raise self.failure
        self._sink.drain(timeout=timeout)

    def close(self) -> None:
        """Stop at once and play nothing more; the sink is not closed."""
        with self._news:
            self._closed = True
            failed = self.failure is not None
            self._news.notify_all()
        if not failed:
            self.clear()
        if self._thread is not threading.current_thread():
            self._thread.join(_RELEASE_SECONDS)

    # The callers of these methods hold ``_news``.

    @property
    def _is_working(self) -> bool:
        return bool(self._queue or self._is_busy) and not self._closed and self.failure is None

    def _put(self, item: _Item, pcm: memoryview | None) -> None:
        self._queue.append((item, pcm))
        self._queued_bytes += 0 if pcm is None else len(pcm)
        self._news.notify_all()

    def _end(self, item: _Item) -> None:
        if not item.is_ended:
            item.is_ended = True
            self._put(item, None)

    # The player's thread runs these methods.

    def _run(self) -> None:
        try:
            while (work := self._next()) is not None:
                self._play(*work)
        except InworldError as error:
            self._fail(error)
        except Exception as error:
            self._logger.exception("a sink failed")
            self._fail(_as_failure(error))

    def _next(self) -> tuple[_Item, memoryview | None, int] | None:
        with self._news:
            self._is_busy = False
            self._news.notify_all()
            while not self._queue:
                if self._closed:
                    return None
                self._news.wait(_LONGEST_WAIT_SECONDS)
            item, pcm = self._queue.popleft()
            self._queued_bytes -= 0 if pcm is None else len(pcm)
            self._is_busy = True
            return item, pcm, self._clears

    def _play(self, item: _Item, pcm: memoryview | None, clears: int) -> None:
        sound = item.resampler.finish() if pcm is None else item.resampler.feed(pcm)
        samples = memoryview(sound)
        size_bytes = self._device_hz * _BLOCK_MS // 1000 * 2
        for start in range(0, len(samples), size_bytes):
            if not self._write(item, samples[start : start + size_bytes], clears):
                return
        if pcm is None:
            with self._sink_use.hold():
                if clears == self._clears:
                    item.is_written = True
                    self._sink.end()

    def _write(self, item: _Item, block: memoryview, clears: int) -> bool:
        """Write a block; return False if the player was cleared meanwhile."""
        with self._sink_use.hold():
            with self._news:
                if clears != self._clears:
                    return False
                if item.start is None:
                    item.start = self._position
            # A write has no deadline, since a sink may be paused. Clearing or closing the sink ends
            # the write.
            self._sink.write(block)
            with self._news:
                if clears != self._clears:
                    return False
                item.written += len(block) // 2
                self._position += len(block) // 2
        return True

    def _fail(self, error: InworldError) -> None:
        with self._news:
            if self._closed or self.failure is not None:
                return
        # The error is logged before ``failure`` is set, so that a thread that sees ``failure``
        # finds the log entry.
        self._logger.error(
            "the speaker failed, the session's speech is no longer played: %s", error
        )
        with self._news:
            self.failure = error
            self._queue.clear()
            self._queued_bytes = 0
            self._news.notify_all()


def _as_failure(error: Exception) -> InworldError:
    if isinstance(error, InworldError):
        return error
    failure = ClosedError(f"the sink raised {type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure


def player_for(
    output: AudioSink | Playout | ItemSink, name: str, logger: logging.Logger, latency_ms: float
) -> ItemSink:
    """
    Return the player for the output that a user passes to ``play``.

    Raises:
        ConfigError: *output* is neither a sink nor a playout of 16-bit mono PCM.
    """
    if isinstance(output, Playout):
        output = PlayoutSink(output, latency_ms=latency_ms)
    if isinstance(output, AudioSink):
        return Player(output, name, logger)
    if isinstance(output, ItemSink):
        return output
    raise ConfigError(
        "play() expects a speaker, another AudioSink, an ItemSink or a Playout, got "
        f"{type(output).__name__}"
    )
