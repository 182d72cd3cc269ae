"""Decides whether a conversation between a microphone and a speaker needs echo cancellation."""

from __future__ import annotations

import logging

from inworld_sync.audio.echo.processor import has_processor
from inworld_sync.devices.microphone import Microphone
from inworld_sync.devices.speaker import Speaker
from inworld_sync.errors import DeviceError
from inworld_sync.models.devices import AudioSink, AudioSource

__all__ = ["remove_echo"]

_log = logging.getLogger("inworld_sync.devices")


def remove_echo(microphone: AudioSource, speaker: AudioSink) -> bool:
    """
    Let a microphone remove the sound of a speaker, if both are devices and the extra ``echo`` is
    installed.

    A microphone is not changed if it was created with ``mute_while=``, or with ``echo=`` of any
    value but None.

    Returns:
        Whether the microphone removes the sound of a speaker.

    Raises:
        ClosedError: The speaker is closed.
    """
    if not (isinstance(microphone, Microphone) and isinstance(speaker, Speaker)):
        return False
    if microphone.removes_echo is None and has_processor():
        try:
            microphone.cancel_echo(speaker)
        except DeviceError as error:
            _log.warning("no echo cancellation: %s", error)
    return bool(microphone.removes_echo)
