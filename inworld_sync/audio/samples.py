"""
Converts audio in memory, as bytes or arrays, to contiguous 16-bit or float samples.

Every function of the package that accepts audio uses :func:`contiguous_samples`, so all functions
follow the same rules:

- ``bytes``, ``bytearray``, ``memoryview`` and other buffers of bytes are raw samples, which are
  used unchanged. Raw samples are 16-bit little-endian, unless a function documents another format.
- An array may have int16, int32, uint8 (0 to 255, silence is 128), float16, float32 or float64
  samples in either byte order and with any strides. Floats are in [-1, 1].
- The shape of an array is (frames,) with interleaved channels, (frames, channels) or
  (channels, frames); see :func:`frames_of`.

Thread safety: any thread may call every function at any time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from inworld_sync._native import ffi, lib
from inworld_sync.errors import AudioError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from typing_extensions import Buffer

__all__ = [
    "DIRECT",
    "MAX_CHANNELS",
    "MAX_HZ",
    "AudioData",
    "ChannelOrder",
    "Form",
    "check_floats",
    "contiguous_samples",
    "converted",
    "frames_of",
    "is_array",
    "raw_bytes",
]

AudioData: TypeAlias = "Buffer | npt.NDArray[np.int16 | np.int32 | np.uint8 | np.floating]"
"""Raw samples as bytes, or an array of samples."""

Form: TypeAlias = Literal["s16", "f32"]

MAX_CHANNELS: Final = 64
MAX_HZ: Final = 768_000

_U8: Final = ffi.typeof("uint8_t[]")
_BYTES: Final = (bytes, bytearray, memoryview)
_BYTE_FORMATS: Final = frozenset({"B", "b", "c"})
DIRECT: Final[dict[str, set[object]]] = {"s16": {"h", "<h"}, "f32": {"f", "<f"}}
"""
The types of arrays that need no conversion. A type is a buffer format in native byte order, which
is little-endian on all platforms, or a type of numpy. A type of numpy is added when the type is
first seen, because computing the name of the type each time would take long.
"""
# All types of numpy that were accepted.
_seen_types: set[object] = set()
# The largest accepted float. Floats of other programs exceed full scale a little, but integers in a
# float array exceed full scale by far.
_LOUDEST_FLOAT: Final = 16.0
_ACCEPTED: Final = "int16, int32, uint8, or floats in [-1, 1]"


def is_array(audio: object) -> bool:
    """Return whether *audio* is an array of samples or another buffer, but not bytes."""
    if isinstance(audio, _BYTES):
        return isinstance(audio, memoryview) and audio.format not in _BYTE_FORMATS
    if hasattr(audio, "__array__") or hasattr(audio, "__array_interface__"):
        return True
    try:
        return memoryview(audio).format not in _BYTE_FORMATS  # type: ignore[arg-type]
    except (TypeError, ValueError, BufferError):
        return False


def raw_bytes(audio: object) -> bytes | bytearray | memoryview | None:
    """Return the contiguous bytes of a buffer of bytes; None for other objects."""
    if isinstance(audio, (bytes, bytearray)):
        return audio
    if not isinstance(audio, memoryview) and hasattr(audio, "__array__"):
        return None
    try:
        view = memoryview(audio)  # type: ignore[arg-type]
    except (TypeError, ValueError, BufferError):
        return None
    if view.format not in _BYTE_FORMATS:
        return None
    return view.cast("B") if view.c_contiguous else view.tobytes()


class ChannelOrder:
    """
    Records which dimension of the arrays of one stream has the channels.

    A short array at the end of a stream may be ambiguous. Such an array has the order of the
    earlier arrays.

    Attributes:
        axis: The dimension of the channels, 0 or 1; None until the shape of an array shows the
            dimension.
    """

    def __init__(self) -> None:
        self.axis: int | None = None


def contiguous_samples(
    audio: Any,
    form: Form,
    channels: int = 1,
    *,
    strict: bool = False,
    order: ChannelOrder | None = None,
) -> bytes | bytearray | memoryview:
    """
    Return *audio* as contiguous little-endian interleaved samples.

    Args:
        audio: Raw samples in *form* as bytes, which are returned unchanged; or an array.
        form: The sample format of the result, ``s16`` or ``f32``.
        channels: The number of channels of the result. If this number is 1, an array with more
            channels is mixed.
        strict: Whether to refuse NaN, infinities, and floats far beyond full scale. Otherwise NaN
            becomes 0, and other values are clipped.
        order: The channel order of the stream that the array belongs to.

    Raises:
        AudioError: *audio* is neither bytes nor an array; its type of sample is not accepted; or
            its shape is ambiguous or does not fit *channels*.
    """
    kind = type(audio)
    if kind is bytes or kind is bytearray:
        return audio  # type: ignore[no-any-return]
    if kind is memoryview:
        if audio.format == "B" and audio.ndim == 1 and audio.c_contiguous:
            return audio  # type: ignore[no-any-return]
    elif _is_direct(audio, form) and (form == "s16" or not strict):
        try:
            return memoryview(audio).cast("B")
        except (TypeError, ValueError, BufferError):
            pass  # the array has gaps, or no buffer
    raw = raw_bytes(audio)
    if raw is not None:
        return raw
    return converted(frames_of(audio, channels, order), form, channels, strict=strict)


def converted(
    frames: npt.NDArray[Any], form: Form, channels: int, *, strict: bool = False
) -> memoryview:
    """Convert the result of :func:`frames_of`; see :func:`contiguous_samples`."""
    if strict:
        check_floats(frames)
    samples = _to_s16(frames) if form == "s16" else _to_f32(frames)
    if samples.ndim == 2 and samples.shape[1] != channels:
        # frames_of returns more channels than requested only if one channel is requested.
        mixed = samples.mean(axis=1)
        samples = _rounded(mixed) if form == "s16" else mixed.astype("<f4")
    return memoryview(samples.tobytes())


def frames_of(
    audio: object, channels: int = 1, order: ChannelOrder | None = None
) -> npt.NDArray[Any]:
    """
    Return an array of samples. The shape is (samples,) for interleaved audio, otherwise (frames,
    channels).

    The dimension whose size is *channels* has the channels. If *channels* is 1 and no dimension has
    the size 1, the dimension with a size of at most 64 has the channels.

    Args:
        audio: An array of samples.
        channels: The declared number of channels.
        order: The order of earlier arrays, which is used for an ambiguous shape.

    Raises:
        AudioError: *audio* is not an array of samples; or both dimensions may have the channels, or
            neither can have them.
    """
    array = _array(audio)
    if array.ndim == 1 or (array.ndim == 2 and not array.size):
        return array.reshape(-1)
    if array.ndim != 2:
        raise AudioError(
            "an array of audio must have the shape (frames,), (frames, channels) or "
            f"(channels, frames), got {array.shape}"
        )
    first, second = (_may_be_channels(size, array.shape, channels) for size in array.shape)
    if not first and not second:
        raise AudioError(
            f"an array of {channels}-channel audio must have the shape (frames, {channels}) or "
            f"({channels}, frames), got {array.shape}"
        )
    axis: int | None = int(second)
    if first and second and array.shape != (1, 1):
        axis = order.axis if order is not None else None
    elif order is not None:
        order.axis = axis
    if axis is None:
        raise AudioError(
            f"an array of the shape {array.shape} is ambiguous, it may be (frames, channels) or "
            "(channels, frames): pass the number of channels, or a one-dimensional array of "
            "interleaved samples"
        )
    return array if axis else array.T


def _may_be_channels(size: int, shape: tuple[int, ...], channels: int) -> bool:
    if channels == 1 and 1 not in shape:
        return size <= MAX_CHANNELS
    return size == channels


def _array(audio: object) -> npt.NDArray[Any]:
    """Return *audio* as an array, or raise an error that names the type of *audio*."""
    if isinstance(audio, str):
        raise AudioError(
            f"audio must be bytes or an array, got a text of {len(audio)} characters: "
            "base64 must be decoded first"
        )
    if not is_array(audio):
        raise AudioError(
            f"audio must be bytes or an array of {_ACCEPTED}, got {type(audio).__name__}"
        )
    import numpy as np

    try:
        array = np.asarray(audio)
    except Exception as error:  # any error of the array's library
        raise AudioError(
            f"the {type(audio).__name__} cannot be read as an array: {error}"
        ) from error
    if array.dtype in _seen_types:
        return array
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind == "f" or (kind == "i" and size in (2, 4)) or (kind == "u" and size == 1):
        for form, name in (("s16", "<i2"), ("f32", "<f4")):
            if array.dtype.str == name:
                DIRECT[form].add(array.dtype)
        _seen_types.add(array.dtype)
        return array
    raise AudioError(f"an array must hold {_ACCEPTED}, got {array.dtype}")


def _is_direct(audio: object, form: Form) -> bool:
    """Return whether an array has one dimension and samples of *form* in native byte order."""
    direct = DIRECT[form]
    try:
        return audio.dtype in direct and audio.ndim == 1  # type: ignore[attr-defined]
    except (AttributeError, TypeError):
        pass
    try:
        view = memoryview(audio)  # type: ignore[arg-type]
    except (TypeError, ValueError, BufferError):
        return False
    return view.format in direct and view.ndim == 1


def _to_s16(frames: npt.NDArray[Any]) -> npt.NDArray[np.int16]:
    if frames.dtype.kind == "u":
        return ((frames.astype("<i2") - 128) << 8).astype("<i2")
    if frames.dtype.kind == "i":
        return (
            frames.astype("<i2", copy=False)
            if frames.dtype.itemsize == 2
            else _rounded(frames / 65536.0)
        )
    import numpy as np

    if frames.dtype.itemsize > 4:
        with np.errstate(over="ignore"):
            return _rounded(frames * 32768.0)
    floats = np.ascontiguousarray(frames, "<f4").data
    pcm: npt.NDArray[np.int16] = np.empty(frames.shape, "<i2")
    target, source = ffi.from_buffer(_U8, pcm.data, True), ffi.from_buffer(_U8, floats)
    lib.iw_pcm_s16_from_f32(target, source, pcm.size)
    return pcm


def _to_f32(frames: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    if frames.dtype.kind == "f":
        import numpy as np

        # A float64 beyond the range of float32 becomes infinite, and is clipped later.
        with np.errstate(over="ignore"):
            return frames.astype("<f4", copy=False)
    if frames.dtype.kind == "u":
        return ((frames.astype("<f4") - 128) / 128).astype("<f4")
    return (frames / 2.0 ** (8 * frames.dtype.itemsize - 1)).astype("<f4")


def _rounded(samples: npt.NDArray[Any]) -> npt.NDArray[np.int16]:
    """Round to 16-bit samples and clip them. Halves are rounded to even, and NaN becomes 0."""
    import numpy as np

    held: npt.NDArray[Any] = np.nan_to_num(np.rint(samples).clip(-32768, 32767), copy=False)
    return held.astype("<i2")


def check_floats(frames: npt.NDArray[Any]) -> None:
    """Raise `AudioError` for NaN, infinities, and floats far beyond full scale."""
    if frames.dtype.kind != "f":
        return
    import numpy as np

    # This comparison is false for NaN too.
    if not frames.size or max(frames.max(), -frames.min()) <= _LOUDEST_FLOAT:
        return
    finite = np.isfinite(frames)
    if not finite.all():
        at = int(np.flatnonzero(~finite)[0])
        raise AudioError(f"float samples must be finite, got {frames.flat[at]} at sample {at}")
    loudest = float(np.abs(frames).max())
    raise AudioError(
        f"float samples must be in [-1, 1], got {loudest:g}: divide by 32768, or pass int16"
    )
