"""Submits recordings as transcription jobs, and fetches the transcripts later."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal
from urllib.parse import parse_qsl, urlsplit

import attrs

from inworld_sync.audio.files import format_of
from inworld_sync.audio.raw_formats import RawFormat
from inworld_sync.audio.reader import ByteReader
from inworld_sync.audio.source import AudioLike, open_source
from inworld_sync.errors import (
    AudioError,
    ConfigError,
    DeadlineExceeded,
    RemoteProtocolError,
    fresh,
)
from inworld_sync.models.keywords import with_keyword_hints
from inworld_sync.models.settings import combine_settings
from inworld_sync.models.stt import (
    GroqConfig,
    InworldSttConfig,
    SttEncoding,
    TranscribeConfig,
    Transcript,
    VoiceProfileConfig,
)
from inworld_sync.rest.addresses import split_address
from inworld_sync.rest.advice import explained
from inworld_sync.rest.samples import reader_of
from inworld_sync.transport.deadline import Deadline
from inworld_sync.transport.http import HttpClient, HttpResponse
from inworld_sync.transport.urls import quote_part
from inworld_sync.wire import stt as wire
from inworld_sync.wire.codec import dump_text

__all__ = ["TranscriptionJob", "Transcriptions"]

JobStatus = Literal["running", "succeeded", "failed"]

# Source: the service's guide to asynchronous transcription.
_MAX_UPLOAD_BYTES: Final = 512 * 1024 * 1024
_BLOCK_BYTES: Final = 256 * 1024
# The delay before the first question about a job. Each later delay is longer by half.
_FIRST_DELAY_SECONDS: Final = 0.5
_LONGEST_DELAY_SECONDS: Final = 5.0
_GROWTH: Final = 1.5
_POLL_SECONDS: Final = 30.0
_ADVICE: Final = (
    "the service may or may not have started a job, and has no list of jobs: a second submit may "
    "be billed a second time"
)


class Transcriptions:
    """
    Transcription jobs for long recordings. Programs use this object as ``iw.transcriptions``.

    Thread safety: every method may be called from any thread.
    """

    def __init__(self, http: HttpClient) -> None:
        self._http = http

    @with_keyword_hints
    def submit(
        self,
        audio: AudioLike | None = None,
        *,
        url: str | None = None,
        sample_rate_hz: int | None = None,
        channels: int = 1,
        raw_format: RawFormat | None = None,
        model: str | None = None,
        language: str | None = None,
        prompts: Sequence[str] | None = None,
        include_word_timestamps: bool | None = None,
        enable_speaker_diarization: bool | None = None,
        voice_profile: VoiceProfileConfig | None = None,
        inworld: InworldSttConfig | None = None,
        groq: GroqConfig | None = None,
        extra: Mapping[str, object] | None = None,
        config: TranscribeConfig | None = None,
        timeout: float | None = 600.0,
    ) -> TranscriptionJob:
        """
        Submit a recording, and return when the service has received all of the recording.

        The upload is sent once, block by block, so that the use of memory does not depend on the
        size of the recording.

        Args:
            audio: A recording in any form that ``iw.stt.transcribe`` accepts, up to 512 MB. An
                audio file is sent unchanged. All other audio is sent as 16-bit mono samples.
            url: An ``https://`` address of a recording, instead of *audio*. The service fetches the
                recording during this call, without a credential and without following redirects.
            sample_rate_hz: Sample rate in Hz of raw samples and of arrays, 1 to 768000.
            channels: Channels of raw samples, 1 to 64.
            raw_format: Format of raw samples, such as ``mulaw``; 16-bit little-endian by default.
            model: ``provider/model``; the default is ``inworld/inworld-stt-1``.
            language: BCP-47 tag of the spoken language, such as ``en-US``.
            prompts: Words and phrases that the audio may contain.
            include_word_timestamps: Whether the transcript has words with times; True by default.
            enable_speaker_diarization: Whether each word names its speaker.
            voice_profile: Asks for a profile of the speaker's voice.
            inworld: Further settings of the ``inworld/...`` models.
            groq: Further settings of the ``groq/...`` models.
            extra: Further fields of the service's ``transcribeConfig``, sent unchanged.
            config: All settings in one object. Each setting above that is not None replaces the
                setting in *config*.
            timeout: The largest number of seconds for the whole upload; None means no limit.

        Raises:
            AudioError: *audio* is empty, too large or not audio.
            ConfigError: A setting is out of its range, or the call does not have exactly one of
                *audio* and *url*.
            OSError: The file cannot be read.
            QuotaError: The plan allows no further job now.
            TransportError: The request failed; the error says if the request may have arrived.
        """
        given = {name: value for name, value in locals().items() if name not in _OF_THE_CALLER}
        settings = combine_settings(config, TranscribeConfig(), given)
        if (audio is None) == (url is None):
            raise ConfigError("submit needs either audio or url")
        deadline = Deadline(timeout, "submitting the recording")
        if url is not None:
            _require_https(url)
            settings = attrs.evolve(settings, encoding=SttEncoding.AUTO_DETECT)
            body = {"transcribeConfig": wire.config_fields(settings), "audioUri": url}
            with explained(_ADVICE):
                answer = self._http.request("POST", wire.ASYNC_PATH, json=body, deadline=deadline)
        else:
            assert audio is not None
            with _Upload(audio, settings, sample_rate_hz, channels, raw_format) as upload:
                answer = self._upload(upload, deadline)
        operation = wire.read_operation(answer.json())
        return TranscriptionJob(self, operation)

    def get(self, job: str, *, timeout: float | None = 10.0) -> TranscriptionJob:
        """
        Return the job whose id is *job*. Another process may have submitted the job.

        Args:
            job: The ``id`` of the job.
            timeout: The largest number of seconds for the call.

        Raises:
            ConfigError: *job* is not the id of a job.
            NotFoundError: No job has this id.
        """
        return TranscriptionJob(self, self._ask(job, Deadline(timeout, "getting the job")))

    def _ask(self, job: str, deadline: Deadline) -> wire.Operation:
        if not isinstance(job, str) or not wire.is_operation_name(job):
            raise ConfigError(f"job must be the id of a job, got {job!r:.100}")
        parts = [quote_part("job", part) for part in job.split("/")]
        path = "/".join([wire.OPERATION_PATH, *parts])
        answer = self._http.request("GET", path, deadline=deadline)
        return wire.read_operation(answer.json())

    def _upload(self, upload: _Upload, deadline: Deadline) -> HttpResponse:
        headers = {"Content-Type": upload.content_type}
        try:
            with explained(_ADVICE):
                return self._http.request(
                    "POST", wire.ASYNC_PATH, headers=headers, body=upload.blocks, deadline=deadline
                )
        except Exception:
            # urllib3 reports an error of the file as an error of the connection.
            if upload.failure is not None:
                raise upload.failure from None
            raise

    def _download(self, url: str, deadline: Deadline) -> Transcript:
        """Fetch a transcript. No credential is sent, because the address has a signature."""
        parts = split_address(url, "resultUri of the operation")
        own = urlsplit(self._http.options.endpoint("/", websocket=False))
        if parts.scheme != "https" and (parts.scheme, parts.netloc) != (own.scheme, own.netloc):
            raise RemoteProtocolError("the address of the transcript must begin with https://")
        options = attrs.evolve(
            self._http.options, base_url=f"{parts.scheme}://{parts.netloc}", headers={}
        )
        http = HttpClient(options)
        try:
            answer = http.request(
                "GET",
                parts.path or "/",
                headers={},
                query=dict(parse_qsl(parts.query, keep_blank_values=True)),
                deadline=deadline,
            )
            return wire.read_document(answer.json())
        finally:
            http.close()

    def _pause(self, seconds: float) -> None:
        self._http.pause(seconds)


# These parameters describe the audio of the caller, not the audio of the request.
_OF_THE_CALLER: Final = ("sample_rate_hz", "channels", "self")


class TranscriptionJob:
    """
    A recording that the service transcribes.

    The job goes on without this object: keep :attr:`id`, and use ``iw.transcriptions.get`` later.
    The service deletes a transcript seven days after its job has ended.

    Thread safety: every method may be called from any thread.
    """

    def __init__(self, owner: Transcriptions, operation: wire.Operation) -> None:
        self._owner = owner
        self._operation = operation
        self._transcript: Transcript | None = None

    @property
    def id(self) -> str:
        """The id of the job, for ``iw.transcriptions.get``."""
        return self._operation.name

    @property
    def status(self) -> JobStatus:
        """The last known state: ``running``, ``succeeded`` or ``failed``."""
        if not self._operation.is_done:
            return "running"
        return "succeeded" if self._operation.error is None else "failed"

    def refresh(self, *, timeout: float | None = 10.0) -> JobStatus:
        """
        Ask the service for the state, and return the state.

        Args:
            timeout: The largest number of seconds for the call.

        Raises:
            NotFoundError: The service no longer knows the job.
            TransportError: Could not connect, or the connection was lost.
        """
        if not self._operation.is_done:
            deadline = Deadline(timeout, "getting the job")
            self._operation = self._owner._ask(self.id, deadline)  # noqa: SLF001 - of this file
        return self.status

    def wait(self, timeout: float | None = 600.0) -> Transcript:
        """
        Wait for the end of the job, and return the transcript.

        The client asks the service after 0.5 s, and then at growing intervals of up to 5 s.

        Args:
            timeout: The largest number of seconds for the end of the job and for the download of
                the transcript; None means no limit.

        Raises:
            DeadlineExceeded: The job has not ended in time; it goes on, and ``wait`` may be called
                again.
            ServiceError: The job failed.
            TransportError: Could not connect, or the connection was lost; the job goes on.
        """
        deadline = Deadline(timeout, f"waiting for the job {self.id}")
        delay = _FIRST_DELAY_SECONDS
        while not self._operation.is_done:
            self._owner._pause(deadline.at_most(delay))  # noqa: SLF001
            delay = min(delay * _GROWTH, _LONGEST_DELAY_SECONDS)
            deadline.check()
            # A question that is not answered in time is asked again.
            with contextlib.suppress(DeadlineExceeded):
                self.refresh(timeout=deadline.at_most(_POLL_SECONDS))
        if self._operation.error is not None:
            raise fresh(self._operation.error)
        if self._transcript is None:
            # Two threads may both fetch the transcript. Both get the same content.
            url = self._operation.result_url
            self._transcript = self._owner._download(url, deadline)  # noqa: SLF001
        return self._transcript

    def __repr__(self) -> str:
        return f"<TranscriptionJob {self.id} {self.status}>"


def _require_https(url: object) -> None:
    try:
        is_https = isinstance(url, str) and urlsplit(url).scheme == "https"
    except ValueError as error:
        raise ConfigError(f"url must be an https:// address, got {url!a:.100}: {error}") from None
    if not is_https:
        raise ConfigError(f"url must begin with https://, got {url!r:.100}")


class _Upload:
    """
    The body of an upload. The body is a form with the settings first, as the service requires, and
    then the audio.

    Attributes:
        content_type: The type of the form.
        failure: The error that ended the reading of the audio, or None.
    """

    def __init__(
        self,
        audio: AudioLike,
        config: TranscribeConfig,
        sample_rate_hz: int | None,
        channels: int,
        raw_format: RawFormat | None,
    ) -> None:
        self.failure: Exception | None = None
        self._boundary = uuid.uuid4().hex
        self.content_type = f"multipart/form-data; boundary={self._boundary}"
        is_raw = sample_rate_hz is not None or raw_format is not None
        reader = None if is_raw else reader_of(audio)
        if reader is None:
            source = open_source(
                audio,
                to_hz=config.sample_rate_hz,
                from_hz=sample_rate_hz,
                channels=channels,
                raw_format=raw_format,
            )
            self._audio = iter(source)
            self._close = source.close
            self._fields = _fields_of(config, SttEncoding.LINEAR16)
            return
        try:
            _require_recording(reader)
        except BaseException:
            reader.close()
            raise
        self._audio = iter(lambda: reader.read_some(_BLOCK_BYTES), b"")
        self._close = reader.close
        self._fields = _fields_of(config, SttEncoding.AUTO_DETECT)

    def __enter__(self) -> _Upload:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def blocks(self) -> Iterator[bytes]:
        """Yield the blocks of the body. An attempt that cannot connect takes no block."""
        yield self._part('name="transcribeConfig"', "application/json") + self._fields
        yield b"\r\n"
        yield self._part('name="file"; filename="recording"', "application/octet-stream")
        size_bytes = 0
        try:
            for block in self._audio:
                size_bytes += len(block)
                _check_size("audio", size_bytes)
                yield block
            _require_audio("audio", size_bytes)
        except Exception as error:
            self.failure = error
            raise
        yield f"\r\n--{self._boundary}--\r\n".encode()

    def _part(self, disposition: str, content_type: str) -> bytes:
        return (
            f"--{self._boundary}\r\nContent-Disposition: form-data; {disposition}\r\n"
            f"Content-Type: {content_type}\r\n\r\n"
        ).encode()


def _fields_of(config: TranscribeConfig, encoding: SttEncoding) -> bytes:
    return dump_text(wire.config_fields(attrs.evolve(config, encoding=encoding))).encode()


def _require_recording(reader: ByteReader) -> None:
    """Raise AudioError if the bytes of *reader* are not an audio file that may be sent."""
    name = f"audio ({reader.name})" if reader.is_file else "audio"
    _require_audio(name, len(reader.peek(1)))
    _check_size(name, reader.left_bytes)
    if format_of(reader) is None:
        raise AudioError(
            f"{name} is not in a known audio format: pass an audio file; raw samples need "
            "sample_rate_hz"
        )
    reader.begin_samples()


def _require_audio(name: str, size_bytes: int) -> None:
    if not size_bytes:
        raise AudioError(f"{name} is empty (0 bytes): expected audio")


def _check_size(name: str, size_bytes: int | None) -> None:
    if size_bytes is not None and size_bytes > _MAX_UPLOAD_BYTES:
        raise AudioError(
            f"{name} may have at most {_MAX_UPLOAD_BYTES} bytes (512 MB), got at least "
            f"{size_bytes}: pass a compressed file, or split the recording"
        )
