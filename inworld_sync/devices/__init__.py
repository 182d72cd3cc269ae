"""
Sound in and out: speaker, microphone, WAV files, and a speaker that nobody hears.

All of them speak 16-bit little-endian mono PCM through the protocols of
:mod:`inworld_sync.models.devices`. Importing this package needs no sound system.
"""
