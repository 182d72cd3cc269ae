"""
Serves the STT WebSocket. Its requests are the configuration, audio, the end of a turn, and the end
of the stream.

Threads: the connection's own thread recognizes and sends, request by request. Meanwhile the reader
thread of the connection receives, so pings get their pong.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from inworld_sync.emulator.peer import PeerGone, WebSocketPeer
from inworld_sync.emulator.protojson import commands, fatal, malformed
from inworld_sync.emulator.recognition.events import SpeechEvent
from inworld_sync.emulator.recognition.listener import Listener
from inworld_sync.emulator.routes import WebSocketRoute
from inworld_sync.emulator.shared_state import SharedState
from inworld_sync.emulator.status import (
    INTERNAL,
    INVALID_ARGUMENT,
    RESOURCE_EXHAUSTED,
    Malformed,
    Refused,
    status,
)
from inworld_sync.emulator.stt.config import TranscribeConfig, read_config
from inworld_sync.emulator.stt.decoders import decoded_base64, open_decoder
from inworld_sync.emulator.stt.messages import results, usage
from inworld_sync.errors import ConfigError, InworldError

__all__ = ["ROUTES"]

_VERBS: Final = ("transcribeConfig", "audioChunk", "endTurn", "closeStream")
_logger = logging.getLogger("inworld_sync.emulator")


def _serve(peer: WebSocketPeer, shared: SharedState) -> None:
    _Connection(peer, shared).run()


ROUTES: Final = (WebSocketRoute(path="/stt/v1/transcribe:streamBidirectional", handler=_serve),)


class _Connection:
    """One connection, which has one stream after its configuration. Only one thread uses it."""

    def __init__(self, peer: WebSocketPeer, shared: SharedState) -> None:
        self._peer = peer
        self._shared = shared
        self._stream: _Stream | None = None
        self._rate = _ChunkRate(shared.settings.stt_chunks_per_second)

    def run(self) -> None:
        """Handle all commands until the connection ends or is inactive for too long."""
        try:
            for command in commands(self._peer, _VERBS, self._timeout):
                with _errors_sent(self._peer):
                    self._handle(command.verb, command.body)
        except TimeoutError:
            if self._stream is not None:
                with _errors_sent(self._peer):
                    self._stream.finish()
            self._peer.close(self._shared.settings.idle_close_code, "no audio was received")

    def _timeout(self) -> float | None:
        return None if self._stream is None else self._stream.inactivity_left()

    def _handle(self, verb: str, body: Mapping[str, object]) -> None:
        if verb == "transcribeConfig":
            if self._stream is not None:
                raise Refused(INVALID_ARGUMENT, "transcribe_config was sent already")
            config = read_config(body, self._shared.settings, streaming=True)
            self._stream = _Stream(config, self._peer, self._shared)
            return
        if self._stream is None:
            raise Refused(INVALID_ARGUMENT, "the first message must be transcribe_config")
        if self._stream.is_closed:
            return
        if verb == "audioChunk":
            self._rate.count(self._peer.received_at)
            self._stream.feed(decoded_base64(body.get("content")))
        elif verb == "endTurn":
            self._stream.end_turn()
        else:
            self._stream.close()


@contextlib.contextmanager
def _errors_sent(peer: WebSocketPeer) -> Iterator[None]:
    """Send the error for an exception. The connection stays open only after a malformed request."""
    try:
        yield
    except PeerGone:
        raise
    except Malformed:
        malformed(peer)
    except Refused as error:
        fatal(peer, error.code, error.message)
    except ConfigError as error:
        fatal(peer, INVALID_ARGUMENT, str(error))
    except InworldError as error:
        _logger.warning("recognition ends: %s", error)
        fatal(peer, INTERNAL, str(error))
    except Exception:
        _logger.exception("recognition failed")
        fatal(peer, INTERNAL, "internal error of the emulator")


class _Stream:
    """
    Recognizes the turns of one stream.

    Attributes:
        is_closed: Whether the client has closed the stream. The connection may stay open.
    """

    def __init__(self, config: TranscribeConfig, peer: WebSocketPeer, shared: SharedState) -> None:
        self.is_closed = False
        self._config = config
        self._peer = peer
        self._settings = shared.settings
        shared.speech_engine.check_language(config.language)
        self._listener = Listener(shared.speech_engine, config.turns)
        self._decoder = open_decoder(config)
        self._active_at = time.monotonic()

    def inactivity_left(self) -> float | None:
        """Return the seconds until the stream ends for inactivity, or None for no limit."""
        seconds = self._config.inactivity_seconds
        if self.is_closed or not seconds:
            return None
        return max(0.0, self._active_at + seconds - time.monotonic())

    def feed(self, audio: bytes) -> None:
        """Recognize the next bytes, which have the encoding of the configuration."""
        self._emit(self._listener.feed(self._decoder.feed(audio)))

    def end_turn(self) -> None:
        """End the open turn now."""
        self._emit(self._listener.feed(self._decoder.flush()))
        self._emit(self._listener.end_turn())

    def finish(self) -> None:
        """End the last turn, since no audio follows."""
        self._emit(self._listener.finish())

    def close(self) -> None:
        """End the stream and send its usage."""
        self.is_closed = True
        self._emit(self._listener.feed(self._decoder.flush()))
        self.finish()
        result: dict[str, object] = {"usage": usage(self._listener.transcribed_ms, self._config)}
        if self._settings.stt_status:
            result["status"] = status()
        self._peer.send({"result": result}, wait=False)
        if self._settings.stt_closes_after_usage:
            self._peer.close()

    def _emit(self, events: Iterable[SpeechEvent]) -> None:
        for event in events:
            for message in results(event, self._config, self._settings):
                self._peer.send(message, wait=False)
        self._active_at = time.monotonic()


class _ChunkRate:
    """Refuses chunks beyond a rate. A burst may have the chunks of one second. 0 means no limit."""

    def __init__(self, chunks_per_second: float) -> None:
        self._limit = chunks_per_second
        self._left = chunks_per_second
        self._counted_at = 0.0

    def count(self, now: float) -> None:
        if not self._limit:
            return
        earned = (now - self._counted_at) * self._limit
        self._left = min(self._limit, self._left + earned) - 1
        self._counted_at = now
        if self._left < 0:
            raise Refused(
                RESOURCE_EXHAUSTED,
                f"rate limit of {self._limit:g} audio chunks per second exceeded",
            )
