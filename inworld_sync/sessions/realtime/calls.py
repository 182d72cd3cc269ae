"""
Which calls of functions are still to be answered, and when their answers ask for a response.

A response may call several functions at once. Each is answered as soon as it returns, in any
order; one further response is asked for once all of them are answered and the calling response is
over, because two responses cannot be given at once.

Lock rule: the session's monitor guards everything here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from inworld_sync.models.realtime import FunctionCall

if TYPE_CHECKING:
    from inworld_sync.sessions.realtime.reply import Reply

__all__ = ["CallBatch", "CallBook"]


@attrs.define(eq=False)
class CallBatch:
    """
    The calls of one response.

    Attributes:
        unanswered: Calls that wait for their answers.
        outputs: The items with the answers of the others.
        is_ours: Whether this side runs every function that is called.
        is_over: Whether the response has ended.
        goes_on: Whether it ended so that the model is to go on.
        is_continued: Whether what the model goes on with belongs to the same reply.
        reply: The reply, if somebody holds it; kept until it goes on.
    """

    unanswered: set[str] = attrs.field(factory=set)
    outputs: set[str] = attrs.field(factory=set)
    is_ours: bool = True
    is_over: bool = False
    goes_on: bool = False
    is_continued: bool = False
    reply: Reply | None = None


class CallBook:
    """The calls of one session, over all its connections."""

    def __init__(self) -> None:
        # Connections are counted, for a new one may give the names of the last one anew.
        self._connection = 0
        self._seen: set[tuple[int, str | None, str]] = set()
        self._open: dict[str, tuple[int, str]] = {}
        self._batches: dict[tuple[int, str], CallBatch] = {}

    def begin(self, call: FunctionCall, response_id: str, *, is_ours: bool) -> bool:
        """Note a call that is to be answered, of a response; say whether it is new."""
        seen = (self._connection, call.id, call.call_id)
        if seen in self._seen or call.call_id in self._open:
            return False
        self._seen.add(seen)
        key = self._open[call.call_id] = (self._connection, response_id)
        batch = self._batches.setdefault(key, CallBatch())
        batch.unanswered.add(call.call_id)
        batch.is_ours = batch.is_ours and is_ours
        return True

    def of(self, response_id: str) -> CallBatch | None:
        """The calls of a response for which no further one is due yet."""
        return self._batches.get((self._connection, response_id))

    @property
    def has_open(self) -> bool:
        """Whether a call is to be answered."""
        return bool(self._open)

    def is_open(self, call_id: str) -> bool:
        """Whether a call is to be answered."""
        return call_id in self._open

    def answered(self, call_id: str, output_id: str) -> CallBatch | None:
        """
        Note that a call is answered by an item.

        Returns:
            The calls, if a response to their answers is due now.
        """
        key = self._open.pop(call_id, None)
        if key is None:
            return None
        batch = self._batches[key]
        batch.unanswered.discard(call_id)
        batch.outputs.add(output_id)
        return self._due(key)

    def ended(self, response_id: str, *, completed: bool) -> CallBatch | None:
        """
        Note the end of a response; see :meth:`answered`.

        One that was cancelled or failed needs nothing after it: whoever cancelled it goes on.
        """
        return self._end((self._connection, response_id), completed=completed)

    def lose_connection(self) -> list[CallBatch]:
        """
        Note that no response that is under way will end.

        What they have called is answered all the same, and the answers ask for a response.

        Returns:
            As :meth:`ended`, for each of them.
        """
        lost = [key for key, batch in self._batches.items() if not batch.is_over]
        due = [self._end(key, completed=True) for key in lost]
        self._connection += 1
        return [batch for batch in due if batch is not None]

    def _end(self, key: tuple[int, str], *, completed: bool) -> CallBatch | None:
        batch = self._batches.get(key)
        if batch is None:
            return None
        batch.is_over, batch.goes_on = True, completed
        return self._due(key)

    def _due(self, key: tuple[int, str]) -> CallBatch | None:
        batch = self._batches[key]
        if batch.unanswered or not batch.is_over:
            return None
        del self._batches[key]
        return batch if batch.goes_on else None
