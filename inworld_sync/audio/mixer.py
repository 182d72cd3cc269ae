"""
Several playouts into one device: a voice, a back-channel, short signals.

Each keeps its own items, marks, positions and clears. The mixer adds their sound, each at its
gain, and takes some of them back while a more important one sounds.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final, cast

from inworld_sync._native import ffi, hold
from inworld_sync.audio._memory import U8
from inworld_sync.audio._playout_config import FORMATS, SAMPLE_BYTES, SampleFormat
from inworld_sync.audio.playout import Playout
from inworld_sync.errors import AudioError, ClosedError, ConfigError, LocalProtocolError

if TYPE_CHECKING:
    from typing_extensions import Buffer, Self

    from inworld_sync._native._core import CData

__all__ = ["Mixer"]

# For a read that is under way to end; one takes microseconds.
_TURN_TIMEOUT: Final = 1.0
_TURN_LOOK: Final = 0.001
_PRIORITY_MOST: Final = 1000


class Mixer:
    """
    Adds up to eight playouts.

    Args:
        sample_rate_hz: Of the playouts and of what is read, 8000 to 48000.
        channels: 1 or 2, the same.
        output_format: Of what is read, ``s16`` or ``f32``; the playouts give ``f32``.

    Raises:
        ConfigError: An argument is out of its range.
        ClosedError: By every method but :meth:`close`, once the mixer is closed.

    Thread safety:
        :meth:`read` belongs to one thread at a time, or to a device. All other methods may be
        called from any thread at once.
    """

    # _control serialises everything but reading. _reading is held during a read, and as long as a
    # device is attached; it is never waited for but by close.

    def __init__(
        self, sample_rate_hz: int, channels: int = 1, *, output_format: SampleFormat = "s16"
    ) -> None:
        if output_format not in FORMATS:
            raise ConfigError(
                f"output_format must be one of {', '.join(FORMATS)}, got {output_format!r}"
            )
        made = ffi.new("struct iw_mixer **")
        status = hold.iw_mixer_create(made, sample_rate_hz, channels, FORMATS[output_format])
        if status == hold.IW_BAD_ARGUMENT:
            raise ConfigError(
                "a mixer takes 8000 to 48000 Hz and 1 or 2 channels, got "
                f"{sample_rate_hz!r} Hz and {channels!r}"
            )
        if status != hold.IW_OK:
            raise MemoryError("no memory for a mixer")
        self._core: CData | None = ffi.gc(cast("CData", made[0]), hold.iw_mixer_destroy)
        self._control = threading.Lock()
        self._reading = threading.Lock()
        self._attached = False
        self._sample_rate_hz = sample_rate_hz
        self._channels = channels
        self._frame_bytes = SAMPLE_BYTES[output_format] * channels
        self._voices: list[Playout | None] = [None] * hold.IW_MIXER_VOICES

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(
        self,
        playout: Playout,
        *,
        gain: float = 1.0,
        ducked_gain: float = 1.0,
        priority: int = 0,
    ) -> None:
        """
        Mix a playout in; the mixer reads it from now on.

        Args:
            playout: Of the mixer's rate and channels, with ``f32`` output.
            gain: How loud it is, 0 to 4.
            ducked_gain: A further factor while a playout of a higher priority sounds, and 250 ms
                longer, 0 to 1.
            priority: 0 to 1000, for example 1 for a voice and 0 for its back-channel.

        Raises:
            ConfigError: The playout does not fit, or a number is out of its range.
            LocalProtocolError: Eight playouts are mixed, or something else reads this one.
        """
        if (playout.sample_rate_hz, playout.channels, playout.output_format) != (
            self._sample_rate_hz,
            self._channels,
            "f32",
        ):
            raise ConfigError(
                f"the mixer takes f32 of {self._sample_rate_hz} Hz with {self._channels} "
                f"channels, got {playout.output_format} of {playout.sample_rate_hz} Hz with "
                f"{playout.channels}"
            )
        with self._control:
            core = self._open()
            if None not in self._voices:
                raise LocalProtocolError(
                    f"{len(self._voices)} playouts are mixed: remove one of them first"
                )
            voice = self._voices.index(None)
            self._set_level(voice, gain, ducked_gain, priority)
            _, address = playout.attach()
            self._voices[voice] = playout
            hold.iw_mixer_set(core, voice, ffi.cast("struct iw_playout *", address))

    def level(
        self, playout: Playout, *, gain: float, ducked_gain: float = 1.0, priority: int = 0
    ) -> None:
        """
        Change how loud a playout is; see :meth:`add`. The change is a ramp, not a step.

        Raises:
            ConfigError: A number is out of its range.
            LocalProtocolError: The playout is not mixed.
        """
        with self._control:
            self._open()
            self._set_level(self._voice_of(playout), gain, ducked_gain, priority)

    def remove(self, playout: Playout) -> None:
        """
        Take a playout out; what it still holds may be read from it elsewhere.

        Clear it first if it sounds, else it stops short.

        Raises:
            LocalProtocolError: The playout is not mixed.
        """
        with self._control:
            core = self._open()
            voice = self._voice_of(playout)
            hold.iw_mixer_set(core, voice, ffi.NULL)
            self._wait_for_turn(core)
            self._voices[voice] = None
            playout.detach()

    def read(self, out: Buffer, *, now_ns: int | None = None) -> int:
        """
        Fill *out* with the next sound of all playouts. Never waits; see :meth:`Playout.read`.

        Raises:
            AudioError: *out* is no whole number of frames.
            LocalProtocolError: Another thread or a device is reading.
        """
        dst = ffi.from_buffer(U8, out, True)
        frames, rest_bytes = divmod(len(dst), self._frame_bytes)
        if rest_bytes:
            room_bytes = len(dst)
            del dst  # a traceback would keep the buffer locked
            raise AudioError(
                f"a frame is {self._frame_bytes} bytes, got room for {room_bytes}: give room for "
                "whole frames"
            )
        now_ns = hold.iw_playout_clock_ns() if now_ns is None else now_ns
        self._begin_reading()
        try:
            return hold.iw_mixer_pull(self._open(), dst, frames, now_ns)
        finally:
            self._reading.release()

    def attach(self) -> tuple[int, int]:
        """
        Give the reading to a device's callback in C, until :meth:`detach`.

        Returns:
            The addresses of the function ``iw_mixer_pull`` of ``csrc/include/iw_playout.h``, and
            of the ``struct iw_mixer`` that it takes first. They are good until :meth:`detach`.

        Raises:
            LocalProtocolError: Another thread or a device is reading.
        """
        self._begin_reading()
        try:
            core = self._open()
        except ClosedError:
            self._reading.release()
            raise
        self._attached = True
        function = ffi.addressof(hold, "iw_mixer_pull")
        return int(ffi.cast("uintptr_t", function)), int(ffi.cast("uintptr_t", core))

    def detach(self) -> None:
        """
        Take the reading back. The device must have stopped calling before.

        Does nothing when no device is attached.
        """
        with self._control:
            if self._attached:
                self._attached = False
                self._reading.release()

    def close(self) -> None:
        """
        Let all playouts go and free the rest. May be called twice.

        Raises:
            LocalProtocolError: A device is attached, or a read does not end.
        """
        with self._control:
            if self._core is None:
                return
            if self._attached or not self._reading.acquire(timeout=_TURN_TIMEOUT):
                raise LocalProtocolError("a device reads this mixer: stop it and detach first")
            core, self._core = self._core, None
            ffi.release(core)
            for playout in self._voices:
                if playout is not None:
                    playout.detach()
            self._voices = [None] * len(self._voices)
            self._reading.release()

    # ---- inside ------------------------------------------------------------------------------

    def _open(self) -> CData:
        if self._core is None:
            raise ClosedError("the mixer is closed: make another one")
        return self._core

    def _begin_reading(self) -> None:
        if not self._reading.acquire(blocking=False):
            raise LocalProtocolError("one thread or device reads a mixer, another one does now")

    def _voice_of(self, playout: Playout) -> int:
        for voice, mixed in enumerate(self._voices):
            if mixed is playout:
                return voice
        raise LocalProtocolError(f"{playout!r} is not mixed: add it first")

    def _set_level(self, voice: int, gain: float, ducked_gain: float, priority: int) -> None:
        known = 0 <= priority <= _PRIORITY_MOST
        if not known or hold.iw_mixer_level(self._open(), voice, gain, ducked_gain, priority):
            raise ConfigError(
                "gain must be 0 to 4, ducked_gain 0 to 1 and priority 0 to "
                f"{_PRIORITY_MOST}, got {gain!r}, {ducked_gain!r} and {priority!r}"
            )

    def _wait_for_turn(self, core: CData) -> None:
        """A read that began before may still use what was taken out."""
        turn = hold.iw_mixer_turn(core)
        deadline = time.monotonic() + _TURN_TIMEOUT
        while turn % 2 and hold.iw_mixer_turn(core) == turn:
            if time.monotonic() > deadline:
                raise LocalProtocolError("the device stands still within a read: stop it first")
            time.sleep(_TURN_LOOK)
