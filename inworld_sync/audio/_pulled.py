"""Defines the base class of playouts and mixers, from which one thread or device reads audio."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from inworld_sync._native import ffi, lib
from inworld_sync.audio._arguments import require_time_ns
from inworld_sync.audio._memory import new_object, writable
from inworld_sync.audio._playout_config import SAMPLE_BYTES, SampleFormat
from inworld_sync.audio.closing import Closing
from inworld_sync.errors import AudioError, ClosedError, LocalProtocolError
from inworld_sync.locks import make_lock

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from inworld_sync._native._core import CData

__all__ = ["Pulled"]


class Pulled(Closing):
    """
    An object of the core from which one reader takes audio.

    Attributes:
        sample_rate_hz: Samples per second of each channel.
        channels: Samples per frame.

    Thread safety: one thread at a time, or a device, may call :meth:`read`. Any thread may call
    all other methods at any time.
    """

    # _control serializes everything except reading. _reading is held while the core reads, and the
    # core never waits. No lock is held while user code runs.

    def __init__(
        self, kind: str, config: Mapping[str, object], output_format: SampleFormat
    ) -> None:
        """
        Create an object of the core.

        Args:
            kind: ``playout`` or ``mixer``, as in the names of the core's functions.
            config: The fields of the config struct, which the caller has checked.
            output_format: The sample format of the audio that is read.
        """
        settings = ffi.new(f"struct iw_{kind}_config *", config)
        self._kind = kind
        self._core: CData | None = new_object(kind, f"a {kind}", settings)
        self._pull = lib.iw_playout_pull if kind == "playout" else lib.iw_mixer_pull
        self.sample_rate_hz: Final[int] = settings.sample_rate_hz
        self.channels: Final[int] = settings.channels
        self._output_frame_bytes = SAMPLE_BYTES[output_format] * self.channels
        self._control = make_lock()
        self._reading = make_lock()
        # detach() changes this value without a lock, so detach() may run in a finalizer.
        self._is_attached = False

    def read(self, out: Buffer, *, now_ns: int | None = None) -> int:
        """
        Fill *out* with the next audio. Never waits.

        Args:
            out: Any writable contiguous buffer of whole frames in the output format.
            now_ns: The time at which the first frame is played, on the monotonic clock; None
                means now.

        Returns:
            How many frames are audio. The other frames are silence.

        Raises:
            AudioError: *out* is not a writable contiguous buffer of whole frames.
            ConfigError: *now_ns* is not a time.
            LocalProtocolError: Another thread or a device is reading.
        """
        if now_ns is not None:
            require_time_ns(now_ns)
        dst = writable(out)
        frames, rest_bytes = divmod(len(dst), self._output_frame_bytes)
        if rest_bytes:
            room_bytes = len(dst)
            del dst  # a traceback would keep the buffer locked
            raise AudioError(
                f"a frame has {self._output_frame_bytes} bytes, got a buffer of {room_bytes}: pass "
                "a buffer for whole frames"
            )
        now_ns = lib.iw_playout_clock_ns() if now_ns is None else now_ns
        if self._reading.locked():
            raise self._busy_error()
        with self._reading:
            return self._pull(self._open_for_reading(), dst, frames, now_ns)

    def attach(self) -> tuple[int, int]:
        """
        Let the C callback of a device read, until :meth:`detach`.

        Returns:
            The address of the function that reads (``iw_playout_pull`` or ``iw_mixer_pull`` of
            ``csrc/include``), and the address of the object that is the first argument of this
            function. Both addresses are valid until :meth:`detach`.

        Raises:
            LocalProtocolError: Another thread or a device is reading.
        """
        with self._reading:
            core = self._open_for_reading()
            self._is_attached = True
        function = ffi.addressof(lib, f"iw_{self._kind}_pull")
        return int(ffi.cast("uintptr_t", function)), int(ffi.cast("uintptr_t", core))

    def detach(self) -> None:
        """
        End the reading by a device. The device must have stopped before this call.

        Does nothing if no device is attached.
        """
        self._is_attached = False

    def close(self) -> None:
        """
        Free all memory. May be called more than once.

        Raises:
            LocalProtocolError: A device is attached.
        """
        with self._control, self._reading:
            if self._core is None:
                return
            if self._is_attached:
                raise LocalProtocolError(
                    f"a device reads this {self._kind}: stop the device and call detach() first"
                )
            core, self._core = self._core, None
            try:
                ffi.release(core)
            finally:
                self._let_go()

    def _let_go(self) -> None:
        """Do what a subclass needs after the object of the core was freed."""

    def _open(self) -> CData:
        if self._core is None:
            raise ClosedError(f"the {self._kind} is closed: create a new one")
        return self._core

    def _open_for_reading(self) -> CData:
        if self._is_attached:
            raise self._busy_error()
        return self._open()

    def _busy_error(self) -> LocalProtocolError:
        return LocalProtocolError(
            f"only one thread or device may read a {self._kind} at a time, and another one is "
            "reading it now"
        )
