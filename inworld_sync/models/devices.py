"""What a source and a sink of sound must be able to do; any object that can, will serve."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

__all__ = ["AudioSink", "AudioSource"]


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
