r"""
Speaks whole utterances. ``iw.tts`` is an object of the class in this module.

Threads: a long text or an iterator is sent by a separate thread (see ``text_feed.py``), so that
the audio does not wait for the text, and the text does not wait for the audio.

"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import attrs

from inworld_sync.audio import wav
from inworld_sync.errors import ConfigError, InworldError
from inworld_sync.locks import imports
from inworld_sync.models import checks
from inworld_sync.models.keywords import with_keyword_hints
from inworld_sync.models.settings import combine_settings
from inworld_sync.models.tts import (
    FILE_ENCODINGS,
    AudioConfig,
    AudioEncoding,
    ContextConfig,
    DeliveryMode,
    Phoneme,
    SynthesisContext,
    TextNormalization,
    TimestampTransport,
    TimestampType,
    VisemeSet,
    WordTime,
)
from inworld_sync.sessions.connector import Connector
from inworld_sync.sessions.event_stream import require_callable
from inworld_sync.sessions.tts.connection import (
    CREATE_TIMEOUT_SECONDS,
    MESSAGE_TIMEOUT_SECONDS,
    TtsConnection,
)
from inworld_sync.sessions.tts.pool import TtsPool, Utterance
from inworld_sync.sessions.tts.speech import (
    AnyUtterance,
    AudioChunk,
    Speech,
    SpeechStream,
    require_rate,
    require_sink,
)
from inworld_sync.sessions.tts.text_feed import PieceSource
from inworld_sync.transport.deadline import Deadline
from inworld_sync.wire.text import require_pieces, require_text
from inworld_sync.wire.tts import MAX_HTTP_TEXT_CHARACTERS, MAX_TEXT_CHARACTERS

if TYPE_CHECKING:
    from inworld_sync.models.devices import AudioSink
    from inworld_sync.sessions.playback import Playback
    from inworld_sync.transport.http import HttpClient

__all__ = ["Tts"]

# The settings for whole utterances. The service decides when to speak, and sends times of words.
DEFAULTS = ContextConfig(auto_mode=True, timestamp_type=TimestampType.WORD)

# Browsers play files of these formats while they receive the files.
_WEB_FORMATS: Final = ("wav", "mp3", "opus")


Route: TypeAlias = "Callable[[ContextConfig, Callable[[Tts], AnyUtterance]], AnyUtterance]"


class Tts:
    """
    Turns text into speech. ``iw.tts`` is an object of this class.

    Connections are opened when needed, shared by utterances, and closed with the client.

    Thread safety: every method may be called from any thread.
    """

    def __init__(self, connector: Connector, http: HttpClient, route: Route | None = None) -> None:
        self._route = route
        self._connector = connector
        self._http = http
        self._pool = TtsPool(connector)
        self._cache: SpeechCache | None = None
        if connector.options.cache:
            from inworld_sync.sessions.tts.cache import SpeechCache

            self._cache = SpeechCache(connector.options)
        # If the client is garbage-collected without being closed, its idle connections are closed.
        weakref.finalize(self, self._pool.evict_all).atexit = False

    def _prewarm(self, deadline: Deadline) -> None:
        """Open the connection of the first utterance; see :meth:`Inworld.prewarm`."""
        self._pool.prewarm(deadline)

    @with_keyword_hints
    def synthesize(
        self,
        text: str | Iterable[str],
        *,
        voice: str | None = None,
        model: str | None = None,
        audio: AudioConfig | None = None,
        temperature: float | None = None,
        language: str | None = None,
        delivery_mode: DeliveryMode | str | None = None,
        timestamp_type: TimestampType | str | None = None,
        timestamp_transport: TimestampTransport | str | None = None,
        text_normalization: TextNormalization | str | None = None,
        auto_mode: bool | None = None,
        max_buffer_delay_ms: int | None = None,
        buffer_char_threshold: int | None = None,
        pronunciation_dictionaries: Sequence[str] | None = None,
        enable_custom_pronunciation: bool | None = None,
        synthesis_context: SynthesisContext | None = None,
        viseme_set: VisemeSet | str | None = None,
        extra: Mapping[str, object] | None = None,
        config: ContextConfig | None = None,
        method: Literal["stream", "http"] = "stream",
        timeout: float = MESSAGE_TIMEOUT_SECONDS,
        create_timeout: float | None = CREATE_TIMEOUT_SECONDS,
    ) -> Speech:
        """
        Speak a text and return all of its audio.

        Args:
            text: The text, of any length, or an iterable of pieces.
            voice: Id of a voice; ``Ashley`` by default.
            model: Id of a model; ``inworld-tts-2`` by default.
            audio: Encoding and sample rate; 24 kHz PCM by default.
            temperature: 0 to 2, how much the speech varies; ``inworld-tts-2`` ignores it.
            language: BCP-47 tag, or ``AUTO``; ``inworld-tts-2`` only.
            delivery_mode: ``STABLE``, ``BALANCED`` or ``CREATIVE``; ``inworld-tts-2`` only.
            timestamp_type: ``WORD`` (default) or ``CHARACTER``. A *config* without this setting
                gives no times.
            timestamp_transport: ``SYNC`` sends times with their audio; ``ASYNC`` may send them
                later.
            text_normalization: ``ON`` spells out numbers and abbreviations, ``OFF`` does not.
            auto_mode: Whether the service decides when to speak; True by default.
            max_buffer_delay_ms: The longest time in ms that text waits for more text.
            buffer_char_threshold: When this many characters wait, 1 to 1000, the service speaks
                them without a flush.
            pronunciation_dictionaries: Names of up to three dictionaries.
            enable_custom_pronunciation: See the service's documentation.
            synthesis_context: Texts that were spoken before. The speech continues these texts.
            viseme_set: ``OPENXR`` requests mouth shapes computed from the audio.
            extra: Further fields of the message ``create``, sent unchanged.
            config: All settings in one object. Each setting above that is not None replaces the
                same setting of *config*.
            method: ``stream`` uses a WebSocket; ``http`` sends a request for each 2000 characters
                of a str, or each sentence of an iterable.
            timeout: The longest wait in seconds for a connection, and for each message of the
                service after all text was sent.
            create_timeout: The longest time in seconds until the service confirms the utterance;
                None means no limit. ``method="http"`` does not use this timeout.

        Raises:
            ConfigError: The text is blank or a setting is out of its range.
            InworldError: The utterance did not complete; ``partial`` has the
                :class:`~inworld_sync.Speech` that was received.
        """
        settings = combine_settings(config, DEFAULTS, locals())
        stream = self.stream(
            text, config=settings, method=method, timeout=timeout, create_timeout=create_timeout
        )
        chunks: list[AudioChunk] = []
        try:
            chunks.extend(stream)
        except InworldError as error:
            if chunks:
                error.partial = Speech.join(chunks, settings.audio)
            raise
        return attrs.evolve(Speech.join(chunks, settings.audio), from_cache=stream.from_cache)

    @with_keyword_hints
    def stream(
        self,
        text: str | Iterable[str],
        *,
        voice: str | None = None,
        model: str | None = None,
        audio: AudioConfig | None = None,
        temperature: float | None = None,
        language: str | None = None,
        delivery_mode: DeliveryMode | str | None = None,
        timestamp_type: TimestampType | str | None = None,
        timestamp_transport: TimestampTransport | str | None = None,
        text_normalization: TextNormalization | str | None = None,
        auto_mode: bool | None = None,
        max_buffer_delay_ms: int | None = None,
        buffer_char_threshold: int | None = None,
        pronunciation_dictionaries: Sequence[str] | None = None,
        enable_custom_pronunciation: bool | None = None,
        synthesis_context: SynthesisContext | None = None,
        viseme_set: VisemeSet | str | None = None,
        extra: Mapping[str, object] | None = None,
        config: ContextConfig | None = None,
        method: Literal["stream", "http"] = "stream",
        timeout: float = MESSAGE_TIMEOUT_SECONDS,
        create_timeout: float | None = CREATE_TIMEOUT_SECONDS,
    ) -> SpeechStream:
        """
        Speak a text and return its audio piece by piece.

        Args:
            text: The text, of any length, or an iterable of pieces, such as the tokens of an LLM;
                the client sends each piece when the iterable yields it.
            voice: Id of a voice; ``Ashley`` by default.
            model: Id of a model; ``inworld-tts-2`` by default.
            audio: Encoding and sample rate; 24 kHz PCM by default.
            temperature: 0 to 2, how much the speech varies; ``inworld-tts-2`` ignores it.
            language: BCP-47 tag, or ``AUTO``; ``inworld-tts-2`` only.
            delivery_mode: ``STABLE``, ``BALANCED`` or ``CREATIVE``; ``inworld-tts-2`` only.
            timestamp_type: ``WORD`` (default) or ``CHARACTER``. A *config* without this setting
                gives no times.
            timestamp_transport: ``SYNC`` sends times with their audio; ``ASYNC`` may send them
                later.
            text_normalization: ``ON`` spells out numbers and abbreviations, ``OFF`` does not.
            auto_mode: Whether the service decides when to speak; True by default.
            max_buffer_delay_ms: The longest time in ms that text waits for more text.
            buffer_char_threshold: When this many characters wait, 1 to 1000, the service speaks
                them without a flush.
            pronunciation_dictionaries: Names of up to three dictionaries.
            enable_custom_pronunciation: See the service's documentation.
            synthesis_context: Texts that were spoken before. The speech continues these texts.
            viseme_set: ``OPENXR`` requests mouth shapes computed from the audio.
            extra: Further fields of the message ``create``, sent unchanged.
            config: All settings in one object. Each setting above that is not None replaces the
                same setting of *config*.
            method: ``stream`` uses a WebSocket; ``http`` sends a request for each 2000 characters
                of a str, or each sentence of an iterable.
            timeout: The longest wait in seconds for a connection, and for each message of the
                service after all text was sent.
            create_timeout: The longest time in seconds until the service confirms the utterance;
                None means no limit. ``method="http"`` does not use this timeout.

        Raises:
            ConfigError: The text is blank or a setting is out of its range.

        The iteration raises the errors of the network and the service.
        """
        settings = combine_settings(config, DEFAULTS, locals())
        if isinstance(text, str):
            require_text(text)
        else:
            require_pieces(text)
        checks.require_timeout(timeout)
        checks.require_timeout(create_timeout, "create_timeout")
        if method not in ("http", "stream"):
            raise ConfigError(f"method must be 'stream' or 'http', got {method!r}")
        limit = MAX_HTTP_TEXT_CHARACTERS if method == "http" else MAX_TEXT_CHARACTERS
        source = PieceSource(text, limit)

        def make(tts: Tts) -> AnyUtterance:
            if method == "http":
                with imports:
                    from inworld_sync.sessions.tts.http_utterance import HttpUtterance

                return HttpUtterance(tts._connector, tts._http, source, settings, timeout)
            return Utterance(tts._pool, source, settings, timeout, create_timeout)

        utterance = self._route(settings, make) if self._route else make(self)
        # The whole text of an iterable is known only at the end of the iteration, so the cache is
        # not used.
        if self._cache is not None and isinstance(text, str):
            utterance = self._cache.utterance(text, utterance)
        return SpeechStream(utterance)

    @with_keyword_hints
    def stream_bytes(
        self,
        text: str | Iterable[str],
        *,
        format: Literal["wav", "mp3", "opus"] = "wav",  # noqa: A002 - the name in a web view
        voice: str | None = None,
        model: str | None = None,
        audio: AudioConfig | None = None,
        temperature: float | None = None,
        language: str | None = None,
        delivery_mode: DeliveryMode | str | None = None,
        timestamp_type: TimestampType | str | None = None,
        timestamp_transport: TimestampTransport | str | None = None,
        text_normalization: TextNormalization | str | None = None,
        auto_mode: bool | None = None,
        max_buffer_delay_ms: int | None = None,
        buffer_char_threshold: int | None = None,
        pronunciation_dictionaries: Sequence[str] | None = None,
        enable_custom_pronunciation: bool | None = None,
        synthesis_context: SynthesisContext | None = None,
        viseme_set: VisemeSet | str | None = None,
        extra: Mapping[str, object] | None = None,
        config: ContextConfig | None = None,
        timeout: float = MESSAGE_TIMEOUT_SECONDS,
        create_timeout: float | None = CREATE_TIMEOUT_SECONDS,
    ) -> Iterator[bytes]:
        """
        Speak a text as the bytes of an audio file, for a web response.

        The call returns when the first audio has arrived. So if the call raises an error, a web
        view can still answer with an error status. Closing the iterator stops the synthesis.

        *format* is ``wav``, ``mp3`` or ``opus`` (Ogg Opus). The header of ``wav`` has an unknown
        length, which players read as "until the end". *format* replaces the encoding of *audio*.
        The other arguments are those of :meth:`stream`.

        Returns:
            The blocks of the file.

        Raises:
            ConfigError: The text is blank or a setting is out of its range.
            NotFoundError: There is no such voice.
            AuthError: The service does not accept the credential.
            TransportError: Could not connect, the connection was lost, or a timeout passed.
            ServiceError: The service reported another error.

        After the first block, the iteration raises errors of the network and the service.
        """
        if format not in _WEB_FORMATS:
            raise ConfigError(f"format must be {' or '.join(_WEB_FORMATS)}, got {format!r}")
        encoding = FILE_ENCODINGS[format]
        settings = combine_settings(config, DEFAULTS, locals())
        settings = attrs.evolve(settings, audio=attrs.evolve(settings.audio, encoding=encoding))
        stream = self.stream(text, config=settings, timeout=timeout, create_timeout=create_timeout)
        is_wav = encoding is AudioEncoding.PCM
        blocks = _blocks(stream, wav.header(settings.audio.sample_rate_hz) if is_wav else b"")
        begun = _begun(blocks)
        next(begun)
        return begun

    @with_keyword_hints
    def speak(
        self,
        text: str | Iterable[str],
        *,
        speaker: AudioSink | None = None,
        on_word: Callable[[WordTime], object] | None = None,
        on_phoneme: Callable[[Phoneme], object] | None = None,
        voice: str | None = None,
        model: str | None = None,
        audio: AudioConfig | None = None,
        temperature: float | None = None,
        language: str | None = None,
        delivery_mode: DeliveryMode | str | None = None,
        timestamp_type: TimestampType | str | None = None,
        timestamp_transport: TimestampTransport | str | None = None,
        text_normalization: TextNormalization | str | None = None,
        auto_mode: bool | None = None,
        max_buffer_delay_ms: int | None = None,
        buffer_char_threshold: int | None = None,
        pronunciation_dictionaries: Sequence[str] | None = None,
        enable_custom_pronunciation: bool | None = None,
        synthesis_context: SynthesisContext | None = None,
        viseme_set: VisemeSet | str | None = None,
        extra: Mapping[str, object] | None = None,
        config: ContextConfig | None = None,
        timeout: float = MESSAGE_TIMEOUT_SECONDS,
        create_timeout: float | None = CREATE_TIMEOUT_SECONDS,
    ) -> Playback:
        """
        Speak a text through a speaker and return at once.

        Args:
            text: The text, of any length, or an iterable of pieces.
            speaker: Plays the audio. None opens the default :class:`~inworld_sync.Speaker` for this
                utterance. If there is no device or the extra ``audio`` is not installed, None opens
                a :class:`~inworld_sync.devices.ProgramSpeaker`.
            on_word: Called on a thread of the playback with each word when it is heard.
            on_phoneme: Called in the same way with each phoneme, which has its viseme.
            voice: Id of a voice; ``Ashley`` by default.
            model: Id of a model; ``inworld-tts-2`` by default.
            audio: Encoding and sample rate; PCM at the rate of the speaker by default.
            temperature: 0 to 2, how much the speech varies; ``inworld-tts-2`` ignores it.
            language: BCP-47 tag, or ``AUTO``; ``inworld-tts-2`` only.
            delivery_mode: ``STABLE``, ``BALANCED`` or ``CREATIVE``; ``inworld-tts-2`` only.
            timestamp_type: ``WORD`` (default) or ``CHARACTER``. A *config* without this setting
                gives no times.
            timestamp_transport: ``SYNC`` sends times with their audio; ``ASYNC`` may send them
                later.
            text_normalization: ``ON`` spells out numbers and abbreviations, ``OFF`` does not.
            auto_mode: Whether the service decides when to speak; True by default.
            max_buffer_delay_ms: The longest time in ms that text waits for more text.
            buffer_char_threshold: When this many characters wait, 1 to 1000, the service speaks
                them without a flush.
            pronunciation_dictionaries: Names of up to three dictionaries.
            enable_custom_pronunciation: See the service's documentation.
            synthesis_context: Texts that were spoken before. The speech continues these texts.
            viseme_set: ``OPENXR`` requests mouth shapes computed from the audio.
            extra: Further fields of the message ``create``, sent unchanged.
            config: All settings in one object. Each setting above that is not None replaces the
                same setting of *config*.
            timeout: The longest wait in seconds for a connection, and for each message of the
                service after all text was sent.
            create_timeout: The longest time in seconds until the service confirms the utterance;
                None means no limit.

        Raises:
            ConfigError: The text is blank, a setting is out of its range, or *speaker* is not a
                sink.
            AudioError: The speaker has another sample rate than *audio*.
            DeviceError: There is neither a default device nor a program that plays audio.
        """
        for name, handler in (("on_word", on_word), ("on_phoneme", on_phoneme)):
            if handler is not None:
                require_callable(handler, name)
        settings = combine_settings(config, DEFAULTS, locals())
        rate_hz = settings.audio.sample_rate_hz
        if speaker is not None:
            require_sink(speaker)
            if audio is not None:
                require_rate(speaker, rate_hz)
            else:
                rate_hz = speaker.sample_rate_hz
                own_rate = attrs.evolve(settings.audio, sample_rate_hz=rate_hz)
                settings = attrs.evolve(settings, audio=own_rate)
        # These modules are imported here, because a program without a sound card needs neither of
        # them.
        with imports:
            from inworld_sync.devices.default import open_default_speaker
            from inworld_sync.sessions.playback import Playback

        stream = self.stream(text, config=settings, timeout=timeout, create_timeout=create_timeout)
        return Playback(
            stream,
            open_default_speaker(rate_hz) if speaker is None else speaker,
            on_word,
            on_phoneme,
            closes_speaker=speaker is None,
            is_read_here=lambda: stream._utterance.is_read_here,
            logger=self._connector.options.logger,
        )

    def connect(self, *, timeout: float | None = None) -> TtsConnection:
        """
        Open a separate connection for up to five contexts, which the caller creates.

        Raises:
            TransportError: Could not connect.
            ServiceError: The service refused the connection.
        """
        return TtsConnection._open(self._connector, timeout=timeout)


def _blocks(stream: SpeechStream, header: bytes) -> Generator[bytes, None, None]:
    with stream:
        for chunk in stream:
            if chunk.data:
                yield header + chunk.data
                header = b""


def _begun(blocks: Generator[bytes, None, None]) -> Generator[bytes, None, None]:
    """
    Wait for the first block at the first step, which yields no data. Then yield all blocks.

    The first step also lets ``close()`` close *blocks*. Closing a generator that has made no step
    runs none of its code.
    """
    with contextlib.closing(blocks):
        first = next(blocks, b"")
        yield b""
        if first:
            yield first
        yield from blocks
