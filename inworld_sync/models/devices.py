"""
Defines the protocols of a source and a sink of audio, and the classes that describe devices.

Any object with the methods of a protocol can be used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import attrs

from inworld_sync.errors import InworldError

if TYPE_CHECKING:
    from inworld_sync.models.realtime.formats import AudioFormat

__all__ = [
    "AudioSink",
    "AudioSource",
    "DeviceChanged",
    "DeviceInfo",
    "EchoStats",
    "ItemSink",
    "SpeakerMark",
    "SpeakerStats",
]


@runtime_checkable
class AudioSource(Protocol):
    """
    A source of 16-bit little-endian mono PCM, for example a microphone.

    Iterating yields blocks of about 20 to 100 ms. The iteration ends when the source is closed
    or has no more audio.
    """

    @property
    def sample_rate_hz(self) -> int:
        """Sample rate in Hz of the blocks."""
        ...

    def __iter__(self) -> Iterator[bytes]:
        """Yield blocks of PCM in order."""
        ...

    def close(self) -> None:
        """End the source and a blocked iteration. May be called twice and from any thread."""
        ...


@runtime_checkable
class AudioSink(Protocol):
    """
    A destination for 16-bit little-endian mono PCM. A sink counts the samples that were played.

    One thread writes; any thread may call the other methods.
    """

    @property
    def sample_rate_hz(self) -> int:
        """Sample rate in Hz of the PCM for :meth:`write`."""
        ...

    @property
    def heard_samples(self) -> int:
        """
        The number of samples that were heard since the sink was created. A sample counts as heard
        when the latency of the device has passed.

        Samples that :meth:`clear` dropped are not counted. The count never decreases.
        """
        ...

    def write(self, pcm: bytes | bytearray | memoryview, *, timeout: float | None = None) -> None:
        """
        Write PCM to be played. Wait while the sink is full.

        Raises:
            DeadlineExceeded: Not all of *pcm* was accepted within *timeout* seconds.
            DeviceError: The device failed.
            ClosedError: The sink was closed.
        """
        ...

    def end(self) -> None:
        """
        Mark the end of an utterance, so that all written audio is played.

        Some sinks buffer audio before they start to play. Without this call, such a sink would wait
        for more audio. The next audio written belongs to another utterance. :meth:`drain` marks the
        end too.
        """
        ...

    def clear(self) -> int:
        """
        Drop all audio that was written and not heard.

        If another thread waits in :meth:`write` or :meth:`drain`, the call of that thread returns,
        and the audio of that call is dropped too.

        Returns:
            The new :attr:`heard_samples`, which includes audio that the device cannot take back.
        """
        ...

    def drain(self, *, timeout: float | None = None) -> None:
        """
        Mark the end of the utterance as :meth:`end` does, and wait until all audio is heard.

        Raises:
            DeadlineExceeded: *timeout* seconds passed. The audio continues to play.
            DeviceError: The device failed.
            ClosedError: The sink was closed.
        """
        ...

    def close(self) -> None:
        """Stop at once and release the device. May be called twice and from any thread."""
        ...


@runtime_checkable
class ItemSink(Protocol):
    """
    A destination for the speech of a realtime session, in the format of the session.

    In contrast to an :class:`AudioSink`, an item sink gets the audio undecoded, and counts for each
    item how much was heard. :meth:`push` and :meth:`clear` must not wait. The session calls
    :meth:`push` from one thread, and the other methods from any thread.
    """

    @property
    def is_idle(self) -> bool:
        """Whether all audio that was pushed has been heard."""
        ...

    @property
    def failure(self) -> InworldError | None:
        """Why the sink no longer plays; None while it plays."""
        ...

    def push(
        self, item_id: str, audio: bytes, audio_format: AudioFormat, *, end: bool = False
    ) -> bool:
        """
        Queue audio of an item.

        Args:
            item_id: The item. Items are played in the order in which they begin.
            audio: Whole samples; may be empty.
            audio_format: The format of *audio*.
            end: Whether the item is complete with this audio.

        Returns:
            False if the sink is full. The session then pushes the same audio again later.
        """
        ...

    def clear(self) -> Mapping[str, int]:
        """
        Drop all audio that was not heard.

        Returns:
            For each item that was pushed since the last call, the number of samples that were
            heard.
        """
        ...

    def drain(self, timeout: float | None) -> None:
        """
        Wait until all audio that was pushed has been heard.

        Raises:
            DeadlineExceeded: *timeout* seconds passed.
            InworldError: The sink failed.
        """
        ...

    def close(self) -> None:
        """Stop at once and play nothing more. May be called twice and from any thread."""
        ...


@attrs.frozen
class DeviceInfo:
    """
    An audio device, as PortAudio lists it.

    Attributes:
        index: The number in PortAudio's list. The index is valid until the list is read again.
        name: Name of the device in the system.
        host_api: The system's interface to the device, such as ``ALSA``, ``Core Audio`` or
            ``Windows WASAPI``. The list may have a device several times, once for each interface.
        input_channels: How many channels the device can record; 0 for a speaker.
        output_channels: How many channels the device can play; 0 for a microphone.
        sample_rate_hz: The preferred sample rate in Hz.
        default_input: Whether a Microphone uses this device by default.
        default_output: Whether a Speaker uses this device by default.
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
    A device disappeared while it was in use, and another device replaced it.

    Attributes:
        kind: ``output`` for a speaker, ``input`` for a microphone.
        old: The device that was in use.
        new: The device in use now, which may be the same device as *old*.
        lost_ms: The duration of the lost audio, as far as it is known. For a speaker, this is the
            audio that the old device had buffered and did not play. For a microphone, this is the
            audio that was not recorded during the change.
    """

    kind: Literal["input", "output"]
    old: DeviceInfo
    new: DeviceInfo
    lost_ms: float


@attrs.frozen
class EchoStats:
    """
    Statistics of the echo cancellation of a microphone.

    Attributes:
        removed_db: How much quieter the recorded audio became while the speaker played, in
            decibels. The value is the mean of about the last second of playing. Speech of the user
            during this time makes the value smaller. None if nothing was measured.
        delay_correction_ms: The delay of the echo, minus the delay that the devices report, in
            milliseconds. The value is 0 if the difference is small.
        skew_ppm: How much faster the speaker's clock is than the microphone's clock, in millionths.
    """

    removed_db: float | None
    delay_correction_ms: float
    skew_ppm: float


@attrs.frozen
class SpeakerMark:
    """
    A mark that was reached or cancelled.

    Attributes:
        tag: The ``tag`` of the call that set the mark.
        position_samples: Position of the mark, in samples.
        is_heard: True if all audio before the mark was heard, False if the mark was cancelled.
    """

    tag: object
    position_samples: int
    is_heard: bool


@attrs.frozen
class SpeakerStats:
    """
    Statistics of a speaker.

    Attributes:
        underflows: How often the device had no audio to play. Each time, a click or a gap is heard.
        stalls: How often an utterance paused because its audio arrived too late.
        stalled_ms: Total length of the stalls, in milliseconds.
        concealed_ms: Audio that was synthesized to conceal stalls, in milliseconds.
        inserted_ms: Audio that was inserted by time stretching to avoid stalls, in milliseconds.
        latency_ms: The time from the moment when audio leaves the buffer until it is heard, in
            milliseconds.
    """

    underflows: int
    stalls: int
    stalled_ms: float
    concealed_ms: float
    inserted_ms: float
    latency_ms: float
