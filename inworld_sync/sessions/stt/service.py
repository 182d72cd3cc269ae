"""Transcribes live streams and whole recordings. This module has the class of ``iw.stt``."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

import attrs

from inworld_sync.audio import base64
from inworld_sync.audio.raw_formats import RawFormat
from inworld_sync.audio.source import AudioLike, SeparateChannels, open_separate, open_source
from inworld_sync.errors import ConfigError, InworldError, extended
from inworld_sync.locks import Mutex
from inworld_sync.models.checks import require_timeout
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
    Overflow,
    SendSettings,
)
from inworld_sync.sessions.stt.delivery import Delivery
from inworld_sync.sessions.stt.separate import ChannelStreams, merge_transcripts
from inworld_sync.sessions.stt.stream import SttStream
from inworld_sync.transport.chunk_rate import ChunkRateLimiter
from inworld_sync.transport.deadline import Deadline
from inworld_sync.transport.forgotten import close_if_forgotten
from inworld_sync.transport.http import HttpClient
from inworld_sync.wire import stt as wire

__all__ = ["Stt"]

# This is 30 s of 16-bit audio at 16 kHz.
_MAX_WAITING_BYTES: Final = 960_000
_MAX_RECONNECTS: Final = 8
# Source: the service's HTTP reference, size of a request.
_MAX_WHOLE_BYTES: Final = 16_000_000


@attrs.frozen
class _Recording:
    """How a recording is transcribed; see :meth:`Stt.transcribe`."""

    config: TranscribeConfig
    method: Literal["stream", "http"]
    realtime: bool
    on_transcript: Callable[[Transcription], object] | None
    timeout: float | None


class Stt:
    """
    Turns speech into text. ``iw.stt`` is an object of this class.

    Thread safety: every method may be called from any thread.
    """

    def __init__(self, connector: Connector, http: HttpClient) -> None:
        self._connector = connector
        self._http = http
        self._warn = functools.partial(connector.options.logger.warning, "%s")
        # Recordings share the account's limit; a live stream is limited by the speed of its audio.
        self._recordings_rate = ChunkRateLimiter(DEFAULT_CHUNKS_PER_SECOND)
        # This lock is held while the streams of one recording are opened.
        self._opening = Mutex()

    @with_keyword_hints
    def stream(
        self,
        *,
        sample_rate_hz: int | None = None,
        channels: int | None = None,
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
            sample_rate_hz: Sample rate in Hz of the audio that the caller sends, 1 to 768000;
                None means 16000. The client converts the audio to the ``sample_rate_hz`` of
                *config*, by default 16000.
            channels: Channels of that audio, 1 to 64; None means 1. The client mixes all channels
                to one, as :meth:`transcribe` does.
            on_transcript: Called with every :class:`~inworld_sync.Transcription`, partial and
                final, on the stream's dispatch thread. ``str()`` of a transcription is its text.
            model: ``provider/model``; the default is ``inworld/inworld-stt-1``.
            language: BCP-47 tag of the spoken language, such as ``en-US``; by default the model
                detects the language if it can.
            prompts: Words and phrases that the audio may contain.
            encoding: Encoding in which the client sends the samples to the service:
                ``LINEAR16`` (default) or ``MULAW``, which halves the bytes. With ``AUTO_DETECT``,
                ``MP3``, ``OGG_OPUS`` or ``FLAC``, pass encoded audio to the stream. The client
                sends this audio unchanged. According to Inworld's documentation, the service
                refuses ``MP3``, ``OGG_OPUS`` and ``FLAC``.
            include_word_timestamps: Whether final transcripts have words with times; the default
                is True.
            enable_speaker_diarization: Whether each word names its speaker; by default the service
                decides.
            end_of_turn_confidence_threshold: A short silence ends a turn if the model's confidence
                that the turn is complete is above this value, 0 to 1. By default the service
                decides.
            inactivity_timeout_seconds: Seconds without audio after which the service ends the
                stream, 1 to 86400; by default the service decides.
            voice_profile: Requests a profile of the speaker's voice. By default none is requested.
            inworld: Further settings of the ``inworld/...`` models.
            assemblyai: Further settings of the ``assemblyai/...`` models.
            soniox: Further settings of the ``soniox/...`` models.
            groq: Further settings of the ``groq/...`` models.
            extra: Further fields of the service's ``transcribeConfig``, sent unchanged.
            config: All settings in one object; the defaults are those of
                :class:`~inworld_sync.TranscribeConfig`. Each setting above that is not None
                replaces the same setting of *config*.
            overflow: The behavior of :meth:`~inworld_sync.SttStream.send` when *max_waiting_bytes*
                are waiting: ``block`` waits for room, ``raise`` raises
                :class:`~inworld_sync.DeadlineExceeded`, ``drop_oldest`` drops the oldest waiting
                audio and counts it in :attr:`~inworld_sync.SttStream.stats`.
            max_waiting_bytes: The largest amount of audio that waits to be sent, in bytes of 16-bit
                samples at the sample rate of the wire, 1 or more; the default is 30 s at 16 kHz.
            max_reconnects: The largest number of attempts in a row to replace a lost connection, 0
                to 1000000. After these attempts the stream fails. The delay between two attempts is
                0.2 to 5 s. Progress of the transcript resets the count.
            max_chunks_per_second: The largest number of audio messages, of 100 ms each, that are
                sent per second, above 0; the default is the service's limit.
            timeout: Seconds to wait for the connection; None means ``connect_timeout``.

        Raises:
            ConfigError: A setting is out of its range, or cannot be combined with *encoding*.
            TransportError: Could not connect.
            ServiceError: The service refused the connection.
        """
        wire_config = _wire_config(config, locals())
        if wire_config.encoding.is_raw:
            _require_one_channel(wire_config)
        else:
            _check_encoded(wire_config.encoding, sample_rate_hz, channels, overflow)
        settings = SendSettings(
            rate=ChunkRateLimiter(max_chunks_per_second),
            overflow=overflow,
            max_waiting_bytes=max_waiting_bytes,
        )
        delivery = Delivery(self._connector, wire_config, settings, max_reconnects=max_reconnects)
        stream = SttStream(
            delivery,
            wire_config,
            16000 if sample_rate_hz is None else sample_rate_hz,
            1 if channels is None else channels,
            self._warn,
        )
        return self._open(delivery, stream, on_transcript, timeout)

    @with_keyword_hints
    def transcribe(
        self,
        audio: AudioLike,
        *,
        sample_rate_hz: int | None = None,
        channels: int | Literal["separate"] = 1,
        channel: int | None = None,
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
                or floats in [-1, 1], shaped (frames,), (frames, channels) or (channels, frames); an
                iterable of blocks of bytes or of arrays; or an :class:`~inworld_sync.AudioSource`.
            sample_rate_hz: Sample rate in Hz of raw samples and of arrays, 1 to 768000. It is
                required for raw samples and arrays; files and sources have their own rate.
            channels: Channels of raw samples, 1 to 64. All channels are mixed, unless they cancel
                each other: where the mix is 20 dB or more below the loudest channel, only the
                loudest channel is used, and a warning is logged. ``"separate"`` transcribes all
                channels at the same time, each on its own connection. Turns and words then have a
                ``channel``, and a speaker such as ``channel 0``. With ``"separate"``, raw samples
                must have two channels.
            channel: The number of the only channel to transcribe; the first channel is 0.
            raw_format: Format of raw samples, such as ``mulaw`` or ``s24le``, in the names of
                ffmpeg. By default the suffix of the file decides, such as ``.ul``; without such
                a suffix the format is ``s16le``.
            method: ``stream`` sends the recording over a WebSocket and survives a lost connection;
                ``http`` sends the recording as one request, and returns one turn. Such a request
                may have 16 MB, which is about six minutes at 16 kHz.
            realtime: Whether to send in real time. By default the client sends as fast as the
                service allows, which is five times real time. All recordings of one client share
                this rate.
            on_transcript: As for :meth:`stream`; not called with ``method="http"``. With separate
                channels the handler is called on one thread for each channel, so calls may overlap.
            model: ``provider/model``; the default is ``inworld/inworld-stt-1``.
            language: BCP-47 tag of the spoken language, such as ``en-US``; by default the model
                detects the language if it can.
            prompts: Words and phrases that the audio may contain.
            encoding: Encoding in which the client sends the audio: ``LINEAR16`` (default) or
                ``MULAW``, which halves the bytes.
            include_word_timestamps: Whether final transcripts have words with times; the default
                is True.
            enable_speaker_diarization: Whether each word names its speaker; by default the service
                decides.
            end_of_turn_confidence_threshold: A short silence ends a turn if the model's confidence
                that the turn is complete is above this value, 0 to 1. By default the service
                decides.
            inactivity_timeout_seconds: Seconds without audio after which the service ends the
                stream, 1 to 86400; by default the service decides.
            voice_profile: Requests a profile of the speaker's voice. By default none is requested.
            inworld: Further settings of the ``inworld/...`` models.
            assemblyai: Further settings of the ``assemblyai/...`` models.
            soniox: Further settings of the ``soniox/...`` models.
            groq: Further settings of the ``groq/...`` models.
            extra: Further fields of the service's ``transcribeConfig``, sent unchanged.
            config: All settings in one object; the defaults are those of
                :class:`~inworld_sync.TranscribeConfig`. Each setting above that is not None
                replaces the same setting of *config*.
            timeout: For ``stream``, the largest number of seconds to wait for progress after the
                audio was sent, see :meth:`~inworld_sync.SttStream.close`; for ``http``, the largest
                number of seconds of the whole request; None for no limit.

        Returns:
            All turns of the recording, in the order of their starts.

        Raises:
            AudioError: *audio* is not audio, or no installed library can decode its format.
            ConfigError: A setting is out of its range, *sample_rate_hz* is missing, or the
                recording does not have *channel*.
            OSError: The file cannot be read.
            InworldError: The transcript is not complete; ``partial`` is a
                :class:`~inworld_sync.PartialTranscript`. If one of the separate channels fails, the
                other channels are ended, and the message names the channel that failed.
        """
        wire_config = _wire_config(config, locals())
        _require_one_channel(wire_config)
        if not wire_config.encoding.is_raw:
            raise ConfigError(
                "a recording is sent as LINEAR16 or MULAW, got the encoding "
                f"{wire_config.encoding.value}: use stream() to send encoded bytes unchanged"
            )
        require_timeout(timeout)
        if method not in ("stream", "http"):
            raise ConfigError(f"method must be 'stream' or 'http', got {method!r}")
        to_hz = wire_config.sample_rate_hz
        recording = _Recording(wire_config, method, realtime, on_transcript, timeout)
        raw_channels = _raw_channels(channels)
        if raw_channels is None:
            if channel is not None:
                raise ConfigError("channel cannot be combined with channels='separate'")
            separate = open_separate(
                audio, to_hz=to_hz, from_hz=sample_rate_hz, raw_format=raw_format
            )
            with contextlib.closing(separate):
                return self._transcribe_separately(separate, recording)
        source = open_source(
            audio,
            to_hz=to_hz,
            from_hz=sample_rate_hz,
            channels=raw_channels,
            raw_format=raw_format,
            channel=channel,
            warn=self._warn,
        )
        with contextlib.closing(source):
            if method == "http":
                content = b"".join(source)
                return self._transcribe_whole(content, wire_config, timeout)
            _, stream = self._open_recording(recording)
            with stream:
                stream.feed(source, realtime=realtime)
                return stream.close(timeout)

    def _open_recording(
        self,
        recording: _Recording,
        on_failed: Callable[[], None] = lambda: None,
        on_transcript: Callable[[Transcription], object] | None = None,
    ) -> tuple[Delivery, SttStream]:
        """Open the stream of a recording, or of one channel."""
        on_transcript = on_transcript or recording.on_transcript
        config = recording.config
        settings = SendSettings(
            rate=self._recordings_rate, overflow="block", max_waiting_bytes=_MAX_WAITING_BYTES
        )
        delivery = Delivery(
            self._connector,
            config,
            settings,
            max_reconnects=_MAX_RECONNECTS,
            keeps_events=on_transcript is not None,
            on_failed=on_failed,
        )
        # The source converts the audio to the rate and channels of the wire.
        stream = SttStream(delivery, config, config.sample_rate_hz, 1)
        return delivery, self._open(delivery, stream, on_transcript)

    def _transcribe_separately(self, source: SeparateChannels, recording: _Recording) -> Transcript:
        if recording.method == "stream":
            return ChannelStreams(
                self._opening, self._connector.options.connect_timeout
            ).transcribe(
                source,
                functools.partial(self._open_recording, recording),
                on_transcript=recording.on_transcript,
                realtime=recording.realtime,
                timeout=recording.timeout,
            )
        transcripts = []
        for channel, blocks in enumerate(zip(*source, strict=True)):
            pcm = b"".join(blocks)
            try:
                transcript = self._transcribe_whole(pcm, recording.config, recording.timeout)
            except InworldError as error:
                raise extended(error, prefix=f"channel {channel}: ") from error.__cause__
            transcripts.append(transcript)
        return merge_transcripts(transcripts)

    def _open(
        self,
        delivery: Delivery,
        stream: SttStream,
        on_transcript: Callable[[Transcription], object] | None,
        timeout: float | None = None,
    ) -> SttStream:
        delivery.open(timeout)
        self._connector.adopt(delivery)
        close_if_forgotten(
            stream,
            "the STT stream",
            lambda: delivery.stream.ended is None and not delivery.is_finishing,
            delivery.close,
        )
        if on_transcript is not None:
            stream.on(Transcription, on_transcript)
        return stream

    def _transcribe_whole(
        self, pcm: bytes, config: TranscribeConfig, timeout: float | None
    ) -> Transcript:
        content = base64.encode(pcm).decode("ascii")
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
        turn = Turn(said.text, words, start_ms, end_ms, said.voice_profile, said.tokens)
        return Transcript((turn,), usage)


def _wire_config(config: TranscribeConfig | None, given: dict[str, Any]) -> TranscribeConfig:
    """Combine the settings of a call."""
    # These two arguments describe the caller's audio, which is converted to the rate and channels
    # of the settings.
    given = {name: given[name] for name in given.keys() - {"sample_rate_hz", "channels"}}
    return combine_settings(config, TranscribeConfig(), given)


def _raw_channels(channels: object) -> int | None:
    """Return the number of channels of raw samples; None for separate channels."""
    if channels == "separate":
        return None
    if not isinstance(channels, int):
        raise ConfigError(f"channels must be 1 to 64 or 'separate', got {channels!r}")
    return channels


def _require_one_channel(config: TranscribeConfig) -> None:
    if config.channels != 1:
        raise ConfigError(
            f"a recording is sent with one channel, got {config.channels} channels in config: pass "
            "the number of channels of the audio as channels"
        )


def _check_encoded(
    encoding: SttEncoding, sample_rate_hz: int | None, channels: int | None, overflow: Overflow
) -> None:
    """Refuse settings that cannot be used with encoded audio."""
    for name, value in (("sample_rate_hz", sample_rate_hz), ("channels", channels)):
        if value is not None:
            raise ConfigError(
                f"{name} is for samples, which are converted, and {encoding.value} is sent "
                f"unchanged: leave {name} out, or put it into config"
            )
    if overflow == "drop_oldest":
        raise ConfigError(
            f"overflow='drop_oldest' is for samples: {encoding.value} with a gap could not be "
            "decoded; use 'block' or 'raise'"
        )
