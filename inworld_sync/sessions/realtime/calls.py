"""
Which calls of functions are still to be answered, and when their answers ask for a response.

A response may call several functions at once. Each is answered as soon as it returns, in any
order; one further response is asked for once all of them are answered and the calling response is
over, because two responses cannot be given at once.

Lock rule: the session's monitor guards everything here.
"""

from __future__ import annotations

import attrs

from inworld_sync.models.realtime import FunctionCall

__all__ = ["CallBook"]


@attrs.define
class _Batch:
    """The calls of one response."""

    unanswered: set[str] = attrs.field(factory=set)
    outputs: set[str] = attrs.field(factory=set)
    is_over: bool = False
    goes_on: bool = False


class CallBook:
    """The calls of one session, over all its connections."""

    def __init__(self) -> None:
        # Connections are counted, for a new one may give the names of the last one anew.
        self._connection = 0
        self._seen: set[tuple[int, str | None, str]] = set()
        self._open: dict[str, tuple[int, str]] = {}
        self._batches: dict[tuple[int, str], _Batch] = {}

    def begin(self, call: FunctionCall, response_id: str) -> bool:
        """Note a call that is ready to be run, of a response; say whether it is new."""
        seen = (self._connection, call.id, call.call_id)
        if seen in self._seen or call.call_id in self._open:
            return False
        self._seen.add(seen)
        key = self._open[call.call_id] = (self._connection, response_id)
        self._batches.setdefault(key, _Batch()).unanswered.add(call.call_id)
        return True

    @property
    def has_open(self) -> bool:
        """Whether a call is to be answered."""
        return bool(self._open)

    def is_open(self, call_id: str) -> bool:
        """Whether a call is to be answered."""
        return call_id in self._open

    def answered(self, call_id: str, output_id: str) -> set[str] | None:
        """
        Note that a call is answered by an item.

        Returns:
            The items with the answers, if a response to them is due now.
        """
        key = self._open.pop(call_id, None)
        if key is None:
            return None
        batch = self._batches[key]
        batch.unanswered.discard(call_id)
        batch.outputs.add(output_id)
        return self._due(key)

    def ended(self, response_id: str, *, completed: bool) -> set[str] | None:
        """
        Note the end of a response; see :meth:`answered`.

        One that was cancelled or failed needs nothing after it: whoever cancelled it goes on.
        """
        return self._end((self._connection, response_id), completed=completed)

    def lose_connection(self) -> list[set[str]]:
        """
        Note that no response that is under way will end.

        What they have called is answered all the same, and the answers ask for a response.

        Returns:
            As :meth:`ended`, for each of them.
        """
        lost = [key for key, batch in self._batches.items() if not batch.is_over]
        due = [self._end(key, completed=True) for key in lost]
        self._connection += 1
        return [outputs for outputs in due if outputs is not None]

    def _end(self, key: tuple[int, str], *, completed: bool) -> set[str] | None:
        batch = self._batches.get(key)
        if batch is None:
            return None
        batch.is_over, batch.goes_on = True, completed
        return self._due(key)

    def _due(self, key: tuple[int, str]) -> set[str] | None:
        batch = self._batches[key]
        if batch.unanswered or not batch.is_over:
            return None
        del self._batches[key]
        return batch.outputs if batch.goes_on else None
