"""Speech to text: what ``iw.stt`` offers, live and for whole recordings."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal

import attrs

from inworld_sync.audio import base64
from inworld_sync.audio.source import AudioLike, open_source
from inworld_sync.errors import ConfigError
from inworld_sync.models.devices import AudioSource
from inworld_sync.models.stt import SttEncoding, TranscribeConfig, Transcript, Transcription
from inworld_sync.models.turns import Turn
from inworld_sync.sessions.connector import Connector
from inworld_sync.sessions.stt.delivery import Delivery
from inworld_sync.sessions.stt.intake import DeliverySettings, Overflow
from inworld_sync.sessions.stt.rate import DEFAULT_CHUNKS_PER_SECOND, ChunkRate
from inworld_sync.sessions.stt.stream import SttStream
from inworld_sync.transport.http import HttpClient
from inworld_sync.wire import stt as wire

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from inworld_sync.models.stt import TranscribeSettings

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
        # Recordings share what the account may send; live audio has its own pace.
        self._recordings_rate = ChunkRate()

    def stream(
        self,
        *,
        sample_rate_hz: int = 16000,
        channels: int = 1,
        on_transcript: Callable[[Transcription], object] | None = None,
        overflow: Overflow = "block",
        max_waiting_bytes: int = _MAX_WAITING_BYTES,
        max_reconnects: int = _MAX_RECONNECTS,
        max_chunks_per_second: float = DEFAULT_CHUNKS_PER_SECOND,
        config: TranscribeConfig | None = None,
        timeout: float | None = None,
        **settings: Unpack[TranscribeSettings],
    ) -> SttStream:
        """
        Begin a live transcription.

        Args:
            sample_rate_hz: Samples a second of the audio that will be given, 1 to 768000.
            channels: Samples a frame of it, mixed to one.
            on_transcript: Called with every :class:`~inworld_sync.Transcription`, partial and
                final, on the stream's own thread; ``str()`` of one is its text.
            overflow: What happens when more audio is given than can wait: ``block`` waits,
                ``raise`` raises DeadlineExceeded, ``drop_oldest`` drops what has waited longest
                and counts it.
            max_waiting_bytes: How much can, as 16-bit samples at the rate of the wire.
            max_reconnects: Attempts to replace a lost connection in a row, 0.2 to 5 s apart,
                before the stream fails; progress of the transcript begins a new row.
            max_chunks_per_second: Messages of 100 ms of audio that are sent in a second.
            config: All settings in one value; *settings* are changes to it.
            timeout: Seconds to connect; None takes ``connect_timeout``.
            settings: As the attributes of :class:`~inworld_sync.TranscribeConfig`. The client
                converts audio to the ``sample_rate_hz`` of *config*.

        Raises:
            ConfigError: A setting makes no sense.
            TransportError: No connection came about.
            ServiceError: The service refused it.
        """
        return self._open(
            _streamed(config, settings),
            DeliverySettings(
                rate=ChunkRate(max_chunks_per_second),
                overflow=overflow,
                max_waiting_bytes=max_waiting_bytes,
                max_reconnects=max_reconnects,
            ),
            sample_rate_hz,
            channels,
            on_transcript,
            timeout,
        )

    def transcribe(
        self,
        audio: AudioLike,
        *,
        sample_rate_hz: int | None = None,
        channels: int = 1,
        method: Literal["stream", "http"] = "stream",
        realtime: bool = False,
        on_transcript: Callable[[Transcription], object] | None = None,
        config: TranscribeConfig | None = None,
        timeout: float = 30.0,
        **settings: Unpack[TranscribeSettings],
    ) -> Transcript:
        """
        Transcribe a recording and return all that was said.

        Args:
            audio: A path of an audio file, or the bytes of one, of any kind that soundfile or
                PyAV reads; raw 16-bit PCM as bytes, or the path of a ``.pcm`` or ``.raw`` file; an
                array of int16 or of floats in [-1, 1]; a source; or an iterable of raw PCM or
                arrays.
            sample_rate_hz: Of raw PCM and arrays, which do not know it.
            channels: Of raw PCM.
            method: ``stream`` sends it over a WebSocket and survives a lost connection; ``http``
                sends it as one request of at most 16 MB, eight minutes, and gives one turn.
            realtime: Send no faster than it sounds; else as fast as the service allows, which is
                five times as fast. Recordings of one client share that.
            on_transcript: As for :meth:`stream`.
            config: All settings in one value; *settings* are changes to it.
            timeout: The most seconds to wait for the service at the end; see
                :meth:`~inworld_sync.SttStream.close`. For ``http``, for the whole request.
            settings: As the attributes of :class:`~inworld_sync.TranscribeConfig`.

        Raises:
            AudioError: It is no sound, or of a kind that nothing installed can decode.
            ConfigError: A setting makes no sense, or *sample_rate_hz* is missing.
            OSError: The file cannot be read.
            InworldError: The transcript is not complete; ``partial`` holds an
                :class:`~inworld_sync.PartialTranscript`.
        """
        config = _streamed(config, settings)
        source = open_source(
            audio, to_hz=config.sample_rate_hz, from_hz=sample_rate_hz, channels=channels
        )
        with contextlib.closing(source):
            if method == "http":
                return self._transcribe_whole(source, config, timeout)
            if method != "stream":
                raise ConfigError(f"method must be 'stream' or 'http', got {method!r}")
            delivery_settings = DeliverySettings(
                rate=self._recordings_rate,
                overflow="block",
                max_waiting_bytes=_MAX_WAITING_BYTES,
                max_reconnects=_MAX_RECONNECTS,
                keeps_events=on_transcript is not None,
            )
            wire_hz = config.sample_rate_hz
            with self._open(config, delivery_settings, wire_hz, 1, on_transcript) as stream:
                stream.feed(source, realtime=realtime)
                return stream.close(timeout)

    def _open(
        self,
        config: TranscribeConfig,
        delivery_settings: DeliverySettings,
        sample_rate_hz: int,
        channels: int,
        on_transcript: Callable[[Transcription], object] | None,
        timeout: float | None = None,
    ) -> SttStream:
        delivery = Delivery(self._connector, config, delivery_settings)
        stream = SttStream(delivery, config, sample_rate_hz, channels)
        delivery.open(timeout)
        self._connector.adopt(delivery)
        if on_transcript is not None:
            stream.on(Transcription, on_transcript)
        return stream

    def _transcribe_whole(
        self, source: AudioSource, config: TranscribeConfig, timeout: float
    ) -> Transcript:
        content = base64.encode(b"".join(source)).decode("ascii")
        if not content:
            # The service refuses an empty request, and streams say nothing of nothing.
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
            headers=self._connector.headers(),
            json=wire.transcribe_whole(config, content),
            timeout=timeout,
        ).json()
        said, usage = wire.read_whole(answer)
        if not said.text.strip():
            return Transcript((), usage)
        words = said.words
        start_ms, end_ms = (words[0].start_ms, words[-1].end_ms) if words else (None, None)
        return Transcript((Turn(said.text, words, start_ms, end_ms, said.voice_profile),), usage)


def _streamed(config: TranscribeConfig | None, settings: TranscribeSettings) -> TranscribeConfig:
    """The settings of a stream, of which the client makes the samples."""
    config = attrs.evolve(config or TranscribeConfig(), **settings)
    if config.encoding not in _STREAMED:
        raise ConfigError(
            f"audio is sent as LINEAR16 or MULAW, got the encoding {config.encoding.value}: give "
            "compressed audio as a file, it is decoded here"
        )
    if config.channels != 1:
        raise ConfigError(
            f"audio is mixed to one channel before it is sent, got {config.channels} in the "
            "settings: say with the call how many channels the audio has"
        )
    return config
