"""
Transcribes the channels of one recording separately, each by a stream of its own.

One thread reads the recording once and queues the audio of all channels; the queue of each stream
is bounded, so the slowest channel limits the speed. If a stream fails, the other streams are ended.

Locks: ``_lock`` guards the number of the channel that has failed, and is held briefly. ``_opening``
belongs to the client, and is held while the streams of one recording are opened. Without
``_opening``, two recordings could each hold some of the client's connections and wait for more.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from functools import partial, wraps

import attrs

from inworld_sync.audio.source import SeparateChannels
from inworld_sync.errors import ClosedError, InworldError, QuotaError, extended
from inworld_sync.locks import Mutex, make_lock
from inworld_sync.models.stt import PartialTranscript, SttUsage, Transcript, Transcription
from inworld_sync.models.turns import Turn
from inworld_sync.sessions.stt.delivery import Delivery
from inworld_sync.sessions.stt.stream import SttStream

__all__ = ["ChannelStreams", "merge_transcripts"]

OpenStream = Callable[
    [Callable[[], None], "Callable[[Transcription], object] | None"], "tuple[Delivery, SttStream]"
]
"""Opens a stream. The arguments are a function to call if the stream fails, and a handler."""


class ChannelStreams:
    """
    The streams of all channels of one recording.

    Args:
        opening: The lock to hold while the streams are opened.
        connect_timeout: The largest number of seconds to wait for the lock.

    Thread safety: one thread calls :meth:`transcribe`; the sender thread of any stream may report
    that the stream has failed.
    """

    def __init__(self, opening: Mutex, connect_timeout: float) -> None:
        self._opening = opening
        self._connect_timeout = connect_timeout
        self._lock = make_lock()
        self._failed: int | None = None
        self._deliveries: list[Delivery] = []
        self._streams: list[SttStream] = []

    def transcribe(
        self,
        source: SeparateChannels,
        open_stream: OpenStream,
        *,
        on_transcript: Callable[[Transcription], object] | None,
        realtime: bool,
        timeout: float | None,
    ) -> Transcript:
        """
        Transcribe a recording, and merge the transcripts of its channels.

        Raises:
            InworldError: A channel has failed; the message names the channel, and ``partial`` has
                the finished turns of all channels.
        """
        with contextlib.ExitStack() as stack:
            try:
                self._open(stack, source.channels, open_stream, on_transcript)
                self._feed(source, realtime=realtime)
                for stream in self._streams:
                    stream.finish(timeout)
                return merge_transcripts([stream.close(timeout) for stream in self._streams])
            except InworldError as error:
                raise self._error(error) from error.__cause__

    def _open(
        self,
        stack: contextlib.ExitStack,
        channels: int,
        open_stream: OpenStream,
        on_transcript: Callable[[Transcription], object] | None,
    ) -> None:
        with self._opening.hold(self._connect_timeout) as is_free:
            if not is_free:
                raise QuotaError(
                    f"other recordings waited for connections for {self._connect_timeout:g} s: "
                    "transcribe fewer recordings at once",
                    retryable=True,
                )
            self._open_all(stack, channels, open_stream, on_transcript)

    def _open_all(
        self,
        stack: contextlib.ExitStack,
        channels: int,
        open_stream: OpenStream,
        on_transcript: Callable[[Transcription], object] | None,
    ) -> None:
        for channel in range(channels):
            handler = on_transcript and _handler(on_transcript, channel)
            try:
                delivery, stream = open_stream(partial(self._end_others, channel), handler)
            except InworldError:
                self._end_others(channel)
                raise
            self._deliveries.append(delivery)
            self._streams.append(stack.enter_context(stream))

    def _feed(self, source: SeparateChannels, *, realtime: bool) -> None:
        started, fed_ms = time.monotonic(), 0.0
        for blocks in source:
            if realtime:
                # If the stream was ended, ``append`` raises the error below.
                self._deliveries[0].pause_until(started + fed_ms / 1000.0)
            for delivery, block in zip(self._deliveries, blocks, strict=True):
                delivery.append(block, None)
            fed_ms += len(blocks[0]) / 2 * 1000.0 / self._streams[0].config.sample_rate_hz

    def _end_others(self, channel: int) -> None:
        """
        End the streams of all other channels, because the stream of *channel* has failed.

        The caller is the sender thread of that stream, or the thread that opens the streams.
        """
        with self._lock:
            if self._failed is not None:
                return
            self._failed = channel
        for other, delivery in enumerate(self._deliveries):
            if other != channel:
                delivery.abort(ClosedError(f"channel {channel} of the recording has failed"))

    def _error(self, error: InworldError) -> InworldError:
        """Return the error of the channel that failed first, with all finished turns."""
        with self._lock:
            failed = self._failed
        if failed is None:
            return error
        if failed < len(self._streams):
            self._deliveries[failed].join()
            ended = self._streams[failed].ended
            error = error if ended is None or ended.error is None else ended.error
        named = extended(error, prefix=f"channel {failed}: ")
        if isinstance(named.partial, PartialTranscript):
            merged = merge_transcripts([stream.transcript for stream in self._streams])
            named.partial = attrs.evolve(named.partial, transcript=merged, channel=failed)
        return named


def _handler(
    on_transcript: Callable[[Transcription], object], channel: int
) -> Callable[[Transcription], object]:
    """
    Return a handler that adds the channel to a transcript and calls the user's handler.

    The returned handler has the name of the user's handler, because log messages show this name.
    """

    @wraps(on_transcript)
    def handle(said: Transcription) -> object:
        words = Turn(said.text, said.words).in_channel(channel).words
        return on_transcript(attrs.evolve(said, words=words, channel=channel))

    return handle


def merge_transcripts(transcripts: Sequence[Transcript]) -> Transcript:
    """
    Merge the transcripts of one recording. *transcripts* has the transcript of each channel, in the
    order of the channels.

    The merged turns are in the order of their starts. A turn without a start is placed at the end
    of the previous turn of its channel.
    """
    placed: list[tuple[float, Turn]] = []
    for channel, transcript in enumerate(transcripts):
        at_ms = end_ms = 0.0
        for turn in transcript.turns:
            # The turns of a channel keep their order, even if a time is wrong.
            at_ms = max(at_ms, end_ms if turn.start_ms is None else turn.start_ms)
            end_ms = at_ms if turn.end_ms is None else turn.end_ms
            placed.append((at_ms, turn.in_channel(channel)))
    placed.sort(key=lambda each: each[0])
    usages = [each.usage for each in transcripts if each.usage is not None]
    usage = None
    if usages:
        usage = SttUsage(sum(each.audio_ms for each in usages), usages[0].model)
    return Transcript(tuple(turn for _, turn in placed), usage)
