"""Removes the echo of a speaker from the audio of a microphone. Nothing here needs a device."""
