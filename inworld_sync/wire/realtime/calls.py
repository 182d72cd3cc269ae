"""
Which calls of functions are ready to be run: each once, whole, and with its name.

A call's name and id stand on its item, its arguments come in pieces or at once, and any of the
three may be left out of a later message. A call is ready when its item is done, or when its
response is completed, whichever comes first; only the latter gives one without a name, which has
to be answered all the same. Arguments that are done are not enough, for they
are also reported when a response is interrupted.

Pure: no clock, no lock; the owner serialises calls.
Source: Inworld Realtime reference, ``response.function_call_arguments``; what may be missing from
clients that log it.
"""

from __future__ import annotations

import attrs

from inworld_sync.models.realtime import (
    FunctionArgumentsDelta,
    FunctionArgumentsDone,
    FunctionCall,
    OutputItemAdded,
    OutputItemDone,
    RealtimeEvent,
    ResponseDone,
)

__all__ = ["FunctionCalls"]


@attrs.define
class _Draft:
    response_id: str
    call_id: str = ""
    name: str = ""
    arguments: str = ""
    is_given: bool = False

    def take(self, call_id: str | None, name: str | None, arguments: str) -> None:
        """Follow a message; what it leaves out stays as it was."""
        self.call_id = call_id or self.call_id
        self.name = name or self.name
        self.arguments = arguments or self.arguments


class FunctionCalls:
    """The calls that the responses of one session are making."""

    def __init__(self) -> None:
        self._drafts: dict[str, _Draft] = {}

    def note(self, event: RealtimeEvent) -> tuple[FunctionCall, ...]:
        """Follow a message; return the calls that are ready with it."""
        if isinstance(event, FunctionArgumentsDelta):
            self._draft(event.item_id, event.response_id).arguments += event.delta
        elif isinstance(event, FunctionArgumentsDone):
            draft = self._draft(event.item_id, event.response_id)
            draft.take(event.call_id, event.name, event.arguments)
        elif isinstance(event, (OutputItemAdded, OutputItemDone)):
            if isinstance(event.item, FunctionCall):
                return self._note_item(event, event.item)
        elif isinstance(event, ResponseDone):
            return self._end_response(event)
        return ()

    def _draft(self, item_id: str, response_id: str) -> _Draft:
        return self._drafts.setdefault(item_id, _Draft(response_id))

    def _note_item(
        self, event: OutputItemAdded | OutputItemDone, item: FunctionCall
    ) -> tuple[FunctionCall, ...]:
        assert item.id is not None
        draft = self._draft(item.id, event.response_id)
        draft.take(item.call_id, item.name, item.arguments)
        if isinstance(event, OutputItemAdded) or item.status in ("incomplete", "in_progress"):
            return ()
        return self._give(item.id, draft) if draft.name else ()

    def _end_response(self, event: ResponseDone) -> tuple[FunctionCall, ...]:
        response = event.response
        for item in response.output:
            if isinstance(item, FunctionCall) and item.id is not None:
                self._draft(item.id, response.id).take(item.call_id, item.name, item.arguments)
        mine = {
            item_id: draft
            for item_id, draft in self._drafts.items()
            if draft.response_id == response.id
        }
        for item_id in mine:
            del self._drafts[item_id]
        if response.status != "completed":
            return ()
        return tuple(call for item_id, draft in mine.items() for call in self._give(item_id, draft))

    def _give(self, item_id: str, draft: _Draft) -> tuple[FunctionCall, ...]:
        if draft.is_given or not draft.call_id:
            return ()
        draft.is_given = True
        return (
            FunctionCall(
                id=item_id,
                call_id=draft.call_id,
                name=draft.name,
                arguments=draft.arguments,
                status="completed",
            ),
        )
