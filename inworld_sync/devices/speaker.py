"""
Implements the speaker. C code gives the device its audio, so that a busy interpreter causes no
gaps.

Written audio goes to a jitter buffer, a mixer adds the buffers, and the device's own thread reads
from the mixer. See :mod:`inworld_sync.devices.speaker_input`, and
:mod:`inworld_sync.devices.output` for the locks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from inworld_sync.audio._arguments import require_number
from inworld_sync.audio.meter import Level
from inworld_sync.audio.taps import SampleTap
from inworld_sync.devices.output import OutputDevice
from inworld_sync.devices.portaudio import require_device
from inworld_sync.devices.speaker_input import SpeakerInput
from inworld_sync.models.checks import require_whole
from inworld_sync.models.devices import DeviceChanged, DeviceInfo

__all__ = ["Speaker"]

# The priority of the speaker's own input. This priority is above 0, the default of added inputs.
_OWN_PRIORITY = 1


class Speaker(SpeakerInput):
    """
    Plays 16-bit mono PCM on a sound device.

    The device runs until :meth:`close`, and plays silence if there is no audio. Audio that arrives
    in time is played unchanged. Audio that arrives too slowly is stretched a little, or its
    gaps are concealed. :attr:`stats` counts the milliseconds of stretching and of concealment.
    :meth:`add` creates inputs for other audio.

    Attributes:
        sample_rate_hz: The sample rate of the audio that :meth:`write` expects.
        gate: The time until which this speaker plays. A :class:`~inworld_sync.Microphone` with
            this speaker as ``mute_while`` records silence until then.
        mixer: The mixer that the device plays, for a
            :class:`~inworld_sync.audio.playout.Playout` of your own. The mixer is mono and has
            the sample rate of the device. This rate may differ from *sample_rate_hz*.

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
            sample_rate_hz: The sample rate of the audio that is written, 8000 to 48000. If the
                device does not support this rate, the device is opened at another rate and the
                audio is converted.
            device: An index or a part of a name in :func:`~inworld_sync.devices.list_devices`. None
                means the default device. If that device is unplugged, the new default device is
                used.
            latency_ms: The latency to request from the device, 1 to 1000. The device uses the
                nearest latency that it supports. A low latency may cause clicks on a slow machine.
            buffer_ms: How much audio may be written and not yet played, 100 to 600000.
            on_change: Called on the thread that writes or drains, after another device has replaced
                a lost device. The argument is a :class:`~inworld_sync.DeviceChanged`.

        Raises:
            ConfigError: A value is out of range, or no device or several devices have this name.
            DeviceError: There is no device, the device cannot be opened, or a library is not
                installed (sounddevice or PortAudio).
        """
        _check(sample_rate_hz, buffer_ms)
        require_number("latency_ms", latency_ms, 1, 1000, " ms")
        require_device(device, on_change)
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
        Create another input of this speaker, for a backchannel, a short signal or hold music.

        Args:
            sample_rate_hz: The sample rate of the audio of this input, 8000 to 48000; None means
                the rate of the speaker.
            buffer_ms: How much audio may be written and not yet played, 100 to 600000.
            gain: The factor by which the amplitude is multiplied, 0 to 4.
            duck_db: By how many decibels this input is attenuated while an input with a higher
                priority plays, and for 250 ms after that; 0 to 100. The change to the attenuation
                takes 30 ms, and the change back takes 300 ms.
            priority: 0 to 1000. The speaker's own input has 1; see :meth:`adjust`.

        Returns:
            The input, which is a sink like the speaker. Close the input to make room for another
            input.

        Raises:
            ConfigError: A value is out of range.
            LocalProtocolError: The speaker has eight inputs already, including its own.
            ClosedError: The speaker is closed.
        """
        rate_hz = self.sample_rate_hz if sample_rate_hz is None else sample_rate_hz
        _check(rate_hz, buffer_ms)
        with self._changed:
            self._require_open()
            return SpeakerInput(
                self._output, rate_hz, buffer_ms, gain=gain, duck_db=duck_db, priority=priority
            )

    def open_tap(self) -> SampleTap:
        """
        Return a tap, which has the samples that the device really plays, and their times.

        A :class:`~inworld_sync.Microphone` with ``echo`` uses this tap. The samples have the sample
        rate of :attr:`mixer`. The tap has the samples since the first call of this method.

        Raises:
            ClosedError: The speaker is closed.
        """
        with self._changed:
            self._require_open()
            return self._output.open_tap()

    def level(self, *, window_ms: float = 50.0) -> Level:
        """
        Measure the audio that is heard now, which is the sum of all inputs.

        Args:
            window_ms: The last *window_ms* milliseconds are measured, rounded to whole blocks of
                the device; at most 512 blocks.

        Returns:
            The peak and the root mean square. If there is no device, ``samples`` is 0.
        """
        with self._changed:
            return self._output.level(window_ms)

    def close(self) -> None:
        """
        Stop at once and free the device.

        Any thread may call this method, even more than once.
        """
        with self._changed:
            if self._output.closed_ns is None:
                self._output.close()
                self._heard()


def _check(sample_rate_hz: int, buffer_ms: int) -> None:
    """Check the arguments before a device is opened."""
    require_whole("sample_rate_hz", sample_rate_hz, 8000, 48_000, " Hz")
    require_whole("buffer_ms", buffer_ms, 100, 600_000, " ms")
