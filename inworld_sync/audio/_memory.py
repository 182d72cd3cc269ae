"""
Passes Python memory to the C core.

Only the modules of :mod:`inworld_sync.audio` import this module. ``bytes`` are passed to C
directly; the buffer of any other object is locked for the duration of the call. The core keeps no
reference after a call, and no lock is needed.

Telephone audio comes in calls of 160 bytes. At this size each Python call costs as much as the
work in C, so the hot functions of this package check types inline, in one line.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, cast

from inworld_sync._native import ffi, lib
from inworld_sync.audio.samples import DIRECT, AudioData, Form, contiguous_samples
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
    "readable_samples",
    "sample_functions",
    "too_small",
    "writable",
]

U8: Final = ffi.typeof("uint8_t[]")
"""The type for ``from_buffer``. With this type, the ``len`` of the result is in bytes."""

# Every byte is written before it is read, so the memory need not be cleared.
_allocate: Final = ffi.new_allocator(should_clear_after_alloc=False)
_from_buffer: Final = ffi.from_buffer
# The type is char, since the fastest conversion to bytes accepts only this type.
_CHARS: Final = ffi.typeof("char[]")

# A partial of a function in C is called without a Python function.
new_output: Final[Callable[[int], CData]] = partial(_allocate, _CHARS)
"""Allocate memory of a size in bytes for a result, which :func:`as_bytes` converts to bytes."""

as_bytes: Final = ffi.unpack
"""Return a new bytes object with the first bytes of memory from :func:`new_output`."""

_SAMPLE_BYTES: Final = {"mu-law": 1, "A-law": 1, "s16": 2, "f32": 4}

_Function: TypeAlias = "Callable[[CData, bytes | CData, int], None]"


def readable(data: object) -> bytes | CData:
    """
    Return *data* as an argument for a ``const`` pointer of the core. The ``len`` of the result is
    in bytes.

    Raises:
        AudioError: *data* has no contiguous buffer, for example a str.
    """
    try:
        return data if isinstance(data, bytes) else _from_buffer(U8, cast("Buffer", data))
    except (TypeError, ValueError, BufferError) as error:
        raise AudioError(
            f"expected bytes or another contiguous buffer, got {type(data).__name__}"
        ) from error


def readable_samples(data: Any, source: str, channels: int = 1) -> bytes | CData:
    """
    Return samples in the form that a ``const`` pointer of the core accepts.

    Args:
        data: Samples of the format *source* as bytes, or an array, which is converted if necessary.
        source: ``s16``, ``f32``, ``mu-law`` or ``A-law``.
        channels: The number of channels, for arrays with two dimensions.

    Raises:
        AudioError: *data* is neither bytes nor an array of samples.
    """
    kind = type(data)
    if kind is bytes:
        return data  # type: ignore[no-any-return]
    direct = DIRECT.get(source)
    if direct is None:
        return _readable_codes(data, source)
    # These checks are enough for the common forms: raw bytes, and arrays of the right type.
    try:
        if kind is memoryview:
            if data.format == "B" or (data.format in direct and data.ndim == 1):
                return _from_buffer(U8, data)
        elif kind is bytearray or (data.dtype in direct and data.ndim == 1):
            return _from_buffer(U8, data)
    except (AttributeError, TypeError, ValueError, BufferError):
        pass  # data is of another kind, or has gaps
    return _from_buffer(U8, contiguous_samples(data, cast("Form", source), channels))


def _readable_codes(data: AudioData, source: str) -> bytes | CData:
    found = readable(data)
    # Each code is one byte, so wider items are not codes.
    if memoryview(cast("Buffer", data)).itemsize != 1:
        raise AudioError(f"{source} audio must be bytes, got {type(data).__name__} of wider items")
    return found


def writable(out: Buffer) -> CData:
    """
    Return *out* in the form that a pointer of the core accepts. The ``len`` of the result is in
    bytes.

    Raises:
        AudioError: *out* has no contiguous buffer, or is read-only.
    """
    try:
        return _from_buffer(U8, out, True)
    except (TypeError, ValueError, BufferError) as error:
        raise AudioError(
            f"the output must be a writable contiguous buffer, got {type(out).__name__}"
        ) from error


def new_object(kind: str, called: str, *arguments: object) -> CData:
    """
    Create an object of the core. The object is freed when no reference to the object is left.

    Args:
        kind: The kind in the names of the core's functions, such as ``playout``.
        called: The name of the object in an error message.
        arguments: The arguments of the ``create`` function after the object.

    Raises:
        AudioError: The core refuses an argument.
        MemoryError: There is not enough memory.
    """
    place = ffi.new(f"struct iw_{kind} **")
    status = getattr(lib, f"iw_{kind}_create")(place, *arguments)
    if status == lib.IW_NO_MEMORY:
        raise MemoryError(f"no memory for {called}")
    if status != lib.IW_OK:
        raise AudioError(f"{called}: {ffi.string(lib.iw_status_text(status)).decode()}")
    return ffi.gc(cast("CData", place[0]), getattr(lib, f"iw_{kind}_destroy"))


def cut_sample(name: str, sample_bytes: int, size_bytes: int) -> AudioError:
    """Return the error for audio that ends inside a sample."""
    return AudioError(
        f"{name} audio has {sample_bytes} bytes per sample, got {size_bytes} bytes: "
        "the last sample is cut",
        offset_bytes=size_bytes - size_bytes % sample_bytes,
    )


def too_small(needed_bytes: int, room_bytes: int) -> AudioError:
    """Return the error for an output buffer that is too small for the result."""
    return AudioError(f"the output needs {needed_bytes} bytes, got a buffer of {room_bytes}")


class ToBytes(Protocol):
    """A function that converts samples to new bytes."""

    def __call__(self, data: AudioData) -> bytes: ...


class Into(Protocol):
    """A function that writes its result to the start of *out* and returns the bytes written."""

    def __call__(self, data: AudioData, out: Buffer) -> int: ...


def sample_functions(
    module: str, name: str, function: _Function, source: str, target: str, doc: str
) -> tuple[ToBytes, Into]:
    """
    Create the two public functions for one sample conversion of the core.

    The functions are created here and do not call a shared function, because one more Python call
    would make a call with 20 ms of audio slower by a quarter.

    Args:
        module: The name of the module that defines the two functions.
        name: The name of the first function. The name of the second function has ``_into`` at its
            end.
        function: ``f(dst, src, samples)`` of the core.
        source: The format of the input, as an error message names it.
        target: The format of the output.
        doc: The docstring of the first function.

    Returns:
        A function that returns new bytes, and a function that writes to the start of an output
        buffer and returns the bytes written. Any thread may call both functions at any time.
    """
    src_bytes, dst_bytes = _SAMPLE_BYTES[source], _SAMPLE_BYTES[target]

    def to_bytes(data: AudioData) -> bytes:
        src: Any = data
        kind = type(data)
        if kind is not bytes:
            src = _from_buffer(U8, src) if kind is bytearray else readable_samples(data, source)
        src_size_bytes = len(src)
        samples = src_size_bytes // src_bytes
        if samples * src_bytes != src_size_bytes:
            del src  # a traceback would keep the buffer locked
            raise cut_sample(source, src_bytes, src_size_bytes)
        size_bytes = samples * dst_bytes
        dst = _allocate(_CHARS, size_bytes)
        function(dst, src, samples)
        return as_bytes(dst, size_bytes)

    def into(data: AudioData, out: Buffer) -> int:
        src: Any = data
        kind = type(data)
        if kind is not bytes:
            src = _from_buffer(U8, src) if kind is bytearray else readable_samples(data, source)
        src_size_bytes = len(src)
        dst = _from_buffer(U8, out, True) if type(out) is bytearray else writable(out)
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
    cut = f"The size is not a multiple of {src_bytes} bytes, so the last sample is cut"
    does = f"Do the same as :func:`{name}`, but write to *out*. Return the bytes written."
    to_bytes.__doc__ = doc if src_bytes == 1 else f"{doc}{raises}{cut}.\n"
    into.__doc__ = f"{does}{raises}{cut}, or *out* is too small; nothing was written.\n"
    for made, made_name in ((to_bytes, name), (into, f"{name}_into")):
        made.__module__ = module
        made.__name__ = made.__qualname__ = made_name
    return to_bytes, into
