"""Text to speech of the local server: the WebSocket and its HTTP neighbours."""

from __future__ import annotations

from inworld_sync.emulator.tts.service import TtsService

__all__ = ["TtsService"]
