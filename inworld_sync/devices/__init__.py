"""
Provides audio input and output: a speaker, a microphone, WAV files, and a speaker without a device.

All sinks and sources use 16-bit little-endian mono PCM and the protocols of
:mod:`inworld_sync.models.devices`. Importing this package needs no sound system. Creating a
:class:`Speaker` or a :class:`Microphone`, and listing devices, needs the extra ``audio``.
"""

from __future__ import annotations

from inworld_sync.devices.microphone import Microphone
from inworld_sync.devices.null import NullSpeaker
from inworld_sync.devices.portaudio import list_devices, refresh_devices
from inworld_sync.devices.program_speaker import ProgramSpeaker
from inworld_sync.devices.speaker import Speaker
from inworld_sync.devices.wav_file import WavSink, WavSource

__all__ = [
    "Microphone",
    "NullSpeaker",
    "ProgramSpeaker",
    "Speaker",
    "WavSink",
    "WavSource",
    "list_devices",
    "refresh_devices",
]
