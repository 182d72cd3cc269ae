"""The speaker that is used if the caller names none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inworld_sync.errors import DeviceError

if TYPE_CHECKING:
    from inworld_sync.devices.program_speaker import ProgramSpeaker
    from inworld_sync.devices.speaker import Speaker

__all__ = ["open_default_speaker"]


def open_default_speaker(sample_rate_hz: int) -> Speaker | ProgramSpeaker:
    """
    Open the default device, or without one a program of the system that plays audio.

    Args:
        sample_rate_hz: Sample rate of what is written, in Hz.

    Raises:
        DeviceError: There is neither; the message has both reasons.
    """
    # Imported here, since they take 7 ms, which most programs never need.
    from inworld_sync.devices.program_speaker import ProgramSpeaker
    from inworld_sync.devices.speaker import Speaker

    try:
        return Speaker(sample_rate_hz)
    except DeviceError as error:
        try:
            return ProgramSpeaker(sample_rate_hz)
        except DeviceError as other:
            raise DeviceError(f"{error}; {other}") from error
