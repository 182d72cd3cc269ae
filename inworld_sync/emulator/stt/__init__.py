"""Speech to text of the emulator: the WebSocket and its HTTP neighbor."""

from __future__ import annotations

from inworld_sync.emulator.stt.http import SttHttpService
from inworld_sync.emulator.stt.service import SttService

__all__ = ["SttHttpService", "SttService"]
