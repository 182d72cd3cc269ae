"""
Implements a client of MCP servers over streamable HTTP. The client lists tools and calls them.

Source: Model Context Protocol 2025-06-18, "Streamable HTTP" and "Tools".
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Mapping
from typing import Any

from inworld_sync.emulator.json_text import read_json
from inworld_sync.emulator.realtime.http_client import HttpFailed, post_json
from inworld_sync.emulator.realtime.replies import ToolCall

__all__ = ["McpFailed", "McpServer"]

_PROTOCOL = "2025-06-18"
_TIMEOUT = 10.0
# The largest number of seconds for all requests of a listing, or of a call.
_TOTAL_TIMEOUT = 30.0
_MAX_ANSWER_BYTES = 4 << 20
_MAX_PAGES = 20
_MAX_TOOLS = 1000


class McpFailed(Exception):
    """
    The server refused a request or cannot be reached, or its tool failed.

    Attributes:
        error: The error object of the Realtime protocol.
    """

    def __init__(self, kind: str, message: object, **code: object) -> None:
        super().__init__(str(message))
        self.error: dict[str, object] = {"type": kind, **code, "message": str(message)}

    @classmethod
    def invalid(cls, message: str) -> McpFailed:
        """Make the error for a response that does not follow the protocol."""
        return cls("protocol_error", message, code=-32603)


class McpServer:
    """
    One MCP server of a session.

    Locks: ``_lock`` is held during a request, so that there is one request at a time.

    Args:
        label: The ``server_label`` of the session.
        tool: The ``mcp`` tool of a session, with ``server_url``.
        stopped: An event that is set when the session ends. This event ends a running request.

    Attributes:
        listed: The tools that may be called. The list is empty until the server has sent its tools.

    Thread safety: any thread may use this object.
    """

    def __init__(self, label: str, tool: Mapping[str, object], stopped: threading.Event) -> None:
        self.label = label
        self.tool = tool
        self.listed: list[dict[str, object]] = []
        self._stopped = stopped
        self._lock = threading.Lock()
        self._url = str(tool.get("server_url") or "")
        self._headers = {
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": _PROTOCOL,
        }
        extra = tool.get("headers")
        if isinstance(extra, dict):
            self._headers.update({str(name): str(value) for name, value in extra.items()})
        if isinstance(tool.get("authorization"), str):
            self._headers["Authorization"] = f"Bearer {tool['authorization']}"
        self._numbers = itertools.count(1)
        self._is_open = False
        self._deadline = 0.0

    def load(self) -> list[dict[str, object]]:
        """
        List the tools that may be called.

        Raises:
            McpFailed: The server does not list its tools.
        """
        allowed = self.tool.get("allowed_tools")
        if isinstance(allowed, dict):
            allowed = allowed.get("tool_names")
        with self._lock:
            self._deadline = time.monotonic() + _TOTAL_TIMEOUT
            self.listed = [
                {
                    "name": tool["name"],
                    "description": tool.get("description"),
                    "input_schema": tool.get("inputSchema") or {},
                    "annotations": tool.get("annotations"),
                }
                for tool in self._tools()
                if not isinstance(allowed, list) or tool["name"] in allowed
            ]
        return self.listed

    def needs_approval(self, name: str) -> bool:
        """Return whether a call needs the client's approval. By default, each call needs it."""
        rule = self.tool.get("require_approval", "always")
        if not isinstance(rule, dict):
            return rule != "never"
        never = rule.get("never")
        names = never.get("tool_names") if isinstance(never, dict) else None
        return not (isinstance(names, list) and name in names)

    def call(self, call: ToolCall) -> str:
        """
        Call a tool and return the text of its result.

        Raises:
            McpFailed: The call failed.
        """
        try:
            arguments = read_json(call.arguments or "{}")
        except ValueError as error:
            raise McpFailed.invalid(
                f"the arguments of {call.name} are not JSON: {error}"
            ) from error
        with self._lock:
            self._deadline = time.monotonic() + _TOTAL_TIMEOUT
            self._open()
            result = self._ask("tools/call", {"name": call.name, "arguments": arguments})
        content = result.get("content")
        texts = [
            str(part["text"])
            for part in (content if isinstance(content, list) else ())
            if isinstance(part, dict) and "text" in part
        ]
        if result.get("isError"):
            raise McpFailed("tool_execution_error", " ".join(texts))
        return " ".join(texts)

    def _tools(self) -> list[dict[str, Any]]:
        self._open()
        found: list[dict[str, Any]] = []
        cursor: object = None
        for _ in range(_MAX_PAGES):
            result = self._ask("tools/list", {"cursor": cursor} if cursor else {})
            tools = result.get("tools")
            if not isinstance(tools, list):
                raise McpFailed.invalid("the MCP server sent no list of tools")
            for tool in tools:
                if not isinstance(tool, dict) or not isinstance(tool.get("name"), str):
                    raise McpFailed.invalid("the MCP server listed a tool without a name")
            found += tools
            if len(found) > _MAX_TOOLS:
                raise McpFailed.invalid(f"the MCP server lists more than {_MAX_TOOLS} tools")
            cursor = result.get("nextCursor")
            if not cursor:
                return found
        raise McpFailed.invalid(f"the MCP server lists its tools on more than {_MAX_PAGES} pages")

    def _open(self) -> None:
        if self._is_open:
            return
        client = {"name": "inworld-sync emulator", "version": "1"}
        hello = {"protocolVersion": _PROTOCOL, "capabilities": {}, "clientInfo": client}
        self._ask("initialize", hello)
        self._post({"jsonrpc": "2.0", "method": "notifications/initialized"})
        self._is_open = True

    def _ask(self, method: str, params: Mapping[str, object]) -> dict[str, Any]:
        number = next(self._numbers)
        text = self._post({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        answer = next((one for one in _messages(text) if one.get("id") == number), {})
        error = answer.get("error")
        if isinstance(error, dict):
            raise McpFailed("protocol_error", error.get("message"), code=error.get("code"))
        result = answer.get("result")
        if not isinstance(result, dict):
            raise McpFailed.invalid(f"the MCP server sent no result for {method}")
        return result

    def _post(self, message: Mapping[str, object]) -> str:
        try:
            with post_json(
                self._url,
                message,
                self._headers,
                stopped=self._stopped,
                timeout=_TIMEOUT,
                total_timeout=self._deadline - time.monotonic(),
                max_bytes=_MAX_ANSWER_BYTES,
            ) as answer:
                if session := answer.headers.get("mcp-session-id"):
                    self._headers["Mcp-Session-Id"] = session
                return b"".join(answer.lines).decode(errors="replace")
        except HttpFailed as error:
            raise McpFailed("http_error", error, code=error.status) from error


def _messages(text: str) -> list[dict[str, Any]]:
    """Read a response, which is JSON or server-sent events with JSON."""
    lines = [text] if text.lstrip().startswith("{") else text.splitlines()
    found = []
    for line in lines:
        try:
            value = read_json(line.removeprefix("data:"))
        except ValueError:
            continue
        if isinstance(value, dict):
            found.append(value)
    return found
