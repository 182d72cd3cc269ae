"""
Runs the loop of ``converse``, which sends a microphone's audio while the session plays speech.

Threads: the caller's thread reads the microphone. If the session ends while a read waits, the
thread ``inworld-hangup-...`` closes the microphone.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator

import attrs

from inworld_sync.audio.source import AudioData
from inworld_sync.errors import ClosedError, ConnectionLost
from inworld_sync.locks import Event
from inworld_sync.models.devices import AudioSink, AudioSource
from inworld_sync.sessions.realtime.state import SessionState

__all__ = ["ConverseLoop"]

_SILENCE_MS = 100


@attrs.define(eq=False)
class ConverseLoop:
    """
    One call of ``converse``.

    Args:
        state: The session's state; the session is open and plays its speech.
        send_audio: Called with audio and its sample rate in Hz.
        microphone: The source of the user's audio.
        speaker: The speaker that plays the speech.
        hang_up_after: After the microphone has ended, the loop ends after this many seconds without
            activity.
    """

    _state: SessionState
    _send_audio: Callable[[AudioData, int], None]
    _microphone: AudioSource
    _speaker: AudioSink
    _hang_up_after: float
    _over: Event = attrs.field(init=False, factory=Event)

    def run(self) -> None:
        """Run until the session ends, or until ``hang_up_after`` has passed."""
        # This import is here, since a conversation without devices does not need the module.
        from inworld_sync.devices.echo import remove_echo

        remove_echo(self._microphone, self._speaker)
        watcher = threading.Thread(
            target=self._watch, name=f"inworld-hangup-{self._state.name}", daemon=True
        )
        watcher.start()
        try:
            self._listen()
        except (ClosedError, ConnectionLost):
            # If the session ended with an error, that error is raised below.
            if not self._state.commands.is_over:
                raise
        finally:
            self._over.set()
            with self._state.monitor:
                self._state.monitor.notify_all()
            watcher.join()
        player = self._state.output.player
        if player is not None and player.failure is not None:
            raise player.failure
        if self._state.commands.ended is not None:
            self._state.events.raise_end()

    def _listen(self) -> None:
        rate_hz = self._microphone.sample_rate_hz
        for block in itertools.chain(self._microphone, self._silence(rate_hz)):
            if self._is_finished:
                return
            self._send_audio(block, rate_hz)

    def _silence(self, rate_hz: int) -> Iterator[bytes]:
        """Yield silence in real time, so that the service detects the end of the user's turn."""
        block = bytes(rate_hz * _SILENCE_MS // 1000 * 2)
        idle_since = time.monotonic()
        while time.monotonic() - idle_since < self._hang_up_after:
            yield block
            self._over.wait(_SILENCE_MS / 1000.0)
            with self._state.monitor:
                is_busy = self._state.is_busy
            if is_busy or self._state.output.is_playing:
                idle_since = time.monotonic()

    @property
    def _is_finished(self) -> bool:
        player = self._state.output.player
        return player is None or player.failure is not None or self._state.commands.is_over

    def _watch(self) -> None:
        """Close the microphone when the session ends, so that a read that waits returns."""
        with self._state.monitor:
            while not self._over.is_set() and not self._is_finished:
                self._state.monitor.wait(1.0)
        if not self._over.is_set():
            self._microphone.close()
