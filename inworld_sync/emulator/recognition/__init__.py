"""Speech recognition of the emulator: protocols, engines and the streaming listener."""
