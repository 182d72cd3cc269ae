"""Text to speech of the emulator: the WebSocket and its HTTP neighbors."""

from __future__ import annotations

from inworld_sync.emulator.tts.http import TtsHttpService
from inworld_sync.emulator.tts.service import TtsService
from inworld_sync.emulator.tts.voice_list import VoicesService

__all__ = ["TtsHttpService", "TtsService", "VoicesService"]
