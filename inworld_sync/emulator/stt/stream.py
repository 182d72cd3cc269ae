"""
One stream of the STT service: its audio, its turns, its words.

Threads: the connection's thread puts commands; the stream's own thread works them off in order,
listens and sends, and ends the stream when no audio comes.

Lock rule: ``_changed`` guards the queue of commands; nothing is called under it.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Iterable
from typing import Final

import attrs

from inworld_sync.emulator.peer import PeerGone, WebSocketPeer
from inworld_sync.emulator.protojson import INTERNAL, INVALID_ARGUMENT, Refused, fatal, status
from inworld_sync.emulator.recognition.events import SpeechEvent
from inworld_sync.emulator.recognition.listener import Listener
from inworld_sync.emulator.shared_state import SharedState
from inworld_sync.emulator.stt.config import TranscribeConfig
from inworld_sync.emulator.stt.decoders import open_decoder
from inworld_sync.emulator.stt.messages import results, usage
from inworld_sync.errors import ConfigError, InworldError

__all__ = ["Audio", "CloseStream", "EndTurn", "TranscriptionStream"]

_JOIN_SECONDS: Final = 5.0
# Eight minutes of 16 kHz audio; then the client's sending is held back.
_MAX_WAITING_BYTES: Final = 16 << 20
_logger = logging.getLogger("inworld_sync.emulator")


@attrs.frozen
class Audio:
    """The next bytes, in the encoding that was agreed on."""

    data: bytes = attrs.field(repr=False)


@attrs.frozen
class EndTurn:
    """End the open turn now."""


@attrs.frozen
class CloseStream:
    """No more audio comes."""


@attrs.frozen
class _Stop:
    """The connection is over."""


Command = Audio | EndTurn | CloseStream | _Stop


class TranscriptionStream:
    """
    The stream of one connection.

    Args:
        config: What the client asked for.
        peer: Where it tells what it hears.
        shared: The state of the server.

    Thread safety: ``put`` and ``stop`` may be called from any thread.
    """

    def __init__(self, config: TranscribeConfig, peer: WebSocketPeer, shared: SharedState) -> None:
        self._config = config
        self._peer = peer
        self._settings = shared.settings
        self._shared = shared
        self._changed = threading.Condition()
        self._commands: deque[Command] = deque()
        self._waiting_bytes = 0
        self._is_over = False
        self._thread = threading.Thread(target=self._run, name="inworld-emulator-stt", daemon=True)
        self._thread.start()

    def put(self, command: Audio | EndTurn | CloseStream) -> None:
        """Queue a command; wait while too much audio is queued already."""
        with self._changed:
            while self._waiting_bytes > _MAX_WAITING_BYTES and not self._is_over:
                self._changed.wait()
            self._add(command)

    def stop(self) -> None:
        """End the thread, because the connection is over."""
        with self._changed:
            self._is_over = True
            self._commands.clear()
            self._add(_Stop())
        self._thread.join(_JOIN_SECONDS)

    def _add(self, command: Command) -> None:
        self._commands.append(command)
        if isinstance(command, Audio):
            self._waiting_bytes += len(command.data)
        self._changed.notify_all()

    def _take(self, timeout: float | None) -> Command | None:
        with self._changed:
            if not self._changed.wait_for(lambda: self._commands, timeout):
                return None
            command = self._commands.popleft()
            if isinstance(command, Audio):
                self._waiting_bytes -= len(command.data)
            self._changed.notify_all()
            return command

    def _run(self) -> None:
        try:
            self._listen()
        except PeerGone:
            pass
        except Refused as error:
            self._end_with(error.code, error.message)
        except ConfigError as error:
            self._end_with(INVALID_ARGUMENT, str(error))
        except InworldError as error:
            _logger.warning("recognition ends: %s", error)
            self._end_with(INTERNAL, str(error))
        except Exception:
            _logger.exception("recognition failed")
            self._end_with(INTERNAL, "internal error of the emulator")
        finally:
            with self._changed:
                self._is_over = True
                self._changed.notify_all()

    def _end_with(self, code: int, message: str) -> None:
        with contextlib.suppress(PeerGone):
            fatal(self._peer, code, message)

    def _listen(self) -> None:
        engine = self._shared.speech_engine
        engine.check_language(self._config.language)
        listener = Listener(engine, self._config.turns)
        decoder = open_decoder(self._config)
        while not isinstance(command := self._take(self._config.inactivity_seconds or None), _Stop):
            if command is None:
                self._tell(listener.finish())
                self._peer.close(self._settings.idle_close_code, "no audio came")
                return
            if isinstance(command, Audio):
                self._tell(listener.feed(decoder.feed(command.data)))
                continue
            self._tell(listener.feed(decoder.flush()))
            if isinstance(command, EndTurn):
                self._tell(listener.end_turn())
                continue
            self._tell(listener.finish())
            self._close(listener.transcribed_ms)
            return

    def _close(self, transcribed_ms: int) -> None:
        result: dict[str, object] = {"usage": usage(transcribed_ms, self._config)}
        if self._settings.stt_status:
            result["status"] = status()
        self._peer.send({"result": result})
        if self._settings.stt_closes_after_usage:
            self._peer.close()

    def _tell(self, events: Iterable[SpeechEvent]) -> None:
        for event in events:
            for message in results(event, self._config, self._settings):
                self._peer.send(message)
