"""What every sink asks of the bytes that it is given."""

from __future__ import annotations

from inworld_sync.audio._memory import cut_sample
from inworld_sync.audio.pcm import SAMPLE_BYTES
from inworld_sync.errors import ConfigError

__all__ = ["SAMPLE_BYTES", "require_between", "sample_bytes"]


def sample_bytes(pcm: bytes | bytearray | memoryview) -> memoryview:
    """
    Give a view of bytes over whole samples.

    Raises:
        AudioError: The last sample is cut.
    """
    view = memoryview(pcm).cast("B")
    if len(view) % SAMPLE_BYTES:
        raise cut_sample("s16", SAMPLE_BYTES, len(view))
    return view


def require_between(name: str, value: float, low: float, high: float, unit: str) -> None:
    """Refuse a setting that is out of its range."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise ConfigError(f"{name} must be {low:g} to {high:g} {unit}, got {value!r}")
