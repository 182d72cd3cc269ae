"""What every sink asks of the bytes that it is given."""

from __future__ import annotations

from inworld_sync.errors import AudioError, ConfigError

__all__ = ["require_between", "sample_bytes"]

SAMPLE_BYTES = 2


def sample_bytes(pcm: bytes | bytearray | memoryview) -> memoryview:
    """
    Give a view of bytes over whole samples.

    Raises:
        AudioError: The last sample is cut.
    """
    view = memoryview(pcm).cast("B")
    if len(view) % SAMPLE_BYTES:
        raise AudioError(
            f"s16 audio is {SAMPLE_BYTES} bytes a sample, got {len(view)} bytes: the last sample "
            "is cut",
            offset_bytes=len(view) - 1,
        )
    return view


def require_between(name: str, value: float, low: float, high: float, unit: str) -> None:
    """Refuse a setting that is out of its range."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise ConfigError(f"{name} must be {low:g} to {high:g} {unit}, got {value!r}")
