"""Implements speech to text of the emulator, over WebSocket and HTTP."""
