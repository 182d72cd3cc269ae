"""
What the model asks of this side: functions to be run, and calls of tool servers to be allowed.

Lock rule: the session's monitor guards the fields; ``answer`` and ``approve`` run without it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import attrs

from inworld_sync.errors import ConfigError, LocalProtocolError
from inworld_sync.models.realtime import (
    FunctionCallOutput,
    McpApprovalRequest,
    McpApprovalResponse,
    OutputItemDone,
    RealtimeEvent,
    ResponseDone,
    ResponseInfo,
    Tool,
)
from inworld_sync.sessions.realtime.events import (
    ApprovalRequested,
    SessionEvent,
    ToolCalled,
    ToolOutputSent,
)
from inworld_sync.sessions.realtime.line import new_id
from inworld_sync.sessions.realtime.tool_runner import ToolResult, ToolRunner, error_text
from inworld_sync.wire.realtime.tool_calls import CallBatch, FunctionCalls, PendingCalls

if TYPE_CHECKING:
    from inworld_sync.sessions.realtime.core import RealtimeCore
    from inworld_sync.sessions.realtime.reply import Reply
    from inworld_sync.sessions.realtime.response import Response

__all__ = ["Approver", "ToolDesk"]

Approver = Callable[[McpApprovalRequest], bool]


class ToolDesk:
    """
    The tools of one session, over all its connections.

    Args:
        core: The session.
        tool_timeout: Seconds for a function that has no limit of its own; None for no limit.
        max_tools_at_once: How many functions run side by side.
        on_approval: Decides what a tool server may be called for; None leaves it to the user.
    """

    def __init__(
        self,
        core: RealtimeCore,
        *,
        tool_timeout: float | None,
        max_tools_at_once: int,
        on_approval: Approver | None,
    ) -> None:
        self._core = core
        self._on_approval = on_approval
        self._calls = FunctionCalls()
        self._pending = PendingCalls()
        # The replies that go on once their calls are answered.
        self._replies: WeakKeyDictionary[CallBatch, Reply] = WeakKeyDictionary()
        self._approvals: set[str] = set()
        self._tool_timeout = tool_timeout
        self._runner = ToolRunner(
            core.monitor,
            core.worker,
            core.name,
            timeout=tool_timeout,
            max_at_once=max_tools_at_once,
            answer=self._answer_for_function,
        )

    # The monitor is held.

    @property
    def is_busy(self) -> bool:
        """Whether a call waits for its answer."""
        return bool(self._pending)

    def declare(self, tools: tuple[Tool, ...] | None) -> None:
        """Know further tools."""
        self._runner.declare(tools or ())

    def note(self, event: RealtimeEvent, *, is_beside: bool) -> list[SessionEvent]:
        """
        Follow a message; give what is to be told of it.

        Calls of a response beside the conversation are told and no more, for their outputs have no
        place in it.
        """
        told: list[SessionEvent] = []
        for call in self._calls.handle(event):
            assert isinstance(event, (OutputItemDone, ResponseDone))
            response_id = (
                event.response.id if isinstance(event, ResponseDone) else event.response_id
            )
            if is_beside:
                told.append(ToolCalled(call, response_id, is_ours=False))
                continue
            is_ours = self._runner.is_ours(call.name)
            if self._pending.add(call, response_id, is_ours=is_ours):
                told.append(ToolCalled(call, response_id, is_ours))
                if is_ours:
                    self._runner.start(call)
        if isinstance(event, ResponseDone):
            self._end_response(event.response)
        item = getattr(event, "item", None)
        if isinstance(item, McpApprovalRequest):
            told += self._note_approval(item)
        return told

    def lose_connection(self) -> None:
        """Follow the loss of a connection: what was called is still answered, once."""
        self._calls = FunctionCalls()
        for batch in self._pending.lose_connection():
            self._respond(batch)

    def stop(self) -> None:
        """Run and answer nothing more."""
        self._runner.stop()

    # The monitor is not held.

    def join(self, timeout: float) -> None:
        """Wait for functions that run."""
        self._runner.join(timeout)

    def answer(self, call_id: str, output: str) -> Response | None:
        """
        Give the model the output of a function; return the response that is asked for with it.

        Raises:
            LocalProtocolError: No call of this id waits for an answer.
        """
        with self._core.monitor:
            if call_id not in self._pending:
                raise LocalProtocolError(f"no call {call_id!r} waits for an answer")
        item = FunctionCallOutput(call_id=call_id, output=output, id=new_id("item"))
        self._core.create_item(item)
        with self._core.monitor:
            return self._respond(self._pending.resolve(call_id, item.id or ""))

    def approve(self, request_id: str, *, approve: bool, reason: str | None = None) -> None:
        """Answer whether a tool server may be called."""
        self._core.create_item(
            McpApprovalResponse(
                approval_request_id=request_id, approve=approve, reason=reason, id=new_id("item")
            )
        )

    def _end_response(self, info: ResponseInfo) -> None:
        completed = info.status == "completed"
        batch = self._pending.batch_of(info.id)
        if completed and batch is not None and batch.is_ours and self._goes_on:
            batch.is_continued = True
            reply = self._core.replies.await_tools(info.id)
            if reply is not None:
                self._replies[batch] = reply
        self._respond(self._pending.end_response(info.id, completed=completed))

    @property
    def _goes_on(self) -> bool:
        """Whether this side asks for what follows from answers."""
        return not self._core.settings.continues_by_itself

    def _respond(self, batch: CallBatch | None) -> Response | None:
        if batch is None:
            return None
        reply = self._replies.pop(batch, None)
        if reply is not None and reply.awaits_tools and not self._goes_on:
            # The service was told meanwhile to go on by itself.
            reply.end(None)
        if not self._goes_on or (reply is not None and not reply.awaits_tools):
            return None
        return self._core.ask_for_answer(batch, reply)

    def _answer_for_function(self, result: ToolResult) -> None:
        if result.error is not None:
            self._core.options.logger.warning(
                "%s: tool %s failed: %s", self._core.name, result.call.name, result.error
            )
        try:
            self.answer(result.call.call_id, result.output)
        except ConfigError as error:
            # Text that UTF-8 cannot carry. The model must be answered all the same.
            result = attrs.evolve(result, output=error_text(error), error=error)
            self.answer(result.call.call_id, result.output)
        with self._core.monitor:
            self._core.tell(
                ToolOutputSent(result.call, result.output, result.error, result.duration_ms)
            )

    def _note_approval(self, request: McpApprovalRequest) -> list[SessionEvent]:
        if request.id is None or request.id in self._approvals:
            return []
        self._approvals.add(request.id)
        if self._on_approval is not None:
            decide = partial(self._on_approval, request)
            done = partial(self._decided, request.id)
            self._runner.begin(request.name, decide, done, self._tool_timeout)
        return [ApprovalRequested(request, self._on_approval is not None)]

    def _decided(self, request_id: str, output: object, error: Exception | None, _: float) -> None:
        if error is not None:
            self._core.options.logger.error(
                "%s: on_approval failed, so the call is refused: %r", self._core.name, error
            )
        reason = None if error is None else "it could not be decided"
        self.approve(request_id, approve=output is True, reason=reason)
