"""The STT WebSocket: configuration, audio, end of turn, end of stream."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Final

from inworld_sync.emulator.peer import WebSocketPeer
from inworld_sync.emulator.protojson import (
    INVALID_ARGUMENT,
    RESOURCE_EXHAUSTED,
    Malformed,
    Refused,
    fatal,
    malformed,
    requests,
)
from inworld_sync.emulator.routes import Route, WebSocketRoute
from inworld_sync.emulator.shared_state import SharedState
from inworld_sync.emulator.stt.config import read_config
from inworld_sync.emulator.stt.decoders import decoded_base64
from inworld_sync.emulator.stt.stream import Audio, CloseStream, EndTurn, TranscriptionStream

__all__ = ["SttService"]

_PATH: Final = "/stt/v1/transcribe:streamBidirectional"
_VERBS: Final = ("transcribeConfig", "audioChunk", "endTurn", "closeStream")


class SttService:
    """Listens over WebSocket; thread-safe, one instance serves all connections."""

    def __init__(self, shared: SharedState) -> None:
        self._shared = shared

    def routes(self) -> Iterable[Route]:
        """Return the WebSocket endpoint."""
        return [WebSocketRoute(path=_PATH, handler=self._serve)]

    def _serve(self, peer: WebSocketPeer) -> None:
        connection = _Connection(peer, self._shared)
        try:
            for request in requests(peer, self._shared.credentials):
                connection.handle(request)
        finally:
            connection.stop()


class _Connection:
    """One connection; it has one stream, from its configuration on."""

    def __init__(self, peer: WebSocketPeer, shared: SharedState) -> None:
        self._peer = peer
        self._shared = shared
        self._stream: TranscriptionStream | None = None
        self._is_closed = False
        self._rate = _ChunkRate(shared.settings.stt_chunks_per_second)

    def handle(self, request: Mapping[str, object]) -> None:
        """Work off one request; unknown ones are met with silence."""
        verb = next((name for name in _VERBS if name in request), None)
        if verb is None:
            return
        body = request[verb]
        if not isinstance(body, dict):
            self._peer.send(malformed(), wait=False)
            return
        try:
            self._work_off(verb, body)
        except Malformed:
            self._peer.send(malformed(), wait=False)
        except Refused as error:
            fatal(self._peer, error.code, error.message)

    def stop(self) -> None:
        """End the stream, because the connection is over."""
        self._peer.close()
        if self._stream is not None:
            self._stream.stop()

    def _work_off(self, verb: str, body: Mapping[str, object]) -> None:
        if verb == "transcribeConfig":
            if self._stream is not None:
                raise Refused(INVALID_ARGUMENT, "transcribe_config was sent already")
            self._stream = TranscriptionStream(
                read_config(body, streaming=True), self._peer, self._shared
            )
            return
        if self._stream is None:
            raise Refused(INVALID_ARGUMENT, "the first message must be transcribe_config")
        if self._is_closed:
            return
        if verb == "audioChunk":
            self._rate.count()
            self._stream.put(Audio(decoded_base64(body.get("content"))))
        elif verb == "endTurn":
            self._stream.put(EndTurn())
        else:
            self._is_closed = True
            self._stream.put(CloseStream())


class _ChunkRate:
    """Refuses chunks beyond so many a second, with a second's worth to spare; 0 is no limit."""

    def __init__(self, chunks_per_second: float) -> None:
        self._limit = chunks_per_second
        self._left = chunks_per_second
        self._counted_at = time.monotonic()

    def count(self) -> None:
        if not self._limit:
            return
        now = time.monotonic()
        earned = (now - self._counted_at) * self._limit
        self._left = min(self._limit, self._left + earned) - 1
        self._counted_at = now
        if self._left < 0:
            raise Refused(
                RESOURCE_EXHAUSTED,
                f"rate limit of {self._limit:g} audio chunks per second exceeded",
            )
