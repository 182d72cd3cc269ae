"""
Serves the audio and the words of one synthesis in separate responses.

An ``<audio>`` element and an ``EventSource`` send separate requests, and may repeat their requests.
All these requests read the same :class:`SharedSpeech`, which has an id.

Lock rule: ``_lock`` guards the table of speeches. While ``_lock`` is held, a method of a speech is
called only if it returns at once.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, overload

import attrs

from inworld_sync.errors import ClosedError, DeadlineExceeded, InworldError, QuotaError
from inworld_sync.locks import make_lock
from inworld_sync.models import checks
from inworld_sync.models.tts import AudioConfig, AudioEncoding, ContextConfig
from inworld_sync.sessions.tts.service import Tts
from inworld_sync.web.arguments import (
    require_config,
    require_count,
    require_short_names,
    require_short_text,
    require_tts,
)
from inworld_sync.web.audio_response import STREAM_HEADERS, first_chunks
from inworld_sync.web.byte_range import asks_part, byte_range
from inworld_sync.web.event_format import write_event
from inworld_sync.web.event_response import EVENT_HEADERS, EventBody
from inworld_sync.web.failures import Failure, respond_error, respond_failure
from inworld_sync.web.frameworks import Body, EmptyBody, WebRequest, web_request
from inworld_sync.web.shared_speech import SharedSpeech

if TYPE_CHECKING:
    import flask
    from django.http import HttpRequest, HttpResponseBase

__all__ = ["Utterances"]

_UNKNOWN: Final = Failure(404, "not_found", "there is no such utterance, or it is no longer kept")
_ID_BYTES = 16
_CLOSE_SECONDS = 2.0


class Utterances:
    """
    Speaks texts, and serves the MP3 audio and the words of each text in separate responses.

    The speech of a text has an id, and is kept in the memory of this process: about 1 MB for each
    minute. If no response reads a speech for 5 seconds, its synthesis stops.

    Args:
        tts: ``iw.tts`` of a client.
        max_utterances: How many speeches are kept, at least 1. Speeches that are being generated
            count too. If the limit is reached, a new text replaces the oldest complete speech. If
            no speech is complete, the new text is answered with the status 503.
        max_characters: How many characters a text may have, at least 1.
        keep_seconds: How many seconds a complete speech is kept after its last response has ended.
            When a new text starts, older speeches are removed.
        timeout: The longest wait in seconds for a free connection, and for each message of the
            service.

    Raises:
        ConfigError: *tts* is not the ``tts`` of a client, or another argument is out of its range.

    Thread safety: every method may be called from any thread.
    """

    def __init__(
        self,
        tts: Tts,
        *,
        max_utterances: int = 50,
        max_characters: int = 5000,
        keep_seconds: float = 60.0,
        timeout: float = 30.0,
    ) -> None:
        require_tts(tts)
        require_count(max_utterances, "max_utterances")
        require_count(max_characters, "max_characters")
        checks.require_timeout(keep_seconds, "keep_seconds")
        checks.require_timeout(timeout)
        self._tts = tts
        self._max_utterances = max_utterances
        self._max_characters = max_characters
        self._keep_seconds = keep_seconds
        self._timeout = timeout
        self._lock = make_lock()
        self._speeches: dict[str, SharedSpeech] = {}
        # The texts that wait for their first audio.
        self._starting: set[object] = set()
        self._is_closed = False

    @overload
    def start_response(
        self,
        request: flask.Request,
        text: str | None,
        *,
        voice: str | None = None,
        model: str | None = None,
        language: str | None = None,
        config: ContextConfig | None = None,
    ) -> flask.Response: ...
    @overload
    def start_response(
        self,
        request: HttpRequest,
        text: str | None,
        *,
        voice: str | None = None,
        model: str | None = None,
        language: str | None = None,
        config: ContextConfig | None = None,
    ) -> HttpResponseBase: ...
    def start_response(
        self,
        request: object,
        text: str | None,
        *,
        voice: str | None = None,
        model: str | None = None,
        language: str | None = None,
        config: ContextConfig | None = None,
    ) -> object:
        """
        Start to speak a text, and make a response with the id of the speech: ``{"id": "..."}``.

        The call returns when the first audio has arrived. The response has the status 201. After an
        error, the response is as for the function :func:`inworld_sync.web.stream_response`.

        Args:
            request: ``flask.request``, or the ``HttpRequest`` that Django passes to the view.
            text: The text. If it is None, blank or too long, the response has the status 400.
            voice: Id of a voice; ``Ashley`` by default.
            model: Id of a model; ``inworld-tts-2`` by default.
            language: BCP-47 tag, or ``AUTO``.
            config: Further settings. The encoding is always MP3.

        Raises:
            ConfigError: *request* or *config* is wrong.
        """
        web = web_request(request)
        require_config(config)
        try:
            require_short_text(text, self._max_characters)
            require_short_names(voice=voice, model=model, language=language)
            speech_id = self._start(str(text), voice, model, language, config)
        except InworldError as error:
            return respond_error(web, error)
        headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
        return web.respond(201, headers, json.dumps({"id": speech_id}).encode())

    @overload
    def stream_response(self, request: flask.Request, utterance_id: str) -> flask.Response: ...
    @overload
    def stream_response(self, request: HttpRequest, utterance_id: str) -> HttpResponseBase: ...
    def stream_response(self, request: object, utterance_id: str) -> object:
        """
        Make the response that streams the audio of a speech.

        The response begins with the start of the speech. If the speech is complete, the response
        has a ``Content-Length``. With ``Range``, a browser can request a part of the speech. Such a
        request waits until the speech is complete.

        Args:
            request: ``flask.request``, or the ``HttpRequest`` that Django passes to the view.
            utterance_id: The id from :meth:`start_response`. The status is 404 if no speech with
                this id is kept.

        Raises:
            ConfigError: *request* is wrong.
        """
        web = web_request(request)
        speech = self._find(utterance_id)
        if speech is None:
            return respond_failure(web, _UNKNOWN)
        headers = {"Content-Type": "audio/mpeg", "Accept-Ranges": "bytes", **STREAM_HEADERS}
        # The responses have no validator such as an ETag. So If-Range cannot match, and the whole
        # speech is sent.
        wanted = "" if web.header("If-Range") else web.header("Range")
        is_part = asks_part(wanted)
        # The reader keeps the synthesis running while the request waits. After 5 s without a
        # reader, the synthesis would stop.
        with contextlib.closing(_Reader(speech)):
            length_bytes = speech.wait_complete(self._timeout if is_part else 0.0)
        if speech.error is not None:
            return respond_error(web, speech.error)
        if length_bytes is None:
            if is_part:
                error = DeadlineExceeded(f"the speech was not complete in {self._timeout:g} s")
                return respond_error(web, error)
            return web.respond(200, headers, _body(web, speech, 0, None))
        status, (start, end) = 200, (0, length_bytes)
        found = byte_range(wanted, length_bytes)
        if found is not None:
            status, (start, end) = 206, found
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{length_bytes}"
            if start == end:
                headers["Content-Range"] = f"bytes */{length_bytes}"
                return web.respond(416, headers, b"")
        headers["Content-Length"] = str(end - start)
        return web.respond(status, headers, _body(web, speech, start, end))

    @overload
    def sse_response(self, request: flask.Request, utterance_id: str) -> flask.Response: ...
    @overload
    def sse_response(self, request: HttpRequest, utterance_id: str) -> HttpResponseBase: ...
    def sse_response(self, request: object, utterance_id: str) -> object:
        """
        Make the response that sends the words of a speech as server-sent events.

        Each event ``word`` has ``index``, ``text``, ``start_ms`` and ``end_ms``. A later event with
        the same index replaces the word. The last event is ``end``, or ``failed`` if the speech
        ends early. A browser that connects again gets the events after its ``Last-Event-ID``. If
        the browser has already received the last event, the response has the status 204.

        Args:
            request: ``flask.request``, or the ``HttpRequest`` that Django passes to the view.
            utterance_id: The id from :meth:`start_response`. The status is 404 if no speech with
                this id is kept.

        Raises:
            ConfigError: *request* is wrong.
        """
        web = web_request(request)
        speech = self._find(utterance_id)
        if speech is None:
            return respond_failure(web, _UNKNOWN)
        latest = web.header("Last-Event-ID")
        start = int(latest) + 1 if latest.isdecimal() and len(latest) < 10 else 0
        if start and speech.read_events(start, 0.0) is None:
            return web.respond(204, STREAM_HEADERS, b"")
        if web.method == "HEAD":
            return web.respond(200, EVENT_HEADERS, EmptyBody())
        return web.respond(200, EVENT_HEADERS, EventBody(_SpeechFeed(speech, start)))

    def close(self) -> None:
        """
        Stop all speeches, and wait at most 2 seconds until their threads have ended.

        Later texts are answered with the status 503. The client stays open.
        """
        with self._lock:
            self._is_closed = True
            speeches = list(self._speeches.values())
            self._speeches.clear()
        _stop(speeches)

    def __enter__(self) -> Utterances:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(
        self,
        text: str,
        voice: str | None,
        model: str | None,
        language: str | None,
        config: ContextConfig | None,
    ) -> str:
        mark = object()
        try:
            with self._lock:
                self._make_room()
                self._starting.add(mark)
            audio = config.audio if config else AudioConfig()
            stream = self._tts.stream(
                text,
                voice=voice,
                model=model,
                language=language,
                audio=attrs.evolve(audio, encoding=AudioEncoding.MP3),
                config=config,
                timeout=self._timeout,
            )
            speech = SharedSpeech(stream, first_chunks(stream))
            speech_id = secrets.token_urlsafe(_ID_BYTES)
            with self._lock:
                is_closed = self._is_closed
                if not is_closed:
                    self._speeches[speech_id] = speech
        finally:
            self._starting.discard(mark)
        if is_closed:
            _stop([speech])
            raise ClosedError("the utterances were closed")
        return speech_id

    def _make_room(self) -> None:
        """Drop old speeches, until there is room for a new speech. The caller holds the lock."""
        if self._is_closed:
            raise ClosedError("the utterances were closed")
        oldest = time.monotonic() - self._keep_seconds
        for speech_id, speech in list(self._speeches.items()):
            if speech.is_complete and speech.is_unread_since(oldest):
                del self._speeches[speech_id]
        complete = [key for key, speech in self._speeches.items() if speech.is_complete]
        while len(self._speeches) + len(self._starting) >= self._max_utterances:
            if not complete:
                raise QuotaError(f"{self._max_utterances} utterances are being spoken")
            del self._speeches[complete.pop(0)]

    def _find(self, speech_id: str) -> SharedSpeech | None:
        with self._lock:
            speech = self._speeches.get(speech_id)
        # A ClosedError means that the synthesis was stopped because no response read the speech.
        return None if speech is None or isinstance(speech.error, ClosedError) else speech


def _stop(speeches: Sequence[SharedSpeech]) -> None:
    for speech in speeches:
        speech.stop()
    until = time.monotonic() + _CLOSE_SECONDS
    for speech in speeches:
        speech.join(max(0.0, until - time.monotonic()))


def _body(web: WebRequest, speech: SharedSpeech, start: int, end: int | None) -> Body:
    return EmptyBody() if web.method == "HEAD" else _AudioBody(speech, start, end)


class _Reader:
    """Counts one response that reads a speech."""

    def __init__(self, speech: SharedSpeech) -> None:
        self._speech = speech
        speech.attach()
        self._attached = [speech]

    def has_left(self) -> bool:
        """Return whether the response has ended."""
        return not self._attached

    def close(self) -> None:
        """End the response, and a read that waits. May be called twice, and from any thread."""
        try:
            speech = self._attached.pop()
        except IndexError:
            return
        speech.detach()


class _AudioBody(_Reader):
    """The bytes of a speech from *start* to *end*. None means the end of the speech."""

    def __init__(self, speech: SharedSpeech, start: int, end: int | None) -> None:
        super().__init__(speech)
        self._next, self._end = start, end

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        block = self._speech.read_audio(self._next, self._end, self.has_left)
        if not block:
            raise StopIteration
        self._next += len(block)
        return block


class _SpeechFeed(_Reader):
    """The events of a speech from number *start* on."""

    def __init__(self, speech: SharedSpeech, start: int) -> None:
        super().__init__(speech)
        self._next = start

    def read(self, timeout: float) -> bytes | None:
        events = self._speech.read_events(self._next, timeout, self.has_left)
        if events is None or self.has_left():
            return None
        first = self._next
        self._next += len(events)
        return b"".join(write_event(event, first + n) for n, event in enumerate(events))
