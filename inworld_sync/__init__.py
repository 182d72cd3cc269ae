"""Blocking Python client for Inworld AI's TTS, STT and Realtime services."""

from __future__ import annotations

__version__ = "0.1.0"
