"""
Makes responses that stream the speech of one text while the service generates it.

The response is made after the first audio has arrived, so an error before the first audio can still
decide the status. The server reads the rest of the audio as fast as the browser accepts it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, Literal, cast, overload

import attrs

from inworld_sync.audio import wav
from inworld_sync.errors import ConfigError, InworldError, RemoteProtocolError
from inworld_sync.models.tts import FILE_ENCODINGS, AudioConfig, ContextConfig
from inworld_sync.sessions.tts.service import Tts
from inworld_sync.sessions.tts.speech import AudioChunk, SpeechStream
from inworld_sync.web.arguments import (
    require_config,
    require_count,
    require_short_names,
    require_short_text,
    require_tts,
)
from inworld_sync.web.failures import respond_error
from inworld_sync.web.frameworks import EmptyBody, web_request

if TYPE_CHECKING:
    import flask
    from django.http import HttpRequest, HttpResponseBase

__all__ = [
    "STREAM_HEADERS",
    "AudioBody",
    "first_chunks",
    "stream_response",
]

# Browsers can play a file of these formats while they receive the file.
_CONTENT_TYPES: Final = {"mp3": "audio/mpeg", "wav": "audio/wav"}

# X-Accel-Buffering keeps nginx from buffering. No cache may store the speech, because the service
# may speak the same text differently the next time.
STREAM_HEADERS: Final = {"X-Accel-Buffering": "no", "Cache-Control": "no-store"}


@overload
def stream_response(
    request: flask.Request,
    tts: Tts,
    text: str | None,
    *,
    format: Literal["mp3", "wav"] = "mp3",
    voice: str | None = None,
    model: str | None = None,
    language: str | None = None,
    config: ContextConfig | None = None,
    max_characters: int = 5000,
    timeout: float = 30.0,
) -> flask.Response: ...
@overload
def stream_response(
    request: HttpRequest,
    tts: Tts,
    text: str | None,
    *,
    format: Literal["mp3", "wav"] = "mp3",
    voice: str | None = None,
    model: str | None = None,
    language: str | None = None,
    config: ContextConfig | None = None,
    max_characters: int = 5000,
    timeout: float = 30.0,
) -> HttpResponseBase: ...
def stream_response(
    request: object,
    tts: Tts,
    text: str | None,
    *,
    format: Literal["mp3", "wav"] = "mp3",  # noqa: A002 - the name of stream_bytes
    voice: str | None = None,
    model: str | None = None,
    language: str | None = None,
    config: ContextConfig | None = None,
    max_characters: int = 5000,
    timeout: float = 30.0,
) -> object:
    """
    Speak a text, and make the response that streams the speech to a browser.

    The call returns when the first audio has arrived. An error before this moment becomes a
    response with a status of at least 400 and a JSON body. A later error is raised to the server,
    which logs the error and cuts the response off. So the browser reports an error, and does not
    treat the received part as the whole speech. If the browser closes the connection, the synthesis
    is stopped at the next block of audio.

    A request with the method HEAD gets the headers, and nothing is spoken. A ``Range`` header is
    ignored, since the length of a speech is unknown until the speech is complete.

    Args:
        request: ``flask.request``, or the ``HttpRequest`` that Django passes to the view.
        tts: ``iw.tts`` of a client.
        text: The text. If it is None, blank or longer than *max_characters*, the response has the
            status 400.
        format: ``mp3`` or ``wav``. ``wav`` has no length in its header; Safari may not play it.
        voice: Id of a voice; ``Ashley`` by default.
        model: Id of a model; ``inworld-tts-2`` by default.
        language: BCP-47 tag, or ``AUTO``.
        config: Further settings; *format* replaces the encoding in *config*.
        max_characters: How many characters a text may have, at least 1.
        timeout: The longest wait in seconds for a free connection, and for each message of the
            service.

    Returns:
        A ``Response`` of Flask, or a response of Django. Under ASGI, Django's response has an
        asynchronous iterator.

    Raises:
        ConfigError: *request*, *tts*, *format*, *config* or *max_characters* is wrong.

    Thread safety: may be called from any thread.
    """
    web = web_request(request)
    headers = {"Content-Type": content_type_of(format), "Accept-Ranges": "none", **STREAM_HEADERS}
    require_tts(tts)
    require_count(max_characters, "max_characters")
    require_config(config)
    try:
        require_short_text(text, max_characters)
        require_short_names(voice=voice, model=model, language=language)
        if web.method == "HEAD":
            return web.respond(200, headers, EmptyBody())
        audio = config.audio if config else AudioConfig()
        stream = tts.stream(
            cast("str", text),
            voice=voice,
            model=model,
            language=language,
            audio=attrs.evolve(audio, encoding=FILE_ENCODINGS[format]),
            config=config,
            timeout=timeout,
        )
        header = wav.header(audio.sample_rate_hz) if format == "wav" else b""
        return web.respond(200, headers, AudioBody(header + first_chunks(stream)[-1].data, stream))
    except InworldError as error:
        return respond_error(web, error)


def first_chunks(stream: SpeechStream) -> list[AudioChunk]:
    """
    Wait for the first chunk with audio.

    Returns:
        The chunks before the first audio, which have only times, and then the chunk with audio.

    Raises:
        InworldError: The speech failed before its first audio.
    """
    chunks: list[AudioChunk] = []
    try:
        for chunk in stream:
            chunks.append(chunk)
            if chunk.data:
                return chunks
    except BaseException:
        stream.close()
        raise
    raise RemoteProtocolError("the service sent no audio for a text")


def content_type_of(value: object) -> str:
    """Return the content type of a format. Raise ConfigError if not all browsers can play it."""
    if isinstance(value, str) and value in _CONTENT_TYPES:
        return _CONTENT_TYPES[value]
    advice = ""
    if value == "opus":
        advice = ": the service sends Opus only as Ogg, which not all browsers play"
    raise ConfigError(f"format must be 'mp3' or 'wav', got {value!r}{advice}")


class AudioBody:
    """The blocks of a speech."""

    def __init__(self, first: bytes, stream: SpeechStream) -> None:
        self._first = first
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        first, self._first = self._first, b""
        if first:
            return first
        for chunk in self._stream:
            if chunk.data:
                return chunk.data
        raise StopIteration

    def close(self) -> None:
        """Stop the synthesis, and free its place."""
        self._first = b""
        self._stream.close()
