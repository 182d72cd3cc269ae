"""
Sound devices: what a source and a sink must be able to do, and what is told about real ones.

Any object that can what a protocol asks for will serve.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Protocol, runtime_checkable

import attrs

__all__ = ["AudioSink", "AudioSource", "DeviceChanged", "DeviceInfo", "SpeakerMark", "SpeakerStats"]


@runtime_checkable
class AudioSource(Protocol):
    """
    Gives 16-bit little-endian mono PCM, for example a microphone.

    Iterating yields blocks of about 20 to 100 ms and ends when the source is closed or exhausted.
    """

    @property
    def sample_rate_hz(self) -> int:
        """Samples a second of what iteration yields."""
        ...

    def __iter__(self) -> Iterator[bytes]:
        """Blocks of PCM in order."""
        ...

    def close(self) -> None:
        """Stop giving sound; a blocked iteration ends. May be called twice and from any thread."""
        ...


@runtime_checkable
class AudioSink(Protocol):
    """
    Takes 16-bit little-endian mono PCM and knows how much of it was heard.

    One thread writes; any thread may call the other methods.
    """

    @property
    def sample_rate_hz(self) -> int:
        """Samples a second that :meth:`write` expects."""
        ...

    @property
    def heard_samples(self) -> int:
        """
        Samples heard since the sink was made: written, played and past the device's latency.

        What :meth:`clear` dropped is not counted. It never goes back.
        """
        ...

    def write(self, pcm: bytes | bytearray | memoryview, *, timeout: float | None = None) -> None:
        """
        Take PCM for playing; wait while the sink is full.

        Raises:
            DeadlineExceeded: *timeout* seconds passed before all of it was taken.
            DeviceError: The device failed.
            ClosedError: The sink was closed.
        """
        ...

    def end(self) -> None:
        """
        Say that the utterance is complete: what was written plays to its last sample.

        A sink that collects some sound before it starts would else wait for more of it.
        What is written next is another utterance. :meth:`drain` says the same.
        """
        ...

    def clear(self) -> int:
        """
        Drop all that was written and not heard.

        A :meth:`write` or :meth:`drain` that waits returns; what it brought is dropped too.

        Returns:
            What :attr:`heard_samples` is from now on: final, with whatever a device cannot take
            back.
        """
        ...

    def drain(self, *, timeout: float | None = None) -> None:
        """
        Wait until all that was written is heard; nothing more follows for now, as :meth:`end`.

        Raises:
            DeadlineExceeded: It was not after *timeout* seconds; it plays on.
            DeviceError: The device failed.
            ClosedError: The sink was closed.
        """
        ...

    def close(self) -> None:
        """Stop at once and free the device. May be called twice and from any thread."""
        ...


@attrs.frozen
class DeviceInfo:
    """
    A sound device, as PortAudio lists it.

    Attributes:
        index: Its number in the list, until the list is made anew.
        name: What the system calls it.
        host_api: The system's interface to it, such as ``ALSA``, ``Core Audio``,
            ``Windows WASAPI``. The same device may be listed under several.
        input_channels: How many it can record, 0 for a speaker.
        output_channels: How many it can play, 0 for a microphone.
        sample_rate_hz: The rate that it prefers.
        default_input: It is what a Microphone takes when no device is named.
        default_output: It is what a Speaker takes when no device is named.
    """

    index: int
    name: str
    host_api: str
    input_channels: int
    output_channels: int
    sample_rate_hz: int
    default_input: bool = False
    default_output: bool = False


@attrs.frozen
class DeviceChanged:
    """
    A device went away while it was in use, and another one took its place.

    Attributes:
        kind: ``output`` for a speaker, ``input`` for a microphone.
        old: What was in use.
        new: What is in use now; may be the same device again.
        lost_ms: Sound that the old device had taken and did not play, or that was not recorded
            meanwhile, as far as it is known.
    """

    kind: Literal["input", "output"]
    old: DeviceInfo
    new: DeviceInfo
    lost_ms: float


@attrs.frozen
class SpeakerMark:
    """
    A mark that was reached or will not be.

    Attributes:
        tag: What was given for it.
        position_samples: Where it was set.
        is_heard: All before it is heard; else it was cancelled.
    """

    tag: object
    position_samples: int
    is_heard: bool


@attrs.frozen
class SpeakerStats:
    """
    How well a speaker plays.

    Attributes:
        underflows: Times that the device ran dry, heard as a click or a gap.
        stalls: Times that the sound ran out before its end, since it came too slowly.
        stalled_ms: How long that took in all.
        concealed_ms: Sound that was made up to cover it.
        inserted_ms: By how much sound was stretched to avoid it.
        latency_ms: From leaving the buffer to the ear.
    """

    underflows: int
    stalls: int
    stalled_ms: float
    concealed_ms: float
    inserted_ms: float
    latency_ms: float
