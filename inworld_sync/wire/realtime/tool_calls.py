"""
Decides when a function call is complete, and when to request a response to the outputs.

The name and the call id are in the call's item, and the arguments arrive in pieces or at once. Each
of these three fields may be missing in a later message. A call is complete as soon as its item is
done or its response is completed. A call without a name needs an output too, but is
complete only when its response is completed.
``response.function_call_arguments.done`` does not complete a call, because the service also sends
this message when a response is interrupted.

A response may call several functions at once. Each output is sent as soon as its function
returns, in any order. One further response is requested when all outputs are sent and the response
with the calls has ended, because the service makes only one response at a time.

This module has no clock and no lock. The session calls the methods one at a time.
Sources: Inworld Realtime reference, ``response.function_call_arguments``; logs of clients, which
show the missing fields.
"""

from __future__ import annotations

from typing import TypeAlias

import attrs

from inworld_sync.models.realtime import (
    FunctionArgumentsDelta,
    FunctionArgumentsDone,
    FunctionCall,
    OutputItemAdded,
    OutputItemDone,
    ResponseDone,
)

__all__ = ["CallBatch", "FunctionCalls", "FunctionEvent", "PendingCalls"]

# The events that :meth:`FunctionCalls.handle` handles.
FunctionEvent: TypeAlias = (
    FunctionArgumentsDelta | FunctionArgumentsDone | OutputItemAdded | OutputItemDone | ResponseDone
)


@attrs.define
class _Draft:
    response_id: str
    call_id: str = ""
    name: str = ""
    arguments: str = ""
    is_emitted: bool = False

    def update(self, call_id: str | None, name: str | None, arguments: str) -> None:
        """Apply a message. A field that the message leaves out does not change."""
        self.call_id = call_id or self.call_id
        self.name = name or self.name
        self.arguments = arguments or self.arguments


class FunctionCalls:
    """
    The calls of a session's responses in progress.

    Each call is returned once, when it is complete.
    """

    def __init__(self) -> None:
        self._drafts: dict[str, _Draft] = {}

    def handle(self, event: FunctionEvent) -> tuple[FunctionCall, ...]:
        """Apply a message. Return the calls that this message completes."""
        if isinstance(event, FunctionArgumentsDelta):
            self._draft(event.item_id, event.response_id).arguments += event.delta
        elif isinstance(event, FunctionArgumentsDone):
            draft = self._draft(event.item_id, event.response_id)
            draft.update(event.call_id, event.name, event.arguments)
        elif isinstance(event, ResponseDone):
            return self._end_response(event)
        elif isinstance(event.item, FunctionCall):
            return self._handle_item(event, event.item)
        return ()

    def _draft(self, item_id: str, response_id: str) -> _Draft:
        return self._drafts.setdefault(item_id, _Draft(response_id))

    def _handle_item(
        self, event: OutputItemAdded | OutputItemDone, item: FunctionCall
    ) -> tuple[FunctionCall, ...]:
        assert item.id is not None
        draft = self._draft(item.id, event.response_id)
        draft.update(item.call_id, item.name, item.arguments)
        if isinstance(event, OutputItemAdded) or item.status in ("incomplete", "in_progress"):
            return ()
        return self._emit(item.id, draft) if draft.name else ()

    def _end_response(self, event: ResponseDone) -> tuple[FunctionCall, ...]:
        response = event.response
        for item in response.output:
            if isinstance(item, FunctionCall) and item.id is not None:
                self._draft(item.id, response.id).update(item.call_id, item.name, item.arguments)
        mine = [key for key, draft in self._drafts.items() if draft.response_id == response.id]
        calls = [call for key in mine for call in self._emit(key, self._drafts.pop(key))]
        return tuple(calls) if response.status == "completed" else ()

    def _emit(self, item_id: str, draft: _Draft) -> tuple[FunctionCall, ...]:
        if draft.is_emitted or not draft.call_id:
            return ()
        draft.is_emitted = True
        return (
            FunctionCall(
                id=item_id,
                call_id=draft.call_id,
                name=draft.name,
                arguments=draft.arguments,
                status="completed",
            ),
        )


