r"""
Sample formats: 16-bit integers, 32-bit floats, byte order, and samples cut between chunks.

Samples are little-endian and interleaved. Every function takes any object with a contiguous
buffer, keeps nothing, and may be called from any thread at once. The ``_into`` twins write to the
front of *out*, a writable buffer that must not overlap *data*, and return the bytes written.

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

# Of a 16-bit sample.
SAMPLE_BYTES = 2

f32_from_s16, f32_from_s16_into = sample_functions(
    __name__,
    "f32_from_s16",
    lib.iw_pcm_f32_from_s16,
    "s16",
    "f32",
    """Convert 16-bit samples to 32-bit floats in [-1, 1): divided by 32768, which is exact.""",
)
s16_from_f32, s16_from_f32_into = sample_functions(
    __name__,
    "s16_from_f32",
    lib.iw_pcm_s16_from_f32,
    "f32",
    "s16",
    """Convert 32-bit floats to 16-bit samples: times 32768, rounded to nearest, halves to even.

What lies outside [-32768, 32767] then saturates, infinities too; NaN becomes 0.""",
)
swap_bytes, swap_bytes_into = sample_functions(
    __name__,
    "swap_bytes",
    lib.iw_pcm_swap_s16,
    "s16",
    "s16",
    """Swap the bytes of each 16-bit sample, between big-endian (RTP's L16) and little-endian.

With ``_into``, *out* may be *data* itself.""",
)


class SampleCarry:
    r"""
    Gives whole samples from chunks that may end inside one.

    A message may end in the middle of a 16-bit sample; the byte is kept and goes before the next
    chunk.

    Thread safety:
        One stream, one thread at a time.

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
            sample_bytes: Bytes that stay together, at least 1: 2 for 16-bit mono, 4 for floats or
                16-bit stereo.

        Raises:
            ConfigError: *sample_bytes* is below 1.
        """
        if sample_bytes < 1:
            raise ConfigError(f"sample_bytes must be at least 1, got {sample_bytes!r}")
        self._sample_bytes = sample_bytes
        self._pending = b""

    @property
    def pending_bytes(self) -> int:
        """Bytes of a begun sample, fewer than a sample has."""
        return len(self._pending)

    def feed(self, chunk: Buffer) -> memoryview:
        """
        Take a chunk and give the whole samples that are there now.

        Returns:
            A view of bytes; of *chunk* itself when it begins a sample, so it lives as long as that.
            Empty while no sample is whole.
        """
        view = memoryview(chunk).cast("B")
        if self._pending:
            view = memoryview(self._pending + view)
        cut = len(view) - len(view) % self._sample_bytes
        self._pending = bytes(view[cut:])
        return view[:cut]

    def finish(self) -> None:
        """
        End the stream; the object is ready for the next one.

        Raises:
            AudioError: A sample is left unfinished.
        """
        pending, self._pending = self._pending, b""
        if pending:
            raise AudioError(
                f"audio of {self._sample_bytes} bytes a sample ended {len(pending)} bytes into "
                "one: the last sample is cut"
            )
