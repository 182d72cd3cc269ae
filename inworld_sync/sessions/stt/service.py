"""The speech-to-text service, ``iw.stt``: live streams and whole recordings."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

import attrs

from inworld_sync.audio import base64
from inworld_sync.audio.raw_formats import RawFormat
from inworld_sync.audio.source import AudioLike, open_source
from inworld_sync.errors import ConfigError
from inworld_sync.models.checks import require_timeout
from inworld_sync.models.devices import AudioSource
from inworld_sync.models.keywords import with_keyword_hints
from inworld_sync.models.settings import combine_settings
from inworld_sync.models.stt import (
    AssemblyAiConfig,
    GroqConfig,
    InworldSttConfig,
    SonioxConfig,
    SttEncoding,
    TranscribeConfig,
    Transcript,
    Transcription,
    VoiceProfileConfig,
)
from inworld_sync.models.turns import Turn
from inworld_sync.sessions.connector import Connector
from inworld_sync.sessions.stt.audio_buffer import (
    DEFAULT_CHUNKS_PER_SECOND,
    ChunkRateLimiter,
    Overflow,
    SendSettings,
)
from inworld_sync.sessions.stt.delivery import Delivery
from inworld_sync.sessions.stt.stream import SttStream
from inworld_sync.transport.deadline import Deadline
from inworld_sync.transport.http import HttpClient
from inworld_sync.wire import stt as wire

__all__ = ["Stt"]

# Half a minute of 16 kHz audio.
_MAX_WAITING_BYTES: Final = 960_000
_MAX_RECONNECTS: Final = 8
_STREAMED: Final = (SttEncoding.LINEAR16, SttEncoding.MULAW)
# Source: the service's HTTP reference, size of a request.
_MAX_WHOLE_BYTES: Final = 16_000_000


class Stt:
    """
    Speech to text. Reached as ``iw.stt``.

    Thread safety: every method may be called from any thread.
    """

    def __init__(self, connector: Connector, http: HttpClient) -> None:
        self._connector = connector
        self._http = http
        # Recordings share the account's limit; a live stream is limited by the speed of its audio.
        self._recordings_rate = ChunkRateLimiter()

    @with_keyword_hints
    def stream(
        self,
        *,
        sample_rate_hz: int = 16000,
        channels: int = 1,
        on_transcript: Callable[[Transcription], object] | None = None,
        model: str | None = None,
        language: str | None = None,
        prompts: Sequence[str] | None = None,
        encoding: SttEncoding | str | None = None,
        include_word_timestamps: bool | None = None,
        enable_speaker_diarization: bool | None = None,
        end_of_turn_confidence_threshold: float | None = None,
        inactivity_timeout_seconds: int | None = None,
        voice_profile: VoiceProfileConfig | None = None,
        inworld: InworldSttConfig | None = None,
        assemblyai: AssemblyAiConfig | None = None,
        soniox: SonioxConfig | None = None,
        groq: GroqConfig | None = None,
        extra: Mapping[str, object] | None = None,
        config: TranscribeConfig | None = None,
        overflow: Overflow = "block",
        max_waiting_bytes: int = _MAX_WAITING_BYTES,
        max_reconnects: int = _MAX_RECONNECTS,
        max_chunks_per_second: float = DEFAULT_CHUNKS_PER_SECOND,
        timeout: float | None = None,
    ) -> SttStream:
        """
        Open a live transcription.

        Args:
            sample_rate_hz: Sample rate in Hz of the audio that the stream is given, 1 to 768000.
                The client converts it to the ``sample_rate_hz`` of *config*, which is 16000.
            channels: Channels of that audio, 1 to 64; the client mixes them to one.
            on_transcript: Called with every :class:`~inworld_sync.Transcription`, partial and
                final, on the stream's dispatch thread; ``str()`` of one is its text.
            model: ``provider/model``; the default is ``inworld/inworld-stt-1``.
            language: BCP-47 tag of the spoken language, such as ``en-US``; by default the model
                detects it if it can.
            prompts: Words and phrases that the audio may contain.
            encoding: Encoding in which the client sends the audio: ``LINEAR16`` (default) or
                ``MULAW``, which halves the bytes.
            include_word_timestamps: Whether final transcripts have words with times; the default
                is True.
            enable_speaker_diarization: Whether each word names its speaker; by default the service
                decides.
            end_of_turn_confidence_threshold: Confidence that the turn is complete, 0 to 1, above
                which a short silence ends it; by default the service decides.
            inactivity_timeout_seconds: Seconds without audio after which the service ends the
                stream, 1 to 86400; by default the service decides.
            voice_profile: Asks for a profile of the speaker's voice; none by default.
            inworld: Further settings of the ``inworld/...`` models.
            assemblyai: Further settings of the ``assemblyai/...`` models.
            soniox: Further settings of the ``soniox/...`` models.
            groq: Further settings of the ``groq/...`` models.
            extra: Further fields of the service's ``transcribeConfig``, sent unchanged.
            config: All settings in one object; the defaults are those of
                :class:`~inworld_sync.TranscribeConfig`. Each setting above that is not None
                replaces the one in *config*.
            overflow: What :meth:`~inworld_sync.SttStream.send` does when *max_waiting_bytes* are
                waiting: ``block`` waits for room, ``raise`` raises
                :class:`~inworld_sync.DeadlineExceeded`, ``drop_oldest`` drops the audio that has
                waited longest and counts it in :attr:`~inworld_sync.SttStream.stats`.
            max_waiting_bytes: The most audio that waits to be sent, in bytes of 16-bit samples at
                the rate at which it is sent, 1 or more; the default is 30 s at 16 kHz.
            max_reconnects: Attempts in a row to replace a lost connection, 0 to 1000000, after
                which the stream fails. They are 0.2 s to 5 s apart; progress of the transcript
                resets the count.
            max_chunks_per_second: The most audio messages, of 100 ms each, that are sent per
                second, above 0; the default is the service's limit.
            timeout: Seconds to wait for the connection; None takes ``connect_timeout``.

        Raises:
            ConfigError: A setting is out of its range.
            TransportError: Could not connect.
            ServiceError: The service refused the connection.
        """
        wire_config = _wire_config(config, locals())
        settings = SendSettings(
            rate=ChunkRateLimiter(max_chunks_per_second),
            overflow=overflow,
            max_waiting_bytes=max_waiting_bytes,
        )
        delivery = Delivery(self._connector, wire_config, settings, max_reconnects=max_reconnects)
        stream = SttStream(delivery, wire_config, sample_rate_hz, channels)
        return self._open(delivery, stream, on_transcript, timeout)

    @with_keyword_hints
    def transcribe(
        self,
        audio: AudioLike,
        *,
        sample_rate_hz: int | None = None,
        channels: int = 1,
        raw_format: RawFormat | None = None,
        method: Literal["stream", "http"] = "stream",
        realtime: bool = False,
        on_transcript: Callable[[Transcription], object] | None = None,
        model: str | None = None,
        language: str | None = None,
        prompts: Sequence[str] | None = None,
        encoding: SttEncoding | str | None = None,
        include_word_timestamps: bool | None = None,
        enable_speaker_diarization: bool | None = None,
        end_of_turn_confidence_threshold: float | None = None,
        inactivity_timeout_seconds: int | None = None,
        voice_profile: VoiceProfileConfig | None = None,
        inworld: InworldSttConfig | None = None,
        assemblyai: AssemblyAiConfig | None = None,
        soniox: SonioxConfig | None = None,
        groq: GroqConfig | None = None,
        extra: Mapping[str, object] | None = None,
        config: TranscribeConfig | None = None,
        timeout: float | None = 30.0,
    ) -> Transcript:
        """
        Transcribe a recording.

        Args:
            audio: The path of an audio file, an open binary file, a pipe, an upload object, or the
                bytes of a file; raw samples in one of these forms; an array of int16, int32, uint8
                or floats in [-1, 1], shaped (frames,), (frames, channels) or (channels, frames);
                an iterable of blocks of bytes or of arrays; or a source.
            sample_rate_hz: Sample rate in Hz of raw samples and of arrays, 1 to 768000; required
                for them. Files and sources have their own.
            channels: Channels of raw samples, 1 to 64.
            raw_format: Format of raw samples, such as ``mulaw`` or ``s24le``, in the names of
                ffmpeg; the default is that of the file's suffix, such as ``.ul``, else ``s16le``.
            method: ``stream`` sends the recording over a WebSocket and survives a lost connection;
                ``http`` sends it as one request of at most 16 MB, eight minutes, and returns one
                turn.
            realtime: Send in real time. By default the client sends as fast as the service allows,
                which is five times as fast; all recordings of one client share that rate.
            on_transcript: As for :meth:`stream`; not called with ``method="http"``.
            model: ``provider/model``; the default is ``inworld/inworld-stt-1``.
            language: BCP-47 tag of the spoken language, such as ``en-US``; by default the model
                detects it if it can.
            prompts: Words and phrases that the audio may contain.
            encoding: Encoding in which the client sends the audio: ``LINEAR16`` (default) or
                ``MULAW``, which halves the bytes.
            include_word_timestamps: Whether final transcripts have words with times; the default
                is True.
            enable_speaker_diarization: Whether each word names its speaker; by default the service
                decides.
            end_of_turn_confidence_threshold: Confidence that the turn is complete, 0 to 1, above
                which a short silence ends it; by default the service decides.
            inactivity_timeout_seconds: Seconds without audio after which the service ends the
                stream, 1 to 86400; by default the service decides.
            voice_profile: Asks for a profile of the speaker's voice; none by default.
            inworld: Further settings of the ``inworld/...`` models.
            assemblyai: Further settings of the ``assemblyai/...`` models.
            soniox: Further settings of the ``soniox/...`` models.
            groq: Further settings of the ``groq/...`` models.
            extra: Further fields of the service's ``transcribeConfig``, sent unchanged.
            config: All settings in one object; the defaults are those of
                :class:`~inworld_sync.TranscribeConfig`. Each setting above that is not None
                replaces the one in *config*.
            timeout: For ``stream``, the most seconds to wait for progress after the audio was
                sent, see :meth:`~inworld_sync.SttStream.close`; for ``http``, the most seconds of
                the whole request; None for no limit.

        Returns:
            All turns of the recording.

        Raises:
            AudioError: *audio* is not audio, or nothing installed can decode its format.
            ConfigError: A setting is out of its range, or *sample_rate_hz* is missing.
            OSError: The file cannot be read.
            InworldError: The transcript is not complete; ``partial`` is a
                :class:`~inworld_sync.PartialTranscript`.
        """
        wire_config = _wire_config(config, locals())
        require_timeout(timeout)
        source = open_source(
            audio,
            to_hz=wire_config.sample_rate_hz,
            from_hz=sample_rate_hz,
            channels=channels,
            raw_format=raw_format,
        )
        with contextlib.closing(source):
            if method == "http":
                return self._transcribe_whole(source, wire_config, timeout)
            if method != "stream":
                raise ConfigError(f"method must be 'stream' or 'http', got {method!r}")
            settings = SendSettings(
                rate=self._recordings_rate, overflow="block", max_waiting_bytes=_MAX_WAITING_BYTES
            )
            delivery = Delivery(
                self._connector,
                wire_config,
                settings,
                max_reconnects=_MAX_RECONNECTS,
                keeps_events=on_transcript is not None,
            )
            # The source converts to the rate and channels of the wire.
            stream = SttStream(delivery, wire_config, wire_config.sample_rate_hz, 1)
            with self._open(delivery, stream, on_transcript):
                stream.feed(source, realtime=realtime)
                return stream.close(timeout)

    def _open(
        self,
        delivery: Delivery,
        stream: SttStream,
        on_transcript: Callable[[Transcription], object] | None,
        timeout: float | None = None,
    ) -> SttStream:
        delivery.open(timeout)
        self._connector.adopt(delivery)
        if on_transcript is not None:
            stream.on(Transcription, on_transcript)
        return stream

    def _transcribe_whole(
        self, source: AudioSource, config: TranscribeConfig, timeout: float | None
    ) -> Transcript:
        content = base64.encode(b"".join(source)).decode("ascii")
        if not content:
            # The service refuses an empty request; a stream without audio has an empty transcript.
            return Transcript()
        if len(content) > _MAX_WHOLE_BYTES:
            raise ConfigError(
                f"a recording for method='http' may have {_MAX_WHOLE_BYTES} bytes in base64, got "
                f"{len(content)}: use method='stream'"
            )
        config = attrs.evolve(config, encoding=SttEncoding.LINEAR16)
        answer = self._http.request(
            "POST",
            wire.WHOLE_PATH,
            json=wire.transcribe_whole(config, content),
            deadline=Deadline(timeout, "transcribing the recording"),
        ).json()
        said, usage = wire.read_whole(answer)
        if not said.text.strip():
            return Transcript((), usage)
        words = said.words
        start_ms, end_ms = (words[0].start_ms, words[-1].end_ms) if words else (None, None)
        return Transcript((Turn(said.text, words, start_ms, end_ms, said.voice_profile),), usage)


def _wire_config(config: TranscribeConfig | None, given: dict[str, Any]) -> TranscribeConfig:
    """Combine the settings of a call, and check that the client can send such audio."""
    # These two describe the audio of the caller; it is converted to those of the settings.
    given = {name: given[name] for name in given.keys() - {"sample_rate_hz", "channels"}}
    config = combine_settings(config, TranscribeConfig(), given)
    if config.encoding not in _STREAMED:
        raise ConfigError(
            f"audio is sent as LINEAR16 or MULAW, got the encoding {config.encoding.value}: pass "
            "compressed audio as a file, the client decodes it"
        )
    if config.channels != 1:
        raise ConfigError(
            f"audio is mixed to one channel before it is sent, got {config.channels} in config: "
            "pass the number of channels of the audio as channels"
        )
    return config