@attrs.define(eq=False)
class CallBatch:
    """
    The calls of one response.

    Attributes:
        pending: The ids of calls whose outputs are not sent yet.
        outputs: The ids of the items with the outputs that were sent.
        is_ours: Whether the session runs all called functions itself.
        is_over: Whether the response has ended.
        is_completed: Whether the response was completed, so that a response to the outputs follows.
        is_cancelled: Whether a response to the outputs must not be requested.
        is_continued: Whether the response to the outputs belongs to the same reply.
    """

    pending: set[str] = attrs.field(factory=set)
    outputs: set[str] = attrs.field(factory=set)
    is_ours: bool = True
    is_over: bool = False
    is_completed: bool = False
    is_cancelled: bool = False
    is_continued: bool = False


class PendingCalls:
    """The calls of one session whose outputs are not sent yet, over all its connections."""

    def __init__(self) -> None:
        # The number of the connection is part of the keys below, because a new connection may use
        # the same ids again.
        self._connection = 0
        self._seen: set[tuple[int, str | None, str]] = set()
        self._pending: dict[str, tuple[int, str]] = {}
        self._batches: dict[tuple[int, str], CallBatch] = {}

    def __bool__(self) -> bool:
        return bool(self._pending)

    def __contains__(self, call_id: str) -> bool:
        return call_id in self._pending

    def add(self, call: FunctionCall, response_id: str, *, is_ours: bool) -> bool:
        """Record a call of a response. Return whether the call is new."""
        seen = (self._connection, call.id, call.call_id)
        if seen in self._seen or call.call_id in self._pending:
            return False
        self._seen.add(seen)
        key = self._pending[call.call_id] = (self._connection, response_id)
        batch = self._batches.setdefault(key, CallBatch())
        batch.pending.add(call.call_id)
        batch.is_ours = batch.is_ours and is_ours
        return True

    def batch_of(self, response_id: str) -> CallBatch | None:
        """Return the calls of a response; None after the response to their outputs was due."""
        return self._batches.get((self._connection, response_id))

    def resolve(self, call_id: str, output_id: str) -> CallBatch | None:
        """
        Record that the output of a call was sent as an item.

        Returns:
            All calls of the same response if a response to their outputs is due now, otherwise
            None.
        """
        key = self._pending.pop(call_id, None)
        if key is None:
            return None
        batch = self._batches[key]
        batch.pending.discard(call_id)
        batch.outputs.add(output_id)
        return self._due(key)

    def end_response(self, response_id: str, *, completed: bool) -> CallBatch | None:
        """
        Record the end of a response. The return value has the same meaning as in :meth:`resolve`.

        After a cancelled or failed response, no response is due.
        """
        return self._end((self._connection, response_id), completed=completed)

    def cancel_all(self) -> None:
        """
        Record that no response to the present calls may be requested. The outputs of these calls
        are still sent.
        """
        for batch in self._batches.values():
            batch.is_cancelled = True

    def lose_connection(self) -> list[CallBatch]:
        """
        Record that the responses in progress are lost.

        The outputs of their calls are still sent, and a response to these outputs is requested.

        Returns:
            The calls of each response for which all outputs are sent.
        """
        lost = [key for key, batch in self._batches.items() if not batch.is_over]
        due = [self._end(key, completed=True) for key in lost]
        self._connection += 1
        return [batch for batch in due if batch is not None]

    def _end(self, key: tuple[int, str], *, completed: bool) -> CallBatch | None:
        batch = self._batches.get(key)
        if batch is None:
            return None
        batch.is_over, batch.is_completed = True, completed
        return self._due(key)

    def _due(self, key: tuple[int, str]) -> CallBatch | None:
        batch = self._batches[key]
        if batch.pending or not batch.is_over:
            return None
        del self._batches[key]
        return batch if batch.is_completed and not batch.is_cancelled else None
