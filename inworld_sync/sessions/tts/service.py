r"""
Text to speech for whole utterances: ``iw.tts``.

Threads: a long text or an iterator is sent by a separate thread (see ``text_feed.py``), so that
the audio does not wait for the text, nor the text for the audio.

Lock rule: ``_iterating`` of a stream is held while a thread waits for the next chunk; a second
thread raises instead of waiting for it.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import attrs

from inworld_sync.audio import wav
from inworld_sync.errors import (
    ConfigError,
    ConnectionLost,
    ContextLimitError,
    DeadlineExceeded,
    InworldError,
    LocalProtocolError,
)
from inworld_sync.models.devices import AudioSink
from inworld_sync.models.tts import (
    ContextConfig,
    Phoneme,
    TimestampType,
    TtsUsage,
    WordTime,
    context_config,
)
from inworld_sync.sessions.connector import Connector
from inworld_sync.sessions.event_stream import require_callable
from inworld_sync.sessions.playback import Playback
from inworld_sync.sessions.tts.connection import TtsConnection
from inworld_sync.sessions.tts.context import TtsContext
from inworld_sync.sessions.tts.pool import TtsPool
from inworld_sync.sessions.tts.speech import (
    AudioChunk,
    Speech,
    default_speaker,
    require_rate,
    require_sink,
)
from inworld_sync.sessions.tts.text_feed import PieceSource, TextFeed
from inworld_sync.wire.text import require_pieces, require_text

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from inworld_sync.models.tts import ContextSettings

__all__ = ["SpeechStream", "Tts"]

# For whole utterances: the service decides when to speak, and reports the times of words.
DEFAULTS = ContextConfig(auto_mode=True, timestamp_type=TimestampType.WORD)

# If a connection turns out to be dead before the service has answered, the utterance is retried on
# a new connection.
_MAX_TRIES = 3


class Tts:
    """
    Text to speech. Reached as ``iw.tts``.

    Connections are opened when needed, shared by utterances, and closed with the client.

    Thread safety: every method may be called from any thread.
    """

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._pool = TtsPool(connector)
        # A client that is garbage-collected without being closed keeps no connection.
        weakref.finalize(self, self._pool.evict_all).atexit = False

    def synthesize(
        self,
        text: str | Iterable[str],
        *,
        config: ContextConfig | None = None,
        timeout: float = 30.0,
        **settings: Unpack[ContextSettings],
    ) -> Speech:
        """
        Speak a text and return all of it.

        Args:
            text: Of any length, or an iterable of pieces.
            config: All settings in one value; *settings* are changes to it.
            timeout: The most seconds to wait for a connection, and for each piece of audio.
            settings: As the attributes of :class:`~inworld_sync.ContextConfig`.

        Raises:
            ConfigError: The text is blank or a setting is out of its range.
            InworldError: The utterance did not complete; ``partial`` holds the
                :class:`~inworld_sync.Speech` that had come.
        """
        config = context_config(config, settings, DEFAULTS)
        chunks: list[AudioChunk] = []
        try:
            chunks.extend(self.stream(text, config=config, timeout=timeout))
        except InworldError as error:
            if chunks:
                error.partial = Speech.join(chunks, config.audio)
            raise
        return Speech.join(chunks, config.audio)

    def stream(
        self,
        text: str | Iterable[str],
        *,
        config: ContextConfig | None = None,
        timeout: float = 30.0,
        **settings: Unpack[ContextSettings],
    ) -> SpeechStream:
        """
        Speak a text and give its audio as it comes.

        Pieces of an iterable are sent as they come, such as an LLM's tokens.
        Args and errors are those of :meth:`synthesize`; those of the network and the service
        are raised by the iteration.
        """
        config = context_config(config, settings, DEFAULTS)
        if isinstance(text, str):
            require_text(text)
        else:
            require_pieces(text)
        return SpeechStream(_Utterance(self._pool, text, config, timeout))

    def stream_wav(
        self,
        text: str | Iterable[str],
        *,
        config: ContextConfig | None = None,
        timeout: float = 30.0,
        **settings: Unpack[ContextSettings],
    ) -> Iterator[bytes]:
        """
        Speak a text as the blocks of a WAV file, for a web response.

        The length in the header is that of a stream, which players take as "until the end".
        Args and errors are those of :meth:`stream`.
        """
        stream = self.stream(text, config=config, timeout=timeout, **settings)
        if stream.config.audio.encoding.is_compressed:
            raise ConfigError(
                f"a WAV file holds samples, not {stream.config.audio.encoding.value}: "
                "ask for AudioConfig('PCM')"
            )
        return _wav_blocks(stream)

    def speak(
        self,
        text: str | Iterable[str],
        *,
        speaker: AudioSink | None = None,
        on_word: Callable[[WordTime], object] | None = None,
        on_phoneme: Callable[[Phoneme], object] | None = None,
        config: ContextConfig | None = None,
        timeout: float = 30.0,
        **settings: Unpack[ContextSettings],
    ) -> Playback:
        """
        Speak a text through a speaker and return at once.

        Args:
            text: Of any length, or an iterable of pieces.
            speaker: Its sample rate is asked of the service. None opens the default
                :class:`~inworld_sync.Speaker` for this utterance, which needs the extra
                ``audio``.
            on_word: Called on a thread of the playback with each word as it is heard.
            on_phoneme: The same for each sound, with the mouth's shape for it.
            config: All settings in one value; *settings* are changes to it.
            timeout: The most seconds to wait for a connection, and for each piece of audio.
            settings: As the attributes of :class:`~inworld_sync.ContextConfig`.

        Raises:
            ConfigError: The text is blank, a setting is out of its range, or *speaker* cannot play.
            AudioError: The speaker has another sample rate than *settings* ask for.
            DeviceError: There is no default speaker.
        """
        config = context_config(config, settings, DEFAULTS)
        for name, handler in (("on_word", on_word), ("on_phoneme", on_phoneme)):
            if handler is not None:
                require_callable(handler, name)
        rate_hz = config.audio.sample_rate_hz
        if speaker is not None:
            require_sink(speaker)
            if "audio" in settings:
                require_rate(speaker, rate_hz)
            else:
                rate_hz = speaker.sample_rate_hz
                config = attrs.evolve(
                    config, audio=attrs.evolve(config.audio, sample_rate_hz=rate_hz)
                )
        stream = self.stream(text, config=config, timeout=timeout)
        return Playback(
            stream,
            default_speaker(rate_hz) if speaker is None else speaker,
            on_word,
            on_phoneme,
            closes_speaker=speaker is None,
        )

    def connect(self, *, timeout: float | None = None) -> TtsConnection:
        """
        Open a connection of your own, for up to five contexts.

        Raises:
            TransportError: Could not connect.
            ServiceError: The service refused it.
        """
        return TtsConnection._open(self._connector, timeout=timeout)


def _wav_blocks(stream: SpeechStream) -> Iterator[bytes]:
    with stream:
        yield wav.header(stream.config.audio.sample_rate_hz)
        for chunk in stream:
            yield bytes(chunk.pcm)


class SpeechStream:
    """
    The audio of one utterance as it comes; iterate once.

    The connection is taken with the first step. What is yielded until the end without an error
    is the whole utterance. Leaving the loop early, or :meth:`close`, stops it at the service too.

    Thread safety: one thread iterates; any may call :meth:`close`.
    """

    def __init__(self, utterance: _Utterance) -> None:
        self._utterance = utterance
        # The generator has no reference to this object, so that dropping the last reference to this
        # object ends the generator at once, and with it the utterance.
        self._chunks = utterance.chunks()
        self._iterating = threading.Lock()

    def __iter__(self) -> SpeechStream:
        return self

    def __next__(self) -> AudioChunk:
        if not self._iterating.acquire(blocking=False):
            raise LocalProtocolError("one thread iterates over a stream, another does so already")
        try:
            return next(self._chunks)
        finally:
            self._iterating.release()

    @property
    def config(self) -> ContextConfig:
        """What was asked for."""
        return self._utterance.config

    @property
    def usage(self) -> TtsUsage:
        """What the service has counted so far."""
        context = self._utterance.context
        return TtsUsage() if context is None else context.usage

    def close(self) -> None:
        """Stop the utterance; an iteration that waits ends. May be called twice."""
        self._utterance.stop()

    def __enter__(self) -> SpeechStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<SpeechStream {self.config.voice} {self._utterance.state}>"


class _Utterance:
    """The state that an iteration shares with the thread that stops it."""

    def __init__(
        self, pool: TtsPool, text: str | Iterable[str], config: ContextConfig, timeout: float
    ) -> None:
        self._pool = pool
        self._source = PieceSource(text)
        self._timeout = timeout
        self._stopped = threading.Event()
        self.config = config
        self.context: TtsContext | None = None

    @property
    def state(self) -> str:
        if self.context is None:
            return "stopped" if self._stopped.is_set() else "not begun"
        ended = self.context.ended
        return "open" if ended is None else f"ended: {ended.reason}"

    def stop(self) -> None:
        self._stopped.set()
        if self.context is not None:
            self.context.interrupt()
        self._pool.wake()

    def chunks(self, tries: int = _MAX_TRIES) -> Iterator[AudioChunk]:
        try:
            yield from self._try()
        except InworldError as error:
            # Errors after stop() are of no interest.
            if not self._stopped.is_set() and (tries == 1 or not self._may_retry(error)):
                raise
        else:
            return
        if not self._stopped.is_set():
            yield from self.chunks(tries - 1)

    def _may_retry(self, error: InworldError) -> bool:
        """
        Return whether the service has not spoken any of it and a new connection may help.

        A connection that was idle may be dead without any sign of it, and one may hold more
        contexts than the client knows of; neither is true of a new one.
        """
        context = self.context
        if context is None or context._was_answered:
            return False
        if isinstance(error, ContextLimitError):
            context._abandon()
            return True
        return isinstance(error, ConnectionLost) and context._was_reused

    def _try(self) -> Iterator[AudioChunk]:
        self.context = None
        if self._stopped.is_set():
            return
        context = self._pool.context(self.config, self._timeout, self._stopped.is_set)
        self.context = context
        try:
            # stop() may have found no context, so it is checked again.
            if self._stopped.is_set():
                return
            feed = TextFeed(context, self._source)
            feed.start()
            yield from self._audio(context)
            if not self._stopped.is_set():
                feed.raise_failure()
        except DeadlineExceeded:
            context._abandon()
            raise
        finally:
            if context.ended is None:
                context.interrupt()

    def _audio(self, context: TtsContext) -> Iterator[AudioChunk]:
        while True:
            try:
                for event in context._stream.events(self._timeout):
                    if isinstance(event, AudioChunk):
                        yield event
            except DeadlineExceeded:
                # Silence is not an error while the user's iterator has not yielded a piece, nor
                # until the service had its time after the latest piece.
                source = self._source
                if source.is_waiting or time.monotonic() - source.active_at < self._timeout:
                    continue
                raise
            return
