"""Implements speech recognition of the emulator: protocols, engines and the listener."""
