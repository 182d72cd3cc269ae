"""
Speech that is cut short, since the user has begun to speak or somebody has called for it.

What comes first decides: from :meth:`Interruption.begin` on, with the monitor held, nothing that
was received reaches a player or a handle any more. Stopping players may wait, and so may telling
the service; both come after it, without the monitor.

Lock rule: ``SpeechOut.cutting`` is taken before the monitor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from inworld_sync.models.realtime import CancelResponse, InputSpeechStarted, RealtimeEvent
from inworld_sync.sessions.realtime.events import Interrupted

if TYPE_CHECKING:
    from inworld_sync.sessions.realtime.core import RealtimeCore

__all__ = ["Interruption"]


class Interruption:
    """
    Cuts the speech of one session.

    Args:
        core: The session.
        barge_in: Whether the user's speech does.
    """

    def __init__(self, core: RealtimeCore, *, barge_in: bool) -> None:
        self._core = core
        self._barge_in = barge_in

    def note(self, event: RealtimeEvent) -> None:
        """Follow a message; the monitor is held."""
        if not (isinstance(event, InputSpeechStarted) and self._barge_in):
            return
        if self._core.settings.is_interruptible:
            ids = self._begin()
            self._core.worker.put(lambda: self._finish(ids, None))

    def interrupt(self, heard_ms: Mapping[str, float] | None = None) -> Interrupted:
        """Stop all speech, cancel what is being given, and cut what was not heard."""
        with self._core.speech.cutting:
            with self._core.monitor:
                ids = self._begin()
            return self._finish(ids, heard_ms)

    def _begin(self) -> list[str]:
        self._core.speech.begin_cut()
        return self._core.replies.interrupt()

    def _finish(self, ids: list[str], heard_ms: Mapping[str, float] | None) -> Interrupted:
        core = self._core
        cut = core.speech.cut(heard_ms)
        for response_id in ids:
            core.send_now(CancelResponse(response_id))
        for command in cut.commands:
            core.send_now(command)
        event = Interrupted(cut.heard_ms, tuple(ids))
        with core.monitor:
            core.items.set_heard_share(cut.heard_share)
            if ids or cut.commands:
                core.tell(event)
        return event
