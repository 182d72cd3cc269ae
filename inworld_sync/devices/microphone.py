"""
Implements the microphone. A sound device fills a ring buffer in C, so that no audio is lost while
the interpreter is busy.

Locks: ``_lock`` guards every field that changes. A thread holds ``_lock`` while it opens a device,
but never while it waits or calls ``on_change``. A thread that holds ``_lock`` may acquire
PortAudio's lock.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Final, Literal

from inworld_sync.audio._arguments import require_number
from inworld_sync.audio.closing import Closing
from inworld_sync.audio.echo.canceller import EchoSettings
from inworld_sync.audio.meter import Level
from inworld_sync.audio.pcm import SAMPLE_BYTES
from inworld_sync.audio.streams import MicrophoneRing
from inworld_sync.audio.voice_gate import VoiceGate, open_detector
from inworld_sync.devices._sink import deadline_after
from inworld_sync.devices.portaudio import (
    DeviceStream,
    choose_format,
    reopen_stream,
    require_device,
)
from inworld_sync.devices.recorded import ProcessedAudio, RecordedAudio
from inworld_sync.devices.speaker import Speaker
from inworld_sync.errors import ClosedError, ConfigError, DeadlineExceeded, DeviceError
from inworld_sync.locks import Event, make_lock
from inworld_sync.models.checks import require_whole
from inworld_sync.models.devices import DeviceChanged, DeviceInfo, EchoStats

__all__ = ["Microphone"]

# The shortest and the longest time between two reads of the ring. The shortest time prevents a busy
# loop if a wait ends early. The longest time limits how late a lost device is noticed.
_LEAST_SECONDS = 0.001
_MOST_SECONDS = 0.25
# The pauses between two attempts to open a lost device. An attempt restarts PortAudio, which
# interrupts a speaker, so the pauses become longer.
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 4.0


class Microphone(Closing):
    """
    Records 16-bit mono PCM from a sound device, block by block.

    The device records until :meth:`close`. Recorded audio waits in a ring buffer of *buffer_ms*.
    If the buffer is full, audio is lost and counted in :attr:`dropped_samples`.

    Attributes:
        sample_rate_hz: The sample rate of the blocks.

    Thread safety: one thread iterates; any thread may call the other methods.
    """

    def __init__(
        self,
        sample_rate_hz: int = 16000,
        *,
        device: int | str | None = None,
        block_ms: int = 20,
        latency_ms: float = 20.0,
        buffer_ms: int = 5000,
        echo: Speaker | Literal[False] | None = None,
        noise_suppression: bool = False,
        auto_gain: bool = False,
        voice_gate: bool = False,
        mute_while: Speaker | None = None,
        hangover_ms: int = 250,
        reopen_timeout: float = 10.0,
        on_change: Callable[[DeviceChanged], object] | None = None,
    ) -> None:
        """
        Open the device and start recording.

        Args:
            sample_rate_hz: The sample rate of the blocks, 8000 to 48000. If the device does not
                support this rate, the device is opened at another rate and the audio is converted.
            device: An index or a part of a name in :func:`~inworld_sync.devices.list_devices`. None
                means the default device. If that device is unplugged, the new default device is
                used.
            block_ms: The length of a block, 5 to 1000.
            latency_ms: The latency to request from the device, 1 to 1000. The device uses the
                nearest latency that it supports.
            buffer_ms: How much recorded audio may wait to be read, 100 to 60000.
            echo: A speaker in the same room, whose sound is removed from the recorded audio. The
                user can interrupt the speaker. This argument and the next two arguments need the
                extra ``echo``, and delay the recorded audio by about 10 ms. If *echo* is None,
                ``RealtimeSession.converse`` removes the sound of its speaker if possible. With
                ``echo=False``, it does not.
            noise_suppression: Reduce steady noise, such as the noise of a fan.
            auto_gain: Adjust the volume of speech.
            voice_gate: Replace audio without speech by silence, so that the service does not take
                noise for speech. This delays the recorded audio by 0.2 s, and needs the extra
                ``local``.
            mute_while: A speaker in the same room. Silence is recorded while this speaker plays, so
                that the service does not take the speaker's sound for the user's speech. The user
                cannot interrupt the speaker then. Headphones or *echo* make this argument
                unnecessary.
            hangover_ms: Silence is recorded for this time after the speaker stops, because of the
                echo of the room; 0 to 5000.
            reopen_timeout: If the device is unplugged and no other device can be opened, the
                microphone tries again for this many seconds, 0 to 3600. In the meantime, silence is
                recorded. If you passed *device*, the microphone waits for the same device.
            on_change: Called on the thread that reads, after another device has replaced a lost
                device. The argument is a :class:`~inworld_sync.DeviceChanged`.

        Raises:
            ConfigError: A value is out of range, or no device or several devices have this name.
            DeviceError: There is no device, or the device cannot be opened. Or something is not
                installed: sounddevice, PortAudio, or an extra that the arguments need (``echo``,
                ``local``).
        """
        require_whole("sample_rate_hz", sample_rate_hz, 8000, 48_000, " Hz")
        require_whole("block_ms", block_ms, 5, 1000, " ms")
        require_number("latency_ms", latency_ms, 1, 1000, " ms")
        require_whole("buffer_ms", buffer_ms, 100, 60_000, " ms")
        require_number("hangover_ms", hangover_ms, 0, 5000, " ms")
        require_number("reopen_timeout", reopen_timeout, 0, 3600, " s")
        require_device(device, on_change)
        _require_speaker("mute_while", mute_while)
        _require_speaker("echo", None if echo is False else echo)
        for name, value in (
            ("noise_suppression", noise_suppression),
            ("auto_gain", auto_gain),
            ("voice_gate", voice_gate),
        ):
            if not isinstance(value, bool):
                raise ConfigError(f"{name} must be True or False, got {value!r}")
        if echo and mute_while is not None:
            raise ConfigError("echo and mute_while cannot be combined: pass one of them")
        self.sample_rate_hz: Final = sample_rate_hz
        self._block_bytes = sample_rate_hz * block_ms // 1000 * SAMPLE_BYTES
        self._latency_ms = latency_ms
        self._buffer_ms = buffer_ms
        self._speaker = mute_while
        self._hangover_ms = hangover_ms
        self._echo = echo or None
        self._keeps_echo = echo is False
        self._settings = EchoSettings(noise_suppression, auto_gain)
        self._gate = VoiceGate(sample_rate_hz, open_detector()) if voice_gate else None
        self._reopen_timeout = reopen_timeout
        self._on_change = on_change
        self._lock = make_lock()
        self._closed = Event()
        self._paused = False
        self._converted = bytearray()
        self._lost: _Loss | None = None
        self._audio: RecordedAudio
        self._rate_hz: int
        # The dropped samples and the overflows of the devices that were used earlier.
        self._earlier_dropped = 0
        self._earlier_overflows = 0
        self._stream = self._open(device)

    @property
    def device(self) -> DeviceInfo:
        """The device that records."""
        with self._lock:
            return self._device

    @property
    def dropped_samples(self) -> int:
        """How many samples of the device were lost because the ring buffer was full."""
        with self._lock:
            return self._earlier_dropped + self._ring.stats.dropped_samples

    @property
    def overflows(self) -> int:
        """How many times the device lost audio before the audio reached the ring buffer."""
        with self._lock:
            return self._earlier_overflows + self._ring.stats.overflows

    @property
    def echo_stats(self) -> EchoStats | None:
        """
        The statistics of the echo cancellation on this device.

        None if none of ``echo``, ``noise_suppression`` and ``auto_gain`` is used.
        """
        with self._lock:
            audio = self._audio
            return audio.canceller.stats if isinstance(audio, ProcessedAudio) else None

    @property
    def paused(self) -> bool:
        """Whether the microphone is paused and records silence."""
        with self._lock:
            return self._paused

    @property
    def removes_echo(self) -> bool | None:
        """
        Whether the sound of a speaker is removed, with ``echo`` or with ``mute_while``.

        None means that ``echo`` and ``mute_while`` are both None, and that :meth:`cancel_echo` was
        not called yet.
        """
        if self._echo is not None or self._speaker is not None:
            return True
        return False if self._keeps_echo else None

    def level(self, *, window_ms: float = 50.0) -> Level:
        """
        Measure the audio that is recorded now, even if the program does not read this audio.

        The echo of a speaker is included. The result is silence while the microphone is paused or
        muted. ``is_clipped`` of the result shows whether the audio is too loud.

        Args:
            window_ms: The last *window_ms* milliseconds are measured, rounded to whole blocks of
                the device; at most 512 blocks.

        Returns:
            The peak and the root mean square.
        """
        with self._lock:
            return self._ring.level(window_ms)

    def pause(self) -> None:
        """Record silence until :meth:`resume`. Blocks continue to arrive."""
        self._mute(True)

    def resume(self) -> None:
        """Record audio again after :meth:`pause`."""
        self._mute(False)

    def read(self, *, timeout: float | None = None) -> bytes:
        """
        Wait for the next block and return it.

        Args:
            timeout: The largest number of seconds to wait; None means no limit.

        Raises:
            DeadlineExceeded: *timeout* seconds passed. No audio is lost.
            DeviceError: The device was lost, and no other device could be opened.
            ClosedError: The microphone is closed.
        """
        deadline = deadline_after(timeout)
        while True:
            missing = self._block_bytes - len(self._converted)
            if missing > 0:
                missing -= self._fetch(missing)
            if missing <= 0:
                block = bytes(self._converted[: self._block_bytes])
                del self._converted[: self._block_bytes]
                return block
            seconds = missing / SAMPLE_BYTES / self.sample_rate_hz
            self._wait(min(max(seconds, _LEAST_SECONDS), _MOST_SECONDS), deadline)

    def __iter__(self) -> Iterator[bytes]:
        """
        Yield blocks in order until the microphone is closed.

        Raises:
            DeviceError: The device was lost, and no other device could be opened.
        """
        with contextlib.suppress(ClosedError):
            while True:
                yield self.read()

    def cancel_echo(self, speaker: Speaker) -> None:
        """
        Remove the sound of a speaker from the audio that is read from now on, as with ``echo``.

        Call this method on the thread that reads.

        Raises:
            ConfigError: *speaker* is not a `Speaker`, or the microphone has ``mute_while``.
            DeviceError: The extra ``echo`` is not installed.
            ClosedError: The speaker is closed.
        """
        if not isinstance(speaker, Speaker):
            raise ConfigError(f"speaker must be a Speaker, got {type(speaker).__name__}")
        if self._speaker is not None:
            raise ConfigError("cancel_echo() cannot be combined with mute_while")
        with self._lock:
            audio = self._new_audio(self._ring, self._rate_hz, speaker)
            if self._lost is None:
                self._deliver(self._audio.finish())
                self._audio = audio
            self._echo = speaker

    def close(self) -> None:
        """Stop recording and free the device. May be called twice and from any thread."""
        self._closed.set()
        with self._lock:
            self._stream.close()

    def _open(self, device: int | str | None) -> DeviceStream:
        chosen = choose_format("input", device, self.sample_rate_hz)
        self._wanted = chosen.lasting_name(device)
        ring = MicrophoneRing(
            chosen.sample_rate_hz * self._buffer_ms // 1000,
            chosen.channels,
            gate=None if self._speaker is None else self._speaker.gate,
            hangover_ms=self._hangover_ms,
        )
        ring.mute(self._paused)
        audio = self._new_audio(ring, chosen.sample_rate_hz, self._echo)
        stream = DeviceStream("input", chosen, ring, self._latency_ms)
        self._device, self._ring, self._audio = chosen.device, ring, audio
        self._rate_hz = chosen.sample_rate_hz
        return stream

    def _new_audio(self, ring: MicrophoneRing, rate_hz: int, echo: Speaker | None) -> RecordedAudio:
        if echo is None and self._settings == EchoSettings():
            return RecordedAudio(ring, rate_hz, self.sample_rate_hz)
        tap = None if echo is None else echo.open_tap()
        played_hz = None if echo is None else echo.mixer.sample_rate_hz
        return ProcessedAudio(ring, rate_hz, self.sample_rate_hz, self._settings, tap, played_hz)

    def _mute(self, muted: bool) -> None:
        with self._lock:
            self._paused = muted
            self._ring.mute(muted)

    def _fetch(self, missing_bytes: int) -> int:
        """Add recorded audio to the block for the program; return how many bytes were added."""
        if self._closed.is_set():
            raise ClosedError("this Microphone is closed")
        if self._lost is not None:
            return 0
        return self._deliver(self._audio.read(missing_bytes))

    def _deliver(self, pcm: bytes) -> int:
        """Add audio to the block for the program; return how many bytes were added."""
        ready = pcm if self._gate is None else self._gate.feed(pcm)
        self._converted += ready
        return len(ready)

    def _wait(self, seconds: float, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded("the timeout passed before a block was recorded")
        self._closed.wait(min(seconds, left))
        event = None
        with self._lock:
            if not self._closed.is_set() and self._stream.is_gone():
                event = self._revive()
        if event is not None and self._on_change is not None:
            self._on_change(event)

    def _revive(self) -> DeviceChanged | None:
        """
        If an attempt is due, open the lost device again. If no device was chosen, open the present
        default device.

        Returns:
            The change; None if no device could be opened yet.

        Raises:
            DeviceError: No device could be opened within *reopen_timeout*.
        """
        if self._lost is None:
            self._lost = _Loss(self._stream.last_seen, time.monotonic())
            self._stream.close()
            self._deliver(self._audio.finish())
        lost, old, stats = self._lost, self._device, self._ring.stats
        if time.monotonic() >= lost.next_attempt:
            try:
                self._stream = reopen_stream("input", lambda: self._open(self._wanted))
            except DeviceError:
                if lost.is_over(self._reopen_timeout):
                    raise
            else:
                self._lost = None
                self._earlier_dropped += stats.dropped_samples
                self._earlier_overflows += stats.overflows
                lost_ms = (time.monotonic() - lost.last_seen) * 1000.0
                return DeviceChanged("input", old, self._device, lost_ms)
        self._deliver(bytes(lost.silent_samples(self.sample_rate_hz) * SAMPLE_BYTES))
        return None


class _Loss:
    """A device that was lost, for which no other device was opened yet."""

    def __init__(self, last_seen: float, since: float) -> None:
        self.last_seen = last_seen
        self.next_attempt = since
        self._since = self._silent_until = since
        self._pause = _FIRST_PAUSE_SECONDS

    def is_over(self, timeout: float) -> bool:
        """Return whether *timeout* has passed. If not, set the time of the next attempt."""
        now = time.monotonic()
        if now - self._since >= timeout:
            return True
        self.next_attempt = min(now + self._pause, self._since + timeout)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
        return False

    def silent_samples(self, rate_hz: int) -> int:
        """Return how many samples of silence the time since the last call needs."""
        samples = int((time.monotonic() - self._silent_until) * rate_hz)
        self._silent_until += samples / rate_hz
        return samples


def _require_speaker(name: str, speaker: object) -> None:
    if speaker is not None and not isinstance(speaker, Speaker):
        raise ConfigError(f"{name} must be a Speaker or None, got {type(speaker).__name__}")
