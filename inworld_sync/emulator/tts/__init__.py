"""Implements text to speech of the emulator, over WebSocket and HTTP."""
