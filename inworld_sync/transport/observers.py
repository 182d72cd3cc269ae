"""The user's observers of a connection, kept from doing it harm."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Literal

from inworld_sync.models.options import Options, TraceEvent

__all__ = ["Observers"]


class Observers:
    """
    Calls the observer and the trace function of the options, if there are any.

    What they raise is logged and goes no further.
    They are called without any lock held.

    Attributes:
        records: Whether there is an observer, so that a message need be copied for it.
    """

    def __init__(self, options: Options, connection: str) -> None:
        self.records = options.observer is not None
        self._observer = options.observer
        self._on_trace = options.on_trace
        self._logger = options.logger
        self._connection = connection

    def message(self, direction: Literal["in", "out"], data: bytes) -> None:
        """Show one text message to the observer."""
        if self._observer:
            with self._shielded("the observer"):
                self._observer.message(direction, self._connection, data)

    def trace(
        self, name: str, seconds: float, facts: Mapping[str, str | int | float] | None = None
    ) -> None:
        """Tell of one step of the connection's life."""
        if self._on_trace:
            with self._shielded("on_trace"):
                self._on_trace(
                    TraceEvent(
                        connection=self._connection, name=name, seconds=seconds, facts=facts or {}
                    )
                )

    @contextlib.contextmanager
    def _shielded(self, observer: str) -> Iterator[None]:
        try:
            yield
        except Exception:
            self._logger.exception("%s raised on the connection %s", observer, self._connection)
