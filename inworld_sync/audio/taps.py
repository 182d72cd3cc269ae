"""
Stores the last samples that a speaker has played, with the time of each block.

An echo canceller compares these samples with the audio of a microphone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from inworld_sync._native import ffi, lib
from inworld_sync.audio._memory import new_object, new_output
from inworld_sync.audio.pcm import SAMPLE_BYTES
from inworld_sync.models.checks import require_whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from inworld_sync._native._core import CData

__all__ = ["BlockReader", "BlockTime", "SampleTap", "TappedAudio"]

_MOST_SAMPLES = 2**25
_MOST_BLOCKS = 1024


class BlockTime(NamedTuple):
    """
    The time of a block of a device.

    Attributes:
        position: The count of samples before the block.
        time_ns: When the first sample was captured or is heard, on the monotonic clock.
        breaks: How many times samples were missing before a block, up to and including this block.
        devices: The number of devices that have delivered or played blocks so far.
    """

    position: int
    time_ns: int
    breaks: int
    devices: int


class TappedAudio(NamedTuple):
    """
    Samples of a tap.

    Attributes:
        position: The position of the first sample.
        pcm: 16-bit little-endian samples.
    """

    position: int
    pcm: bytes


class BlockReader:
    """
    Reads the time of each block once.

    Args:
        read: A function of the C core. Its arguments are *core*, the number of the next block, the
            output, and the largest number of blocks to copy.
        core: The object of the C core.

    Thread safety: one thread at a time may use an object.
    """

    def __init__(self, read: Callable[[CData, CData, CData, int], int], core: CData) -> None:
        self._read = read
        self._core = core
        self._next = ffi.new("uint64_t *")
        self._blocks = ffi.new("struct iw_block[]", _MOST_BLOCKS)

    def read(self) -> list[BlockTime]:
        """Return the blocks since the last call. Blocks that are no longer held are left out."""
        count = self._read(self._core, self._next, self._blocks, _MOST_BLOCKS)
        blocks = (self._blocks[index] for index in range(count))
        return [
            BlockTime(each.position, each.time_ns, each.breaks, each.devices)  # type: ignore[attr-defined]
            for each in blocks
        ]


class SampleTap:
    """
    Holds the last samples that speakers have played.

    Attributes:
        pointer: The object of the C core, which a speaker uses.

    Thread safety: the threads of devices write; any thread may call every method.
    """

    def __init__(self, held_samples: int) -> None:
        """
        Create an empty tap.

        Args:
            held_samples: How many samples to hold at least, 1 to 2**25.

        Raises:
            ConfigError: *held_samples* is out of range.
        """
        require_whole("held_samples", held_samples, 1, _MOST_SAMPLES)
        self.pointer = new_object("tap", f"a tap of {held_samples} samples", held_samples)

    @property
    def end(self) -> int:
        """The number of samples that were written so far."""
        return lib.iw_tap_end(self.pointer)

    def blocks(self) -> BlockReader:
        """Return a reader of the times of all blocks that are held."""
        return BlockReader(lib.iw_tap_blocks, self.pointer)

    def read(self, position: int) -> TappedAudio:
        """
        Return all samples from *position* on.

        If these samples are no longer held, the result begins with the oldest sample that is held.
        """
        require_whole("position", position, 0, 2**63)
        samples = min(max(self.end - position, 0), _MOST_SAMPLES)
        out = new_output(samples * SAMPLE_BYTES)
        place = ffi.new("uint64_t *", position)
        taken = lib.iw_tap_read(self.pointer, place, out, samples)
        return TappedAudio(place[0], ffi.buffer(out, taken * SAMPLE_BYTES)[:])
