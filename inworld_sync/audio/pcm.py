r"""
Converts between 16-bit integers and 32-bit floats, swaps the bytes of samples, and joins samples
that are cut between chunks.

Samples are little-endian and interleaved. Every function accepts bytes in its input format, or an
array of any type that :mod:`inworld_sync.audio.samples` describes. The input format is the format
after ``from`` in the name; for :func:`swap_bytes`, the input format is s16. Any thread may call
every function. The functions whose names end in ``_into`` write to the start of *out* and return
the number of bytes written. *out* is a writable buffer that must not overlap *data*.

>>> f32_from_s16(b"\x00\x40").hex()  # 16384 becomes 0.5
'0000003f'
>>> s16_from_f32(bytes.fromhex("0000003f")).hex()
'0040'
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inworld_sync._native import lib
from inworld_sync.audio._memory import sample_functions
from inworld_sync.errors import AudioError, ConfigError

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "SAMPLE_BYTES",
    "SampleCarry",
    "f32_from_s16",
    "f32_from_s16_into",
    "s16_from_f32",
    "s16_from_f32_into",
    "swap_bytes",
    "swap_bytes_into",
]

# The size of a 16-bit sample.
SAMPLE_BYTES = 2

f32_from_s16, f32_from_s16_into = sample_functions(
    __name__,
    "f32_from_s16",
    lib.iw_pcm_f32_from_s16,
    "s16",
    "f32",
    """Convert 16-bit samples to 32-bit floats in [-1, 1) by an exact division by 32768.""",
)
s16_from_f32, s16_from_f32_into = sample_functions(
    __name__,
    "s16_from_f32",
    lib.iw_pcm_s16_from_f32,
    "f32",
    "s16",
    """Convert 32-bit floats to 16-bit samples: times 32768, rounded, halves to even.

Results outside [-32768, 32767], including infinities, are clipped. NaN becomes 0.""",
)
swap_bytes, swap_bytes_into = sample_functions(
    __name__,
    "swap_bytes",
    lib.iw_pcm_swap_s16,
    "s16",
    "s16",
    """Swap the bytes of each 16-bit sample, between big-endian (RTP's L16) and little-endian.

:func:`swap_bytes_into` accepts *data* itself as *out*.""",
)


class SampleCarry:
    r"""
    Returns whole samples from chunks that may end inside a sample.

    A message may end in the middle of a 16-bit sample. The incomplete sample is kept and put
    before the next chunk.

    Thread safety:
        Use one object for each stream, on one thread at a time.

    >>> carry = SampleCarry()
    >>> bytes(carry.feed(b"\x01\x02\x03")), carry.pending_bytes
    (b'\x01\x02', 1)
    >>> bytes(carry.feed(b"\x04"))
    b'\x03\x04'
    """

    __slots__ = ("_pending", "_sample_bytes")

    def __init__(self, sample_bytes: int = 2) -> None:
        """
        Begin a stream.

        Args:
            sample_bytes: The size of a sample, or of a frame, at least 1. It is 2 for 16-bit mono,
                and 4 for floats or 16-bit stereo.

        Raises:
            ConfigError: *sample_bytes* is not an integer of at least 1.
        """
        if type(sample_bytes) is not int or sample_bytes < 1:
            raise ConfigError(
                f"sample_bytes must be an integer of at least 1, got {sample_bytes!r}"
            )
        self._sample_bytes = sample_bytes
        self._pending = b""

    @property
    def pending_bytes(self) -> int:
        """The size of the incomplete sample that is kept."""
        return len(self._pending)

    def feed(self, chunk: Buffer) -> memoryview:
        """
        Add a chunk and return all whole samples.

        Raises:
            AudioError: *chunk* is not a contiguous buffer.

        Returns:
            A view of bytes, which may share the memory of *chunk*. It is empty if there is no whole
            sample yet.
        """
        try:
            view = memoryview(chunk).cast("B")
        except (TypeError, ValueError, BufferError) as error:
            raise AudioError(
                f"expected bytes or another contiguous buffer, got {type(chunk).__name__}"
            ) from error
        if self._pending:
            view = memoryview(self._pending + view)
        cut = len(view) - len(view) % self._sample_bytes
        self._pending = bytes(view[cut:])
        return view[:cut]

    def finish(self) -> None:
        """
        End the stream. The object can then be used for another stream.

        Raises:
            AudioError: The last sample is incomplete.
        """
        pending, self._pending = self._pending, b""
        if pending:
            raise AudioError(
                f"the audio ended after {len(pending)} of the {self._sample_bytes} bytes of a "
                "sample: the last sample is cut"
            )
