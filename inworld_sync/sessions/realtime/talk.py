"""
A talk from end to end: what is heard goes in while what is said goes out.

Threads: the caller's takes from the microphone; ``inworld-hangup-...`` frees it when the session
ends while the microphone gives nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from inworld_sync.errors import ClosedError, ConnectionLost, InworldError
from inworld_sync.models.devices import AudioSource
from inworld_sync.sessions.realtime.core import RealtimeCore

if TYPE_CHECKING:
    from inworld_sync.sessions.realtime.session import RealtimeSession

__all__ = ["Talk"]

_SILENCE_MS = 100


class Talk:
    """
    One run of ``converse``.

    Args:
        session: Open, and playing.
        core: Its state.
        microphone: What the user says.
        hang_up_after: Seconds without anything after the microphone's end.
    """

    def __init__(
        self,
        session: RealtimeSession,
        core: RealtimeCore,
        microphone: AudioSource,
        hang_up_after: float,
    ) -> None:
        self._session = session
        self._core = core
        self._microphone = microphone
        self._hang_up_after = hang_up_after
        self._over = threading.Event()

    def run(self) -> None:
        """Talk until the session or the microphone ends."""
        watcher = threading.Thread(
            target=self._watch, name=f"inworld-hangup-{self._core.name}", daemon=True
        )
        watcher.start()
        try:
            self._listen()
        except (ClosedError, ConnectionLost):
            # What ended the session is told below, unless it was closed in good order.
            if self._core.ended is None and not self._core.is_closing:
                raise
        finally:
            self._over.set()
            with self._core.monitor:
                self._core.monitor.notify_all()
            watcher.join()
        self._raise_failure()

    def _listen(self) -> None:
        rate_hz = self._microphone.sample_rate_hz
        for block in self._microphone:
            if self._is_finished:
                return
            self._session.send_audio(block, rate_hz)
        for silence in self._silence(rate_hz):
            self._session.send_audio(silence, rate_hz)

    def _silence(self, rate_hz: int) -> Iterator[bytes]:
        """Silence in real time, so that the service hears that the user's turn is over."""
        block = bytes(rate_hz * _SILENCE_MS // 1000 * 2)
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < self._hang_up_after:
            if self._is_finished:
                return
            yield block
            self._over.wait(_SILENCE_MS / 1000.0)
            with self._core.monitor:
                is_busy = self._core.is_busy
            if is_busy or self._core.speech.is_sounding:
                quiet_since = time.monotonic()

    @property
    def _is_finished(self) -> bool:
        player = self._core.speech.player
        is_broken = player is None or player.failure is not None
        return self._core.ended is not None or self._core.is_closing or is_broken

    def _watch(self) -> None:
        """Close a microphone that gives nothing once there is nobody to hear it."""
        with self._core.monitor:
            while not self._over.is_set() and not self._is_finished:
                self._core.monitor.wait(1.0)
        if not self._over.is_set():
            self._microphone.close()

    def _raise_failure(self) -> None:
        player = self._core.speech.player
        failure: InworldError | None = None if player is None else player.failure
        if failure is not None:
            raise failure
        if self._core.ended is not None:
            self._core.events.raise_end()
