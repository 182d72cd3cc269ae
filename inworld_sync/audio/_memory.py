"""
How Python memory reaches the C core, and which build of it does the work.

Imported by the modules of :mod:`inworld_sync.audio` alone. ``bytes`` pass to C as they are; any
other object lends its buffer for the call. Nothing is kept after a call, and no lock is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from inworld_sync._native import ffi, hold, release
from inworld_sync.errors import AudioError

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from inworld_sync._native._core import CData, Lib

__all__ = ["RELEASE_FROM_BYTES", "U8", "SampleKernel", "core_for", "new_output", "readable"]

# Below this, letting the GIL go and taking it back costs more than the work: with 20 threads on
# two cores, held calls do 1.5 times as many at 20 KB and half as many at 1 MB.
RELEASE_FROM_BYTES: Final = 256 * 1024

U8: Final = ffi.typeof("uint8_t[]")

# Every byte is written before it is read, so clearing would be wasted.
_allocate: Final = ffi.new_allocator(should_clear_after_alloc=False)

_Function: TypeAlias = "Callable[[CData, bytes | CData, int], None]"


def core_for(size_bytes: int) -> Lib:
    """The build of the core for a call over so many bytes."""
    return hold if size_bytes < RELEASE_FROM_BYTES else release


def readable(data: Buffer) -> bytes | CData:
    """
    What a ``const`` pointer of the core takes for *data*; its ``len`` is in bytes.

    Raises:
        TypeError: *data* has no buffer, for example a str.
        BufferError: The buffer is not contiguous.
    """
    return data if type(data) is bytes else ffi.from_buffer(U8, data)


def new_output(size_bytes: int) -> CData:
    """Memory for a result that ``ffi.buffer(memory, length)[:]`` then turns into bytes."""
    return _allocate(U8, size_bytes)


class SampleKernel:
    """
    One function of the core over samples, that is ``f(dst, src, samples)``, and its two faces.

    Thread safety: both methods may be called from any thread at once.
    """

    __slots__ = ("_dst_bytes", "_hold", "_name", "_release", "_src_bytes")

    def __init__(
        self, name: str, held: _Function, released: _Function, *, src_bytes: int, dst_bytes: int
    ) -> None:
        """
        Name the function of both builds, and the bytes of a sample on either side.

        Args:
            name: What the input is called in an error.
            held: The function of ``hold``.
            released: The function of ``release``.
            src_bytes: Bytes of a sample in the input.
            dst_bytes: Bytes of a sample in the output.
        """
        self._name = name
        self._hold = held
        self._release = released
        self._src_bytes = src_bytes
        self._dst_bytes = dst_bytes

    def to_bytes(self, data: Buffer) -> bytes:
        """Convert *data* to new bytes."""
        src = readable(data)
        samples = self._samples_in(len(src))
        size_bytes = samples * self._dst_bytes
        dst = new_output(size_bytes)
        self._function_for(size_bytes)(dst, src, samples)
        return ffi.buffer(dst, size_bytes)[:]

    def into(self, data: Buffer, out: Buffer) -> int:
        """Convert *data* into the front of *out* and return the bytes written."""
        src = readable(data)
        samples = self._samples_in(len(src))
        size_bytes = samples * self._dst_bytes
        dst = ffi.from_buffer(U8, out, True)
        room_bytes = len(dst)
        if room_bytes < size_bytes:
            del dst, src  # a traceback would keep both buffers locked
            raise AudioError(f"the output needs {size_bytes} bytes, got a buffer of {room_bytes}")
        self._function_for(size_bytes)(dst, src, samples)
        return size_bytes

    def _samples_in(self, size_bytes: int) -> int:
        samples, left_bytes = divmod(size_bytes, self._src_bytes)
        if left_bytes:
            raise AudioError(
                f"{self._name} audio is {self._src_bytes} bytes a sample, got {size_bytes} bytes: "
                "the last sample is cut",
                offset_bytes=size_bytes - left_bytes,
            )
        return samples

    def _function_for(self, size_bytes: int) -> _Function:
        return self._hold if size_bytes < RELEASE_FROM_BYTES else self._release
