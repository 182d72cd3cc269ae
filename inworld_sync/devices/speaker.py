"""
A loudspeaker whose device is fed by C, so that a busy interpreter cannot make it stutter.

What is written goes into a jitter buffer, a mixer adds the buffers up, and the device's own thread
pulls from the mixer: see :mod:`inworld_sync.devices.speaker_input` and
:mod:`inworld_sync.devices.output`, whose lock rule holds here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from inworld_sync.audio.meter import Level
from inworld_sync.devices._pcm import require_between
from inworld_sync.devices.output import OutputDevice
from inworld_sync.devices.speaker_input import SpeakerInput
from inworld_sync.models.devices import DeviceChanged, DeviceInfo

__all__ = ["Speaker"]

# Of the speaker's own sound, so that what is added without a thought gives way to it.
_OWN_PRIORITY = 1


class Speaker(SpeakerInput):
    """
    Plays 16-bit mono PCM on a sound device.

    The device runs from the start to :meth:`close`, and plays silence where there is nothing to
    say. A sound that comes in time plays to the sample as it was written. One that comes too
    slowly is stretched a little or covered, and counted; see :attr:`stats`. Other sounds are mixed
    in by :meth:`add`.

    Attributes:
        sample_rate_hz: Samples a second that :meth:`write` expects.
        gate: For a :class:`~inworld_sync.Microphone` that must not hear this speaker.
        mixer: What the device plays, for a :class:`~inworld_sync.audio.playout.Playout` of your
            own. It is mono, of the device's own rate, which may be another one than
            :meth:`write` expects.

    Thread safety: one thread writes; any thread may call the other methods.
    """

    def __init__(
        self,
        sample_rate_hz: int = 24000,
        *,
        device: int | str | None = None,
        latency_ms: float = 80.0,
        buffer_ms: int = 2000,
        on_change: Callable[[DeviceChanged], object] | None = None,
    ) -> None:
        """
        Open the device and start it.

        Args:
            sample_rate_hz: Samples a second of what is written, 8000 to 48000. A device that does
                not take it is given another one, and the sound is converted.
            device: An index or a part of a name of :func:`~inworld_sync.devices.list_devices`;
                None for the default device, and for the new one when it changes by being
                unplugged.
            latency_ms: What to ask of the device; it takes the nearest it can. Lower is prompter,
                and may click on a slow machine. 1 to 1000.
            buffer_ms: How much may be written and not yet played; 100 to 600000.
            on_change: Called after the device was lost and another one opened, on the thread that
                noticed: the one that writes or drains.

        Raises:
            ConfigError: A value is out of its range, or no device has this name.
            DeviceError: There is no device, it does not open, or sounddevice or PortAudio is not
                installed.
        """
        _check(sample_rate_hz, buffer_ms)
        require_between("latency_ms", latency_ms, 1, 1000, "ms")
        output = OutputDevice(sample_rate_hz, device, latency_ms, on_change)
        self.gate: Final = output.gate
        self.mixer: Final = output.mixer
        super().__init__(
            output, sample_rate_hz, buffer_ms, gain=1.0, duck_db=0.0, priority=_OWN_PRIORITY
        )

    @property
    def device(self) -> DeviceInfo:
        """The device that plays."""
        with self._changed:
            return self._output.info

    def add(
        self,
        *,
        sample_rate_hz: int | None = None,
        buffer_ms: int = 2000,
        gain: float = 1.0,
        duck_db: float = 0.0,
        priority: int = 0,
    ) -> SpeakerInput:
        """
        Mix another sound in: a back-channel, a short signal, music to wait by.

        Args:
            sample_rate_hz: Samples a second of what is written to it, 8000 to 48000; None means
                as the speaker's own.
            buffer_ms: How much may be written to it and not yet played; 100 to 600000.
            gain: How loud it is, 0 to 4.
            duck_db: By how much it is taken back while a sound of a higher priority is heard, and
                250 ms longer, 0 to 100. It takes 30 ms, and 300 ms to come back.
            priority: 0 to 1000. The speaker's own sound has 1; see :meth:`adjust`.

        Raises:
            ConfigError: A value is out of its range.
            LocalProtocolError: Eight sounds are mixed, the speaker's own with them.
            ClosedError: The speaker was closed.
        """
        rate_hz = self.sample_rate_hz if sample_rate_hz is None else sample_rate_hz
        _check(rate_hz, buffer_ms)
        with self._changed:
            self._require_open()
            return SpeakerInput(
                self._output, rate_hz, buffer_ms, gain=gain, duck_db=duck_db, priority=priority
            )

    def level(self, *, window_ms: float = 50.0) -> Level:
        """
        How loud what is heard now is, all sounds together: peak and root mean square.

        Args:
            window_ms: Over how long, up to the present moment; whole blocks of the device, and
                512 of them at most. Nothing was measured while there is no device.
        """
        with self._changed:
            return self._output.level(window_ms)

    def close(self) -> None:
        """Stop at once and free the device. May be called twice and from any thread."""
        with self._changed:
            if self._output.closed_ns is None:
                self._output.close()
                self._heard()


def _check(sample_rate_hz: int, buffer_ms: int) -> None:
    """Refuse what no input takes, before a device is opened for it."""
    require_between("sample_rate_hz", sample_rate_hz, 8000, 48_000, "Hz")
    require_between("buffer_ms", buffer_ms, 100, 600_000, "ms")
