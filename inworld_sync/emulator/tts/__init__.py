"""Text to speech of the emulator: the WebSocket and the HTTP endpoints."""
