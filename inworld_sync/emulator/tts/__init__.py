"""Text to speech of the emulator: the WebSocket and its HTTP neighbors."""
