"""
Makes one response. A response requests a reply, and writes and speaks the reply.

Threads: each response has its own thread, and begins when the previous response has ended.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Sequence

import attrs

from inworld_sync.emulator.peer import PeerGone
from inworld_sync.emulator.realtime.conversation import Item
from inworld_sync.emulator.realtime.events import new_id
from inworld_sync.emulator.realtime.fillers import Fillers
from inworld_sync.emulator.realtime.mcp_tools import with_calls_as_functions
from inworld_sync.emulator.realtime.output_items import (
    Cancelled,
    MessageWriter,
    ResponseOutput,
    ResponseView,
    write_call,
    write_mcp_call,
)
from inworld_sync.emulator.realtime.replies import ReplyPart, ReplyRequest, ToolCall, text_of
from inworld_sync.emulator.realtime.response_options import ResponseOptions
from inworld_sync.emulator.status import Refused
from inworld_sync.errors import InworldError

__all__ = ["Response"]

_JOIN_SECONDS = 5.0
# The maximum number of replies with calls of MCP tools in one response.
_MAX_ROUNDS = 8
# This number is an approximation for English text.
_CHARACTERS_PER_TOKEN = 4
_logger = logging.getLogger("inworld_sync.emulator")


class _Full(Exception):
    """The reply has reached the maximum number of tokens."""


class Response:
    """
    A response of one session.

    Args:
        session: The session.
        options: The settings of the response.
        fillers: The fillers of the session.
        failure: The error with which the response fails at once, or None.
        previous: The response that must end first, or None.
        on_finished: Called on the response's thread before ``response.done`` is sent, so that the
            client can request the next response at once.
        on_gone: Called after the last event.

    Thread safety: any thread may use this object.
    """

    def __init__(
        self,
        session: ResponseView,
        options: ResponseOptions,
        fillers: Fillers,
        *,
        failure: str | None = None,
        previous: Response | None = None,
        on_finished: Callable[[Response], None],
        on_gone: Callable[[Response], None],
    ) -> None:
        self.response_id = new_id("resp")
        self.options = options
        self.status = "in_progress"
        self._session = session
        self._fillers = fillers
        self._failure = failure
        self._previous = previous
        self._on_finished = on_finished
        self._on_gone = on_gone
        self._output = ResponseOutput(session, self.response_id, options)
        self._reason = ""
        self._details: dict[str, object] | None = None
        self._left_tokens = options.request.max_output_tokens
        self._context: Sequence[Item] = ()
        self._thread = threading.Thread(
            target=self._run, name=f"inworld-emulator-{self.response_id}", daemon=True
        )

    @property
    def is_cancelled(self) -> bool:
        """Whether the response was cancelled. Some of its last events may not be sent yet."""
        return self._output.cancelled.is_set()

    @property
    def has_calls(self) -> bool:
        """Whether the response called functions."""
        return any(item["type"] == "function_call" for item in self._output.items)

    def start(self) -> None:
        """Start the thread of the response."""
        self._thread.start()

    def cancel(self, reason: str) -> None:
        """Cancel the response. The reason is ``client_cancelled`` or ``turn_detected``."""
        self._reason = self._reason or reason
        self._output.cancelled.set()

    def join(self) -> None:
        """Wait until the response has ended."""
        self._thread.join(_JOIN_SECONDS)

    def _run(self) -> None:
        try:
            if self._previous is not None:
                self._previous.join()
                self._previous = None
            self._send_response("response.created")
            self.status = self._produce()
            self._on_finished(self)
            self._send_response("response.done")
        except PeerGone:
            self.cancel("client_cancelled")
        except Exception:
            # An error of the emulator ends only this response. The log shows the error.
            _logger.exception("response %s failed", self.response_id)
        finally:
            self._on_gone(self)

    def _produce(self) -> str:
        """Write the reply, and return the final status."""
        try:
            if self._failure is not None:
                return self._failed(self._failure)
            self._write()
        except Cancelled:
            self._details = {"type": "cancelled", "reason": self._reason}
            return "cancelled"
        except _Full:
            self._details = {"type": "incomplete", "reason": "max_output_tokens"}
            return "incomplete"
        except PeerGone:
            raise
        except (InworldError, Refused) as error:
            _logger.warning("the reply of response %s failed: %s", self.response_id, error)
            return self._failed(str(error))
        except Exception as error:
            # The reply maker and the engines may come from the user. Code of the user can raise any
            # exception.
            _logger.exception("the reply of response %s failed", self.response_id)
            return self._failed(f"{type(error).__name__}: {error}")
        return "completed"

    def _failed(self, message: str) -> str:
        error = {"type": "server_error", "code": "server_error", "message": message}
        if self._session.settings.explains_failures:
            self._details = {"type": "failed", "reason": "server_error", "error": error}
        return "failed"

    def _write(self) -> None:
        """Write the reply. After calls of MCP tools, write the next reply with their results."""
        mcp, approved = self._session.mcp, self.options.approved
        if approved is not None and (server := mcp.owner(approved.call.name)) is not None:
            write_mcp_call(self._output, server, approved.call, approved.request_id)
        for _ in range(_MAX_ROUNDS):
            context = self.options.context
            self._context = self._session.conversation.items if context is None else context
            asked = self.options.request
            request = attrs.evolve(
                asked,
                items=with_calls_as_functions(self._context),
                tools=(*asked.tools, *mcp.functions(asked.tools)),
                cancelled=self._output.cancelled,
            )
            parts = self._reply_parts(request)
            responsiveness, cancelled = self.options.responsiveness, self._output.cancelled
            if not self._write_parts(self._fillers.bridge(parts, responsiveness, cancelled)):
                return

    def _write_parts(self, parts: Generator[ReplyPart, None, None]) -> bool:
        """Write the parts of one reply; return whether an MCP tool was called."""
        message: MessageWriter | None = None
        called = False
        try:
            for part in parts:
                if isinstance(part, str):
                    message = message or MessageWriter(self._output)
                    message.write(self._within_limit(part))
                    continue
                if message is not None:
                    message.finish()
                    message = None
                called |= self._call(part)
            if message is not None:
                message.finish()
        except _Full:
            if message is not None:
                message.finish("incomplete")
            raise
        except Exception:
            if message is not None:
                message.close("incomplete")
            raise
        finally:
            parts.close()
        return called

    def _call(self, call: ToolCall) -> bool:
        """Send a tool call; return whether its result is already known."""
        server = self._session.mcp.owner(call.name)
        if server is not None and self.options.in_conversation:
            return write_mcp_call(self._output, server, call)
        write_call(self._output, call)
        return False

    def _reply_parts(self, request: ReplyRequest) -> Generator[ReplyPart, None, None]:
        self._output.cancelled.wait(self._session.settings.reply_delay_ms / 1000)
        self._output.check()
        parts = self._session.shared.reply_maker(request)
        try:
            yield from parts
        finally:
            if isinstance(parts, Generator):
                parts.close()

    def _within_limit(self, text: str) -> str:
        if self._left_tokens is None:
            return text
        if self._left_tokens <= 0:
            raise _Full
        self._left_tokens -= _tokens(text)
        return text

    def _send_response(self, kind: str) -> None:
        response: dict[str, object] = {
            "object": "realtime.response",
            "id": self.response_id,
            "status": self.status,
            "status_details": self._details,
            "output": list(self._output.items),
            "output_modalities": list(self.options.modalities),
            "metadata": self.options.metadata,
        }
        outside: dict[str, object] = {}
        if self.status != "in_progress":
            settings = self._session.settings
            (outside if settings.usage_beside_response else response)["usage"] = self._usage()
            if settings.lists_attempts:
                attempts = [{"model": self.options.request.model, "credential_type": "default"}]
                response["metadata"] = {**(self.options.metadata or {}), "attempts": attempts}
        self._session.events.send(kind, response=response, **outside)

    def _usage(self) -> dict[str, object]:
        input_tokens = sum(_tokens(text_of(item)) for item in self._context)
        input_tokens += _tokens(self.options.request.instructions)
        output_tokens = sum(
            _tokens(text_of(item) + str(item.get("arguments", ""))) for item in self._output.items
        )
        return {
            "total_tokens": input_tokens + output_tokens,
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
        }


def _tokens(text: str) -> int:
    return -(-len(text) // _CHARACTERS_PER_TOKEN)
