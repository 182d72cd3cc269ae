"""Speech to text of the emulator: the WebSocket and its HTTP neighbor."""
