"""
Implements the public object of a live transcription, which takes audio, emits events and returns a
transcript.

The threads and locks are those of ``delivery.py``. While a thread converts and queues audio, it
holds ``_input_lock``. This lock is acquired before the monitor, and may be held while the thread
waits for room.
"""

from __future__ import annotations

import contextlib
import math
import time
from typing import get_args

from inworld_sync.audio.channels import Warn, log_warning
from inworld_sync.audio.encoded import EncodedInput, EncodedSource
from inworld_sync.audio.pcm import SAMPLE_BYTES
from inworld_sync.audio.resample import MAX_HZ
from inworld_sync.audio.source import (
    AudioData,
    AudioInput,
    AudioLike,
    ConvertedSource,
    open_source,
)
from inworld_sync.errors import ClosedError, ConfigError, InworldError
from inworld_sync.locks import make_lock
from inworld_sync.models.checks import require_timeout, require_whole
from inworld_sync.models.stt import SttStats, TranscribeConfig, Transcript
from inworld_sync.sessions.event_source import EventSource
from inworld_sync.sessions.stt.delivery import Delivery
from inworld_sync.wire.stt_turns import SttEvent

__all__ = ["SttStream"]


class SttStream(EventSource[SttEvent]):
    """
    A transcription of live audio. ``iw.stt.stream()`` opens it.

    :meth:`send` and :meth:`feed` send audio. Iteration, :meth:`on`, :meth:`subscribe` and
    :meth:`poll` deliver events. :meth:`close` returns the transcript. A lost connection is
    replaced, and the audio that no final transcript covers is sent again.

    Times are milliseconds from the start of the audio. Audio that was dropped does not count.

    Leaving a ``with`` block calls :meth:`close`; after an exception in the block the stream ends
    at once.

    Thread safety: every method may be called from any thread.
    """

    _description = "an STT stream"
    _event_classes = get_args(SttEvent)

    def __init__(
        self,
        delivery: Delivery,
        config: TranscribeConfig,
        sample_rate_hz: int,
        channels: int,
        warn: Warn = log_warning,
    ) -> None:
        super().__init__(delivery.stream)
        self._delivery = delivery
        self._config = config
        self._sample_rate_hz = sample_rate_hz
        self._channels = channels
        self._warn = warn
        self._input_lock = make_lock()
        require_whole("sample_rate_hz", sample_rate_hz, 1, MAX_HZ)
        self._input = self._new_input()

    # Methods for the audio.

    def send(self, audio: AudioData, *, timeout: float | None = None) -> None:
        """
        Send audio, and return when all of it is queued.

        Args:
            audio: 16-bit little-endian PCM as ``bytes``, ``bytearray`` or ``memoryview``, where a
                sample may be cut between two calls; or an array of int16, int32, uint8 or floats in
                [-1, 1], shaped (frames,), (frames, channels) or (channels, frames). The audio has
                the sample rate and the channels that the stream was opened with.
            timeout: The largest number of seconds to wait for room; None waits until there is room
                or the stream ends. Only ``overflow="block"`` uses this timeout.

        Raises:
            AudioError: *audio* is not such audio. Nothing was queued.
            ConfigError: *timeout* is negative or not a number.
            DeadlineExceeded: There was no room; the rest of *audio* was not queued.
            ClosedError: The stream was closed.
            InworldError: The error that ended the stream; ``partial`` is a
                :class:`~inworld_sync.PartialTranscript`.
        """
        require_timeout(timeout)
        until = math.inf if timeout is None else time.monotonic() + timeout
        with self._input_lock:
            self._delivery.require_open()
            left = None if timeout is None else max(0.0, until - time.monotonic())
            self._delivery.append(self._input.feed(audio), left)

    def feed(
        self, source: AudioLike, *, realtime: bool = False, timeout: float | None = None
    ) -> None:
        """
        Send all audio of a source. Return when the source has ended or the stream is closed.

        Args:
            source: A microphone or another :class:`~inworld_sync.AudioSource`; the path of an
                audio file; the bytes of such a file; audio as for :meth:`send`; or an iterable of
                such audio. A source is closed at the end, but an iterable is not closed. With an
                encoding other than LINEAR16 and MULAW, the source is a path, an open binary file,
                bytes or an iterable of bytes, and its bytes are sent unchanged.
            realtime: Whether to send in real time, no faster than the audio is played.
            timeout: As for :meth:`send`, for each piece.

        Raises:
            AudioError: *source* is not audio, or no installed library can decode its format.
            ConfigError: *realtime* is used with encoded audio, whose duration is unknown.
            OSError: The file cannot be read.
            InworldError: As for :meth:`send`.
        """
        require_timeout(timeout)
        opened = self._open(source, realtime=realtime)
        started, fed_ms = time.monotonic(), 0.0
        with contextlib.closing(opened):
            for block in opened:
                if realtime and not self._delivery.pause_until(started + fed_ms / 1000.0):
                    self._stream.raise_end()
                    return
                try:
                    with self._input_lock:
                        self._delivery.append(block, timeout)
                except ClosedError:
                    if self._stream.ended is None or self._stream.ended.error is None:
                        return
                    raise
                fed_ms += len(block) / SAMPLE_BYTES * 1000.0 / self._config.sample_rate_hz

    def end_turn(self, *, timeout: float | None = 30.0) -> None:
        """
        End the current turn after the audio sent so far. The final transcript of the turn follows.

        Args:
            timeout: The largest number of seconds without progress of the transcript, while speech
                of the turn has no final transcript. After this time the stream ends with
                :class:`~inworld_sync.DeadlineExceeded`. None means no limit.

        Raises:
            ClosedError: The stream was closed.
            ConfigError: *timeout* is negative or not a number.
            InworldError: The error that ended the stream.
        """
        require_timeout(timeout)
        with self._input_lock:
            self._delivery.require_open()
            self._flush()
            self._delivery.end_turn(math.inf if timeout is None else timeout)

    def finish(self, timeout: float | None = 10.0) -> None:
        """
        End the audio without waiting; iteration ends after the last events.

        Args:
            timeout: The largest number of seconds without progress, as for :meth:`close`. After
                this time the iteration raises :class:`~inworld_sync.DeadlineExceeded` if the
                transcript is not complete.

        Raises:
            ConfigError: *timeout* is negative or not a number.
        """
        require_timeout(timeout)
        if self._delivery.changed.in_child:
            return
        self._delivery.stop_accepting()
        # A thread that waits for room raises an error now, and releases the lock.
        with self._input_lock:
            try:
                self._delivery.append_rest(self._input.finish())
            finally:
                self._delivery.finish(math.inf if timeout is None else timeout)

    def close(self, timeout: float | None = 10.0) -> Transcript:
        """
        End the audio, and wait for the last transcripts and the usage.

        A second call returns the same transcript.

        Args:
            timeout: The largest number of seconds without progress. Progress is audio that was sent
                or a new message about the speech. None means no limit.

        Returns:
            All finished turns. ``usage`` is None if all speech has final transcripts but the
            service did not send the usage in time.

        Raises:
            ConfigError: *timeout* is negative or not a number.
            DeadlineExceeded: A turn, or at least a second of speech, has no final transcript.
                ``partial`` is a :class:`~inworld_sync.PartialTranscript`.
            InworldError: The error that ended the stream. ``partial`` is a
                :class:`~inworld_sync.PartialTranscript` too.
        """
        require_timeout(timeout)
        try:
            self.finish(timeout)
        except InworldError:
            # The end of the audio has begun, although the last samples could not be queued.
            self._delivery.await_end()
            raise
        self._delivery.await_end()
        self._stream.raise_end()
        return self.transcript

    # The state of the stream.

    @property
    def config(self) -> TranscribeConfig:
        """The settings of the stream."""
        return self._config

    @property
    def transcript(self) -> Transcript:
        """All finished turns so far."""
        with self._delivery.changed:
            return self._delivery.log.transcript

    @property
    def is_speaking(self) -> bool:
        """
        True from the moment when the service reports speech, until the service reports the end of
        speech or sends a final transcript.
        """
        return self._delivery.log.is_speaking

    @property
    def stats(self) -> SttStats:
        """A snapshot of the stream's counters."""
        return self._delivery.stats

    def __enter__(self) -> SttStream:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
            return
        self._delivery.close()

    def __repr__(self) -> str:
        state = "open" if self.ended is None else f"ended by the {self.ended.by}"
        stats = self.stats
        length = f"{(stats.sent_ms + stats.waiting_ms) / 1000:.1f} s"
        if not self._config.encoding.is_raw:
            length = f"{stats.sent_bytes + stats.waiting_bytes} bytes"
        return f"<SttStream {self._config.model} {length}, {state}>"

    def _open(self, source: AudioLike, *, realtime: bool) -> ConvertedSource | EncodedSource:
        if self._config.encoding.is_raw:
            return open_source(
                source,
                to_hz=self._config.sample_rate_hz,
                from_hz=self._sample_rate_hz,
                channels=self._channels,
                warn=self._warn,
            )
        if realtime:
            raise ConfigError("encoded audio cannot be sent in real time: its duration is unknown")
        return EncodedSource(source)

    def _new_input(self) -> AudioInput | EncodedInput:
        if not self._config.encoding.is_raw:
            return EncodedInput()
        to_hz = self._config.sample_rate_hz
        return AudioInput(self._sample_rate_hz, to_hz, self._channels, self._warn)

    def _flush(self) -> None:
        """Queue the samples that the resampler still has, and make a new resampler."""
        # Without a resampler, only an incomplete sample can be left. This part is kept for the next
        # audio.
        if self._sample_rate_hz != self._config.sample_rate_hz:
            self._input, old = self._new_input(), self._input
            self._delivery.append_rest(old.finish())
