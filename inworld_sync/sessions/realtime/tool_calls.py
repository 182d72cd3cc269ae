"""
Handles the model's tool calls, and the approvals of calls of MCP servers.

Lock rule: the session's monitor guards the fields. ``submit_output`` and ``approve`` are called
without the monitor.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import attrs

from inworld_sync.errors import LocalProtocolError
from inworld_sync.models.realtime import (
    FunctionCallOutput,
    McpApprovalRequest,
    McpApprovalResponse,
    ResponseDone,
    ResponseInfo,
)
from inworld_sync.sessions.realtime.commands import Commands, new_id
from inworld_sync.sessions.realtime.events import (
    ApprovalRequested,
    SessionEvent,
    ToolCalled,
    ToolOutputSent,
)
from inworld_sync.sessions.realtime.executor import Executor
from inworld_sync.sessions.realtime.response import Response
from inworld_sync.sessions.realtime.responses import SessionResponses
from inworld_sync.sessions.realtime.tool_runner import UNSENDABLE, ToolOptions, ToolRunner
from inworld_sync.wire.realtime.settings import Settings
from inworld_sync.wire.realtime.tool_calls import (
    CallBatch,
    FunctionCalls,
    FunctionEvent,
    PendingCalls,
)

__all__ = ["ToolCalls"]


@attrs.define(eq=False)
class ToolCalls:
    """
    The tool calls of one session, over all its connections.

    Args:
        emit: Emits an event to users; called with the monitor held.
        count_error: Counts an output that cannot be sent as an error of the user's code.
        commands: Sends outputs.
        executor: Sends the outputs of functions, and watches timeouts.
        settings: The settings. One of them decides whether the service continues by itself after
            tool outputs.
        responses: The responses of the session, which call the functions.
        options: How tools are called.

    Attributes:
        runner: Runs the functions.
    """

    _emit: Callable[[SessionEvent], object]
    _count_error: Callable[[], object]
    _commands: Commands
    _executor: Executor
    _settings: Settings
    _responses: SessionResponses
    _options: ToolOptions
    runner: ToolRunner = attrs.field(init=False)
    _calls: FunctionCalls = attrs.field(init=False, factory=FunctionCalls)
    _pending: PendingCalls = attrs.field(init=False, factory=PendingCalls)
    # The replies that users hold and that continue when the outputs of their calls are sent.
    _replies: WeakKeyDictionary[CallBatch, Response] = attrs.field(
        init=False, factory=WeakKeyDictionary
    )
    _approvals: set[str] = attrs.field(init=False, factory=set)

    def __attrs_post_init__(self) -> None:
        commands, submit = self._commands, self._submit_result
        self.runner = ToolRunner(
            commands.monitor, self._executor, commands.name, self._options, submit
        )

    # The callers of these methods hold the monitor.

    @property
    def is_busy(self) -> bool:
        """True while the output of a call still has to be sent."""
        return bool(self._pending)

    def handle(self, event: FunctionEvent) -> None:
        """
        Handle an event of :data:`FunctionEvent`.

        Calls of an out-of-band response are emitted and not run, because the conversation has no
        place for their outputs.
        """
        response_id = event.response.id if isinstance(event, ResponseDone) else event.response_id
        is_out_of_band = self._responses.queue.is_out_of_band(response_id)
        for call in self._calls.handle(event):
            is_ours = not is_out_of_band and self.runner.is_ours(call.name)
            if is_out_of_band or self._pending.add(call, response_id, is_ours=is_ours):
                self._emit(ToolCalled(call, response_id, is_ours))
                if is_ours:
                    self.runner.start(call)
        if isinstance(event, ResponseDone):
            self._end_response(event.response)

    def handle_item(self, event: Any) -> None:
        """Handle an event that carries an item, which may ask for an approval."""
        request = event.item
        if not isinstance(request, McpApprovalRequest) or request.id in self._approvals:
            return
        assert request.id is not None
        self._approvals.add(request.id)
        if self._options.on_approval is not None:
            decide = partial(self._options.on_approval, request)
            done = partial(self._submit_decision, request.id)
            self.runner.begin(request.name, decide, done)
        self._emit(ApprovalRequested(request, self._options.on_approval is not None))

    def lose_connection(self) -> None:
        """Handle the loss of a connection. Each pending call is still answered once."""
        self._calls = FunctionCalls()
        for batch in self._pending.lose_connection():
            self._continue(batch)

    # The callers of these methods do not hold the monitor.

    def submit_output(self, call_id: str, output: str) -> Response | None:
        """
        Send the output of a function; return the response that is requested with the output.

        Raises:
            LocalProtocolError: No call of this id is pending.
        """
        with self._commands.monitor:
            if call_id not in self._pending:
                raise LocalProtocolError(f"no call {call_id!r} waits for an output")
        item = FunctionCallOutput(call_id=call_id, output=output, id=new_id("item"))
        self._commands.create_item(item)
        with self._commands.monitor:
            batch = self._pending.resolve(call_id, item.id or "")
            return None if batch is None else self._continue(batch)

    def approve(self, request_id: str, *, approve: bool, reason: str | None = None) -> None:
        """Send the decision whether an MCP server may be called."""
        self._commands.create_item(
            McpApprovalResponse(
                approval_request_id=request_id, approve=approve, reason=reason, id=new_id("item")
            )
        )

    def presume_over(self, response_id: str) -> bool:
        """
        Continue as if a response that seems to be over had ended.

        Returns:
            True if the response has called functions.
        """
        has_calls = self._pending.batch_of(response_id) is not None
        self._end_response(ResponseInfo(id=response_id, status="completed"))
        return has_calls

    def interrupt(self) -> None:
        """Mark the present calls, so that no response to their outputs is requested."""
        self._pending.cancel_all()

    def _end_response(self, info: ResponseInfo) -> None:
        is_completed = info.status == "completed"
        batch = self._pending.batch_of(info.id)
        if batch is None:
            return
        if not is_completed and (awaiting := self._replies.pop(batch, None)) is not None:
            # The response was presumed over, but it has ended in another way.
            self._responses.end_reply(awaiting)
        if is_completed and batch.is_cancelled:
            # The user interrupted while the function ran, and the model does not continue.
            self._responses.end_cancelled(info.id)
        elif is_completed and batch.is_ours and not self._settings.continues_by_itself:
            batch.is_continued = True
            reply = self._responses.await_tools(info.id)
            if reply is not None:
                self._replies[batch] = reply
        if self._pending.end_response(info.id, completed=is_completed) is batch:
            self._continue(batch)

    def _continue(self, batch: CallBatch) -> Response | None:
        """Request the response to a batch's outputs, unless the service itself does this."""
        reply = self._replies.pop(batch, None)
        if not self._settings.continues_by_itself:
            unacknowledged = self._commands.items.unacknowledged(batch.outputs)
            response = self._responses.request_continuation(
                reply, unacknowledged, is_round=batch.is_continued
            )
            self._responses.send_waiting()
            return response
        if reply is not None:
            # The setting has changed since the calls began.
            self._responses.end_reply(reply)
        return None

    def _submit_result(self, result: ToolOutputSent) -> None:
        log, name = self._commands.options.logger, self._commands.name
        if result.output == UNSENDABLE:
            self._count_error()
            log.error("%s: the output of a tool was not sent: %s", name, result.error)
        elif result.error is not None:
            log.warning("%s: tool %s failed: %s", name, result.call.name, result.error)
        try:
            self.submit_output(result.call.call_id, result.output)
        except LocalProtocolError as error:
            with self._commands.monitor:
                is_pending = result.call.call_id in self._pending
            if not is_pending:
                raise
            # The connection does not accept such a long message. The model still needs an answer.
            self._count_error()
            log.error("%s: the output of a tool was not sent: %s", name, error)  # noqa: TRY400 - the error says all
            result = attrs.evolve(result, output=UNSENDABLE, error=error)
            self.submit_output(result.call.call_id, result.output)
        with self._commands.monitor:
            self._emit(result)

    def _submit_decision(
        self, request_id: str, output: object, error: Exception | None, _: float
    ) -> None:
        if error is not None:
            self._commands.options.logger.error(
                "%s: on_approval failed, so the call is refused: %r", self._commands.name, error
            )
        reason = None if error is None else "the client could not decide"
        self.approve(request_id, approve=output is True, reason=reason)
