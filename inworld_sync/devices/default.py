"""Opens the speaker that is used if the caller does not pass a speaker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inworld_sync.errors import DeviceError

if TYPE_CHECKING:
    from inworld_sync.devices.program_speaker import ProgramSpeaker
    from inworld_sync.devices.speaker import Speaker

__all__ = ["open_default_speaker"]


def open_default_speaker(sample_rate_hz: int) -> Speaker | ProgramSpeaker:
    """
    Open the default device. If there is no device, use a program of the system that plays audio.

    Args:
        sample_rate_hz: The sample rate in Hz of the audio that is written.

    Raises:
        DeviceError: There is neither a device nor a program. The message has both reasons.
    """
    # These modules are imported here, since the imports take 7 ms and most programs do not need
    # them.
    from inworld_sync.devices.program_speaker import ProgramSpeaker
    from inworld_sync.devices.speaker import Speaker

    try:
        return Speaker(sample_rate_hz)
    except DeviceError as error:
        try:
            return ProgramSpeaker(sample_rate_hz)
        except DeviceError as other:
            raise DeviceError(f"{error}; {other}") from error
