"""Calls the user's observers of a connection, and logs the exceptions that they raise."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Literal

from inworld_sync.models.options import Options, TraceEvent
from inworld_sync.secret import mask_known_bytes

__all__ = ["Observers"]


class Observers:
    """
    Calls ``observer`` and ``on_trace`` of the options, if they are set.

    The exceptions of these functions are logged. No lock is held during a call.

    Attributes:
        records: True if there is an observer. Messages are copied only for an observer.
    """

    def __init__(self, options: Options, connection: str) -> None:
        self.records = options.observer is not None
        self._observer = options.observer
        self._on_trace = options.on_trace
        self._logger = options.logger
        self._connection = connection

    def message(self, direction: Literal["in", "out"], data: bytes) -> None:
        """Pass one message to the observer."""
        if self._observer:
            with self._shielded("the observer"):
                self._observer.message(direction, self._connection, mask_known_bytes(data))

    def trace(
        self, name: str, seconds: float, facts: Mapping[str, str | int | float] | None = None
    ) -> None:
        """Pass one step of the connection to ``on_trace``."""
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
            self._logger.exception(
                "%s raised an exception on the connection %s", observer, self._connection
            )
