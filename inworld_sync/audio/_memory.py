"""
How Python memory reaches the C core.

Imported by the modules of :mod:`inworld_sync.audio` alone. ``bytes`` pass to C as they are; any
other object lends its buffer for the call. Nothing is kept after a call, and no lock is needed.

The calls of telephony are 160 bytes long, and there each Python call on the way costs as much as
the work in C: so the hot functions here and beside test types themselves, in one line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, cast

from inworld_sync._native import ffi, lib
from inworld_sync.errors import AudioError

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from inworld_sync._native._core import CData

__all__ = [
    "U8",
    "Into",
    "ToBytes",
    "as_bytes",
    "cut_sample",
    "new_object",
    "new_output",
    "readable",
    "sample_functions",
    "too_small",
    "writable",
]

U8: Final = ffi.typeof("uint8_t[]")
"""What ``from_buffer`` makes of any buffer: bytes."""

# Every byte is written before it is read, so clearing would be wasted.
_allocate: Final = ffi.new_allocator(should_clear_after_alloc=False)
_from_buffer: Final = ffi.from_buffer
# Chars, since the quickest way back to bytes takes nothing else.
_CHARS: Final = ffi.typeof("char[]")

as_bytes: Final = ffi.unpack
"""New bytes from the first so many bytes of what :func:`new_output` gave."""

_SAMPLE_BYTES: Final = {"mu-law": 1, "A-law": 1, "s16": 2, "f32": 4}

_Function: TypeAlias = "Callable[[CData, bytes | CData, int], None]"


def readable(data: Buffer) -> bytes | CData:
    """
    What a ``const`` pointer of the core takes for *data*; its ``len`` is in bytes.

    Raises:
        TypeError: *data* has no buffer, for example a str.
        BufferError: The buffer is not contiguous.
    """
    return data if type(data) is bytes else _from_buffer(U8, data)


def writable(out: Buffer) -> CData:
    """
    What a pointer of the core takes for *out*; its ``len`` is in bytes.

    Raises:
        TypeError: *out* has no buffer, or may only be read.
        BufferError: The buffer is not contiguous, or may only be read.
    """
    return _from_buffer(U8, out, True)


def new_output(size_bytes: int) -> CData:
    """Memory for a result that :func:`as_bytes` then turns into bytes."""
    return _allocate(_CHARS, size_bytes)


def new_object(kind: str, called: str, *arguments: object) -> CData:
    """
    Make an object of the core, which is freed with the last reference to it.

    Args:
        kind: As in the names of the core's functions.
        called: What it is called in an error.
        arguments: What its ``create`` function takes behind the object.

    Raises:
        AudioError: The core refuses an argument.
        MemoryError: There is no memory for it.
    """
    place = ffi.new(f"struct iw_{kind} **")
    status = getattr(lib, f"iw_{kind}_create")(place, *arguments)
    if status == lib.IW_NO_MEMORY:
        raise MemoryError(f"no memory for {called}")
    if status != lib.IW_OK:
        raise AudioError(f"{called}: {ffi.string(lib.iw_status_text(status)).decode()}")
    return ffi.gc(cast("CData", place[0]), getattr(lib, f"iw_{kind}_destroy"))


def cut_sample(name: str, sample_bytes: int, size_bytes: int) -> AudioError:
    """The error for audio that ends inside a sample."""
    return AudioError(
        f"{name} audio is {sample_bytes} bytes a sample, got {size_bytes} bytes: "
        "the last sample is cut",
        offset_bytes=size_bytes - size_bytes % sample_bytes,
    )


def too_small(needed_bytes: int, room_bytes: int) -> AudioError:
    """The error for an output buffer that does not hold the result."""
    return AudioError(f"the output needs {needed_bytes} bytes, got a buffer of {room_bytes}")


class ToBytes(Protocol):
    """A function from samples to new bytes."""

    def __call__(self, data: Buffer) -> bytes: ...


class Into(Protocol):
    """A function from samples into the front of an output; it returns the bytes written."""

    def __call__(self, data: Buffer, out: Buffer) -> int: ...


def sample_functions(
    module: str, name: str, function: _Function, source: str, target: str, doc: str
) -> tuple[ToBytes, Into]:
    """
    Make the two public faces of one function of the core over samples.

    They are made here and not called through another function, for that costs a quarter of a
    call of 20 ms of sound.

    Args:
        module: Where they are defined.
        name: The first one's; the second one's ends in ``_into``.
        function: ``f(dst, src, samples)`` of the core.
        source: The format of the input, as it is called in an error.
        target: The format of the output.
        doc: What they do.

    Returns:
        A function from data to new bytes, and one from data into the front of an output, which
        returns the bytes written. Both may be called from any thread at once.
    """
    src_bytes, dst_bytes = _SAMPLE_BYTES[source], _SAMPLE_BYTES[target]

    def to_bytes(data: Buffer) -> bytes:
        src = data if type(data) is bytes else _from_buffer(U8, data)
        src_size_bytes = len(src)
        samples = src_size_bytes // src_bytes
        if samples * src_bytes != src_size_bytes:
            del src  # a traceback would keep the buffer locked
            raise cut_sample(source, src_bytes, src_size_bytes)
        size_bytes = samples * dst_bytes
        dst = _allocate(_CHARS, size_bytes)
        function(dst, src, samples)
        return as_bytes(dst, size_bytes)

    def into(data: Buffer, out: Buffer) -> int:
        src = data if type(data) is bytes else _from_buffer(U8, data)
        src_size_bytes = len(src)
        dst = _from_buffer(U8, out, True)
        room_bytes = len(dst)
        samples = src_size_bytes // src_bytes
        size_bytes = samples * dst_bytes
        error = None
        if samples * src_bytes != src_size_bytes:
            error = cut_sample(source, src_bytes, src_size_bytes)
        elif size_bytes > room_bytes:
            error = too_small(size_bytes, room_bytes)
        if error:
            del dst, src
            raise error
        function(dst, src, samples)
        return size_bytes

    raises = "\n\nRaises:\n    AudioError: "
    cut = f"The bytes are no multiple of {src_bytes}, so the last sample is cut"
    does = f"Do what :func:`{name}` does at the front of *out*, and return the bytes written."
    to_bytes.__doc__ = doc if src_bytes == 1 else f"{doc}{raises}{cut}.\n"
    into.__doc__ = f"{does}{raises}As :func:`{name}`, or *out* is too small; nothing was written.\n"
    for made, made_name in ((to_bytes, name), (into, f"{name}_into")):
        made.__module__ = module
        made.__name__ = made.__qualname__ = made_name
    return to_bytes, into
