"""Defines the classes for the progress and the summary of a batch."""

from __future__ import annotations

import attrs

__all__ = ["BatchFailure", "BatchProgress", "BatchSummary"]


@attrs.frozen(kw_only=True)
class BatchFailure:
    """
    An item of a batch that failed.

    Attributes:
        id: The id of the item.
        output: The name of the file that was not written.
        kind: The class of the error, such as ``NotFoundError``.
        message: The message of the error.
        attempts: The number of attempts to do the item.
    """

    id: str
    output: str
    kind: str
    message: str
    attempts: int = 1


@attrs.frozen(kw_only=True)
class BatchProgress:
    """
    The progress of a batch.

    Attributes:
        total: The number of items.
        skipped: The number of items that an earlier run had done.
        done: The number of items that this run has done.
        failed: The number of items that failed in this run.
        items_per_second: The present rate, over the last items.
        remaining_seconds: The time until the end at this rate; None as long as it is unknown.
    """

    total: int
    skipped: int = 0
    done: int = 0
    failed: int = 0
    items_per_second: float = 0.0
    remaining_seconds: float | None = None


@attrs.frozen(kw_only=True)
class BatchSummary:
    """
    The result of a batch.

    Attributes:
        total: The number of items.
        skipped: The number of items that an earlier run had done.
        done: The number of items that this run has done.
        failures: The items that failed.
        seconds: The duration of this run.
        audio_seconds: The length of the speech that this run received; compressed speech does not
            count.
        characters: The characters that this run spoke, as the service counts them.
    """

    total: int
    skipped: int
    done: int
    failures: tuple[BatchFailure, ...]
    seconds: float
    audio_seconds: float = 0.0
    characters: int = 0

    @property
    def items_per_second(self) -> float:
        """The mean rate of this run."""
        return self.done / self.seconds if self.seconds > 0 else 0.0
