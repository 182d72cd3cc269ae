"""
A live transcription: audio in, events and the transcript out.

Threads and locks: those of ``delivery.py``. ``_input_lock`` lets one thread at a time convert
and give audio, and is taken before the monitor; who holds it may wait for room.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from inworld_sync.audio.resample import MAX_HZ
from inworld_sync.audio.source import AudioData, AudioInput, AudioLike, open_source
from inworld_sync.errors import ClosedError, DeadlineExceeded
from inworld_sync.models.checks import require_whole
from inworld_sync.models.events import StreamEnded
from inworld_sync.models.stt import TranscribeConfig, Transcript
from inworld_sync.sessions.event_stream import EventStream, Subscription
from inworld_sync.sessions.stt.delivery import Delivery
from inworld_sync.sessions.stt.stats import SttStats
from inworld_sync.sessions.stt.tape import SAMPLE_BYTES
from inworld_sync.wire.stt_turns import SttEvent

__all__ = ["SttStream"]

F = TypeVar("F", bound=Callable[..., object])


class SttStream:
    """
    A transcription of live audio. Made by ``iw.stt.stream()``.

    Give audio with :meth:`send` or :meth:`feed`; take events by iterating, :meth:`on`,
    :meth:`subscribe` or :meth:`poll`; :meth:`close` gives the transcript. A lost connection is
    replaced, and the audio that no final transcript covers is sent again.

    Times are milliseconds of the audio that was given, without what was dropped.

    Leaving a ``with`` block closes it; after an exception in the block it ends at once.

    Thread safety: every method may be called from any thread.
    """

    def __init__(
        self, delivery: Delivery, config: TranscribeConfig, sample_rate_hz: int, channels: int
    ) -> None:
        self._delivery = delivery
        self._config = config
        self._sample_rate_hz = sample_rate_hz
        self._channels = channels
        self._input_lock = threading.Lock()
        require_whole("sample_rate_hz", sample_rate_hz, 1, MAX_HZ)
        self._input = self._new_input()

    # Audio in.

    def send(self, audio: AudioData, *, timeout: float | None = None) -> None:
        """
        Give audio; returns when all of it is queued.

        Args:
            audio: 16-bit little-endian PCM as ``bytes``, ``bytearray`` or ``memoryview``, in which
                a sample may be cut between two calls; or an array of int16 or of floats in
                [-1, 1], shaped (frames,) or (frames, channels). Of the rate and the channels that
                the stream was made for.
            timeout: The most seconds to wait for room; None waits until there is some, or the
                stream ends. Only with ``overflow="block"``.

        Raises:
            AudioError: It is no such audio; nothing of it was taken.
            DeadlineExceeded: There was no room; the rest of *audio* was not taken.
            ClosedError: The stream was closed.
            InworldError: What the stream ended with; ``partial`` holds what is left of it.
        """
        until = None if timeout is None else time.monotonic() + timeout
        with self._input_lock:
            self._delivery.require_open()
            self._put(self._input.feed(audio), until)

    def feed(
        self,
        source: AudioLike,
        *,
        realtime: bool = False,
        timeout: float | None = None,
    ) -> None:
        """
        Give all audio of a source; returns when it is exhausted or the stream is closed.

        Args:
            source: A microphone or another :class:`~inworld_sync.AudioSource`; a path of an audio
                file; the bytes of one; audio as for :meth:`send`; or an iterable of such audio.
                A source is closed at the end, an iterable is not.
            realtime: Give it no faster than it sounds.
            timeout: As for :meth:`send`, for each piece.

        Raises:
            AudioError: It is no sound, or of a kind that nothing installed can decode.
            OSError: The file cannot be read.
            InworldError: As :meth:`send`.
        """
        opened = open_source(
            source,
            to_hz=self._config.sample_rate_hz,
            from_hz=self._sample_rate_hz,
            channels=self._channels,
        )
        with contextlib.closing(opened):
            self._give(opened, realtime=realtime, timeout=timeout)

    def end_turn(self) -> None:
        """
        End the turn here: its final transcript follows.

        Raises:
            ClosedError: The stream was closed.
            InworldError: What the stream ended with.
        """
        with self._input_lock:
            self._delivery.require_open()
            self._flush()
            self._delivery.end_turn()

    def finish(self) -> None:
        """Say that no more audio comes, and do not wait: iteration ends after the last words."""
        if self._delivery.changed.in_child:
            return
        self._delivery.shut()
        # Who waits for room gives up now, so the lock comes free.
        with self._input_lock:
            try:
                self._delivery.put_rest(self._input.finish())
            finally:
                self._delivery.finish()

    def close(self, timeout: float = 10.0) -> Transcript:
        """
        Say that no more audio comes, and wait for the last words and the usage.

        Args:
            timeout: The most seconds to wait from one sign of progress to the next: audio that
                leaves, or a message that comes.

        Returns:
            All finished turns. Its ``usage`` is None where the service told none in time.
            A second call gives it again.

        Raises:
            DeadlineExceeded: The transcript is not complete; ``partial`` holds what there is.
            InworldError: What the stream ended with; ``partial`` likewise.
        """
        try:
            self.finish()
        finally:
            if not self._delivery.wait_end(timeout):
                self._delivery.give_up(
                    DeadlineExceeded(f"the service told nothing for {timeout:g} s at the end")
                )
                self._delivery.wait_end(timeout)
            self._delivery.join()
        self._delivery.stream.raise_end()
        return self.transcript

    def retire(self) -> None:
        """End at once, without the last words; does not wait."""
        self._delivery.retire()

    # What is known.

    @property
    def config(self) -> TranscribeConfig:
        """What was asked for."""
        return self._config

    @property
    def transcript(self) -> Transcript:
        """All finished turns so far."""
        with self._delivery.changed:
            return self._delivery.log.transcript

    @property
    def is_speaking(self) -> bool:
        """Whether somebody speaks, as far as the service told; any final transcript ends it."""
        return self._delivery.log.is_speaking

    @property
    def ended(self) -> StreamEnded | None:
        """How the stream ended, None before."""
        return self._events.ended

    @property
    def stats(self) -> SttStats:
        """Figures of this moment."""
        return self._delivery.stats

    # Events out.

    def __iter__(self) -> Iterator[SttEvent]:
        return self.events()

    def events(self, timeout: float | None = None) -> Iterator[SttEvent]:
        """
        Iterate over the events up to the end of the stream; see :meth:`finish`.

        Args:
            timeout: The most seconds to wait for each event; None waits for ever.

        Raises:
            DeadlineExceeded: No event came in time; iterating again goes on where it stopped.
            InworldError: What the stream ended with.
        """
        return self._events.events(timeout)

    def on(self, kind: type | str, handler: F) -> F:
        """Call *handler* with every event of a class, in order, on the stream's own thread."""
        return self._events.on(kind, handler)

    def subscribe(self, maxsize: int | None = None) -> Subscription[SttEvent]:
        """Open a queue of events of its own."""
        return self._events.subscribe(maxsize)

    def poll(self, budget_ms: float = 2.0) -> int:
        """Run handlers for events that wait, on this thread; needs ``dispatch="poll"``."""
        return self._events.poll(budget_ms)

    @property
    def handler_errors(self) -> int:
        """How often a handler raised."""
        return self._events.handler_errors

    def __enter__(self) -> SttStream:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
            return
        self._delivery.close()

    def __repr__(self) -> str:
        state = "open" if self.ended is None else f"ended by the {self.ended.by}"
        given_seconds = (self.stats.sent_ms + self.stats.waiting_ms) / 1000
        return f"<SttStream {self._config.model} {given_seconds:.1f} s, {state}>"

    @property
    def _events(self) -> EventStream[SttEvent]:
        return self._delivery.stream

    def _new_input(self) -> AudioInput:
        return AudioInput(self._sample_rate_hz, self._config.sample_rate_hz, self._channels)

    def _put(self, pcm: bytes, until: float | None) -> None:
        piece_bytes = self._delivery.piece_bytes
        view = memoryview(pcm)
        for at in range(0, len(view), piece_bytes):
            left = None if until is None else max(0.0, until - time.monotonic())
            self._delivery.put(view[at : at + piece_bytes], left)

    def _flush(self) -> None:
        """Give what the resampler keeps; without one, half a sample waits for its other half."""
        if self._sample_rate_hz != self._config.sample_rate_hz:
            self._input, old = self._new_input(), self._input
            self._delivery.put_rest(old.finish())

    def _give(self, blocks: Iterable[bytes], *, realtime: bool, timeout: float | None) -> None:
        started, given_ms = time.monotonic(), 0.0
        for block in blocks:
            if realtime and not self._delivery.pause_until(started + given_ms / 1000.0):
                self._events.raise_end()
                return
            until = None if timeout is None else time.monotonic() + timeout
            try:
                with self._input_lock:
                    self._put(block, until)
            except ClosedError:
                if self._events.ended is None or self._events.ended.error is None:
                    return
                raise
            given_ms += len(block) / SAMPLE_BYTES * 1000.0 / self._config.sample_rate_hz
