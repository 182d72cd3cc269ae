"""
Speaks fillers. A filler is a short text that is spoken if a reply begins late.

Source for the fields: Inworld Realtime reference, ``providerData.responsiveness``.

Threads: a thread makes the reply. The thread of the response waits for the first part of the reply.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Mapping

from inworld_sync.emulator.realtime import checks
from inworld_sync.emulator.realtime.replies import ReplyPart

__all__ = ["Fillers"]

_FILLERS = ("Let me see. ", "One moment. ", "Hmm. ")
_WAIT_MS = 1200
_MIN_GAP_MS = 8000
_MAX_WAIT_MS = 3_600_000
# The interval at which the wait checks whether the response was cancelled.
_STEP_SECONDS = 0.05
_JOIN_SECONDS = 2.0


class Fillers:
    """
    Adds fillers to the replies of one session.

    Thread safety: one thread at a time uses this object, since the responses of a conversation
    run in sequence.
    """

    def __init__(self) -> None:
        self._replies = 0
        self._count = 0
        self._spoken_at: float | None = None

    def bridge(
        self, parts: Iterable[ReplyPart], options: Mapping[str, object], stopped: threading.Event
    ) -> Generator[ReplyPart, None, None]:
        """
        Yield the parts of a reply, after a filler if the first part is late.

        Args:
            parts: The reply.
            options: ``providerData.responsiveness``.
            stopped: An event that ends the wait.
        """
        self._replies += 1
        first_may = options.get("enable_filler_on_first_assistant_reply") is True
        if options.get("enabled") is not True or (self._replies == 1 and not first_may):
            yield from parts
            return
        reader = _Reader(parts)
        try:
            wait = _seconds(options, "initial_wait_timeout_ms", _WAIT_MS)
            if not reader.has_begun.wait(wait):
                yield from self._filler(options)
            yield from reader.parts(stopped)
        finally:
            reader.stop()

    def _filler(self, options: Mapping[str, object]) -> Iterator[str]:
        now = time.monotonic()
        gap = _seconds(options, "min_filler_gap_ms", _MIN_GAP_MS)
        if self._spoken_at is not None and now - self._spoken_at < gap:
            return
        self._spoken_at = now
        text = options.get("pause_text")
        yield text if isinstance(text, str) and text else _FILLERS[self._count % len(_FILLERS)]
        self._count += 1


class _Reader:
    """
    Reads a reply on a thread of its own.

    Attributes:
        has_begun: An event that is set when the reply yields its first part, or ends without a
            part.
    """

    def __init__(self, parts: Iterable[ReplyPart]) -> None:
        self.has_begun = threading.Event()
        self._source = parts
        self._queue: queue.Queue[ReplyPart | BaseException | None] = queue.Queue()
        self._stopped = threading.Event()
        self._thread = threading.Thread(
            target=self._read, name="inworld-emulator-reply", daemon=True
        )
        self._thread.start()

    def parts(self, stopped: threading.Event) -> Iterator[ReplyPart]:
        """Yield the parts as the reply yields them; raise the reply's exception."""
        while not stopped.is_set():
            try:
                part = self._queue.get(timeout=_STEP_SECONDS)
            except queue.Empty:
                continue
            if part is None:
                return
            if isinstance(part, BaseException):
                raise part
            yield part

    def stop(self) -> None:
        """Stop reading. A reply that blocks ends by itself later."""
        self._stopped.set()
        self._thread.join(_JOIN_SECONDS)

    def _read(self) -> None:
        try:
            for part in self._source:
                if self._stopped.is_set():
                    break
                self._queue.put(part)
                self.has_begun.set()
            self._queue.put(None)
        except Exception as error:  # noqa: BLE001 - raised on the thread of the response
            self._queue.put(error)
        finally:
            self.has_begun.set()
            if isinstance(self._source, Generator):
                self._source.close()


def _seconds(options: Mapping[str, object], name: str, default_ms: int) -> float:
    """Read milliseconds as seconds. A wrong value means the default."""
    return checks.lenient_number(options.get(name), default_ms, _MAX_WAIT_MS) / 1000
