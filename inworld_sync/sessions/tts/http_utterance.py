"""
Implements an utterance over HTTP. The utterance sends one request after another, one for each piece
of its text.

Threads: everything runs on the thread that iterates.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterable, Iterator

from inworld_sync.errors import (
    ConfigError,
    ConnectError,
    ConnectionLost,
    InworldError,
    ServiceError,
    error_from_status,
)
from inworld_sync.locks import Event
from inworld_sync.models.events import UnknownEvent
from inworld_sync.models.tts import ContextConfig, TtsUsage
from inworld_sync.sessions.connector import Connector
from inworld_sync.sessions.tts.assembler import Assembler
from inworld_sync.sessions.tts.speech import AudioChunk
from inworld_sync.sessions.tts.text_feed import PieceSource
from inworld_sync.transport.backoff import Backoff, retry_after_of
from inworld_sync.transport.deadline import Deadline
from inworld_sync.transport.http import HttpClient
from inworld_sync.transport.http_body import lines_in, start_body
from inworld_sync.transport.http_socket import Stopper
from inworld_sync.wire import tts
from inworld_sync.wire.contexts import no_audio_error
from inworld_sync.wire.splitting import sentences, split_text

__all__ = ["HttpUtterance"]

# The longest delay before the second retry of a piece; the first retry has no delay.
_FIRST_DELAY_SECONDS = 0.2


class HttpUtterance:
    """
    One utterance. If a request fails before the service has answered, the request is sent again.

    Args:
        connector: Provides the credential and the settings of the client.
        http: Sends the requests.
        text: The whole text, an iterable of its pieces, or a :class:`PieceSource`.
        config: The settings of the utterance.
        timeout: The timeout in seconds for the first line of a response, including connecting, and
            for each further line.

    Raises:
        ConfigError: *config* has a setting that only a WebSocket supports.

    Thread safety: one thread iterates over :meth:`chunks`; any thread may call :meth:`stop`.

    Attributes:
        config: The settings of the utterance.
        usage: The characters that the service has counted so far.
        state: The state as text, for a repr.
        from_cache: Always False.
        is_own_service: Always True.
    """

    from_cache = False
    is_own_service = True

    def __init__(
        self,
        connector: Connector,
        http: HttpClient,
        text: str | Iterable[str] | PieceSource,
        config: ContextConfig,
        timeout: float | None,
    ) -> None:
        for name in ("max_buffer_delay_ms", "buffer_char_threshold"):
            if getattr(config, name) is not None:
                raise ConfigError(f"{name} is for a WebSocket: leave it out with method='http'")
        self._connector = connector
        self._http = http
        if not isinstance(text, PieceSource):
            text = PieceSource(text, tts.MAX_HTTP_TEXT_CHARACTERS)
        self._source = text
        self._timeout = timeout
        self._stopped = Event()
        self._stopper = Stopper()
        self._warned: set[str] = set()
        self.config = config
        self.usage = TtsUsage()
        self.state = "not started"

    @property
    def is_read_here(self) -> bool:
        """Whether the current thread is running the user's iterator of the text."""
        return self._source.is_read_here

    def stop(self) -> None:
        """End the present request, and end an iteration that waits for the service."""
        self._stopped.set()
        self.state = "stopped"
        self._stopper.stop()

    def chunks(self) -> Iterator[AudioChunk]:
        """Iterate over the audio. Raise the error of the last attempt if all attempts failed."""
        self.state = "open"
        context_id = str(uuid.uuid4())
        assembler = Assembler(context_id, self.config.audio)
        for piece in self._pieces():
            has_audio = False
            for chunk in self._spoken(piece, context_id, assembler):
                has_audio = has_audio or bool(chunk.data)
                yield chunk
            if self._stopped.is_set():
                return
            # The service may send no audio for a piece that has only punctuation.
            if not has_audio and any(map(str.isalnum, piece)):
                raise no_audio_error(len(piece))
            assembler.generation_ended()
        assembler.finish()
        self.state = "ended"

    def _pieces(self) -> Iterator[str]:
        limit = tts.MAX_HTTP_TEXT_CHARACTERS
        pieces = self._source.pieces()
        if self._source.is_whole:
            return pieces
        return (part for each in sentences(pieces, limit) for part in split_text(each, limit))

    def _spoken(self, text: str, context_id: str, assembler: Assembler) -> Iterator[AudioChunk]:
        """Request a piece of the text, and retry if no audio of the piece was received."""
        # The first attempt may have used a dead connection. Then a retry on a new connection
        # succeeds at once.
        backoff = Backoff(_FIRST_DELAY_SECONDS, is_first_immediate=True)
        while not self._stopped.is_set():
            is_answered = False
            try:
                for received in self._received(text, context_id):
                    is_answered = True
                    chunk = assembler.chunk(received)
                    if chunk.usage is not None:
                        self._count(chunk.usage)
                    yield chunk
            except InworldError as error:
                # After stop(), errors are ignored.
                if self._stopped.is_set():
                    return
                has_attempts = backoff.attempts < self._connector.options.max_retries
                if is_answered or not has_attempts or not self._may_retry(error):
                    raise
                delay = backoff.next_delay(error)
            else:
                return
            self._stopped.wait(delay)

    def _may_retry(self, error: InworldError) -> bool:
        """Return whether another attempt may help. After a timeout, there is no other attempt."""
        if isinstance(error, ServiceError):
            is_soon = self._timeout is None or retry_after_of(error) < self._timeout
            return error.retryable and is_soon
        return isinstance(error, (ConnectionLost, ConnectError))

    def _received(self, text: str, context_id: str) -> Iterator[tts.AudioReceived]:
        self._stopper = stopper = Stopper()
        # stop() may have stopped only the previous request.
        if self._stopped.is_set():
            return
        body = start_body(
            self._http,
            "POST",
            tts.HTTP_PATH,
            json=tts.http_request(text, self.config),
            deadline=Deadline(self._timeout, f"waiting for POST {tts.HTTP_PATH}"),
            stopper=stopper,
        )
        max_bytes = self._connector.options.max_message_bytes
        with contextlib.closing(body):
            for line in lines_in(body, self._timeout, max_bytes):
                warnings: list[str] = []
                message = tts.read_line(line, context_id, warnings)
                self._warn(warnings)
                if isinstance(message, tts.ConnectionFault):
                    raise error_from_status(message.code, message.message, message.details)
                if not isinstance(message, UnknownEvent):
                    yield message

    def _count(self, usage: TtsUsage) -> None:
        self.usage = TtsUsage(
            self.usage.characters + usage.characters, self.usage.model or usage.model
        )

    def _warn(self, names: list[str]) -> None:
        for name in set(names) - self._warned:
            self._warned.add(name)
            self._connector.options.logger.warning(
                "%s: ignored %s, which could not be read", tts.HTTP_PATH, name
            )
