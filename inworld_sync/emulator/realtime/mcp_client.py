"""
A client of MCP servers over streamable HTTP: lists tools and calls them.

Source: Model Context Protocol 2025-06-18, "Streamable HTTP" and "Tools".
"""

from __future__ import annotations

import itertools
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from inworld_sync.emulator.realtime.replies import ToolCall

__all__ = ["McpFailed", "McpServer"]

_PROTOCOL = "2025-06-18"
_TIMEOUT = 10.0
_MAX_ANSWER_BYTES = 4 << 20


class McpFailed(Exception):
    """
    The server refused a request, cannot be reached, or its tool failed.

    Attributes:
        error: The error object of the Realtime protocol.
    """

    def __init__(self, kind: str, message: object, **code: object) -> None:
        super().__init__(str(message))
        self.error: dict[str, object] = {"type": kind, **code, "message": str(message)}


class McpServer:
    """
    One MCP server of a session.

    Locks: ``_lock`` is held during a request, so that there is one request at a time.

    Args:
        label: The ``server_label`` of the session.
        tool: The ``mcp`` tool of a session, with ``server_url``.

    Attributes:
        listed: The tools that may be called; empty until the server has listed them.

    Thread safety: any thread.
    """

    def __init__(self, label: str, tool: Mapping[str, object]) -> None:
        self.label = label
        self.tool = tool
        self.listed: list[dict[str, object]] = []
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

    def load(self) -> list[dict[str, object]]:
        """
        List the tools that may be called.

        Raises:
            McpFailed: The server does not list them.
        """
        allowed = self.tool.get("allowed_tools")
        if isinstance(allowed, dict):
            allowed = allowed.get("tool_names")
        with self._lock:
            self.listed = [
                {
                    "name": tool.get("name"),
                    "description": tool.get("description"),
                    "input_schema": tool.get("inputSchema") or {},
                    "annotations": tool.get("annotations"),
                }
                for tool in self._tools()
                if not isinstance(allowed, list) or tool.get("name") in allowed
            ]
        return self.listed

    def needs_approval(self, name: str) -> bool:
        """Return whether a call needs the client's approval; by default it does."""
        rule = self.tool.get("require_approval", "always")
        if not isinstance(rule, dict):
            return rule != "never"
        never = rule.get("never")
        return not (isinstance(never, dict) and name in (never.get("tool_names") or ()))

    def call(self, call: ToolCall) -> str:
        """
        Call a tool and return the text of its result.

        Raises:
            McpFailed: The call failed.
        """
        params = {"name": call.name, "arguments": json.loads(call.arguments or "{}")}
        with self._lock:
            self._open()
            answer = self._ask("tools/call", params)
        texts = [
            str(part["text"])
            for part in answer.get("content") or ()
            if isinstance(part, dict) and "text" in part
        ]
        if answer.get("isError"):
            raise McpFailed("tool_execution_error", " ".join(texts))
        return " ".join(texts)

    def _tools(self) -> list[dict[str, Any]]:
        self._open()
        found: list[dict[str, Any]] = []
        cursor: object = None
        while True:
            answer = self._ask("tools/list", {"cursor": cursor} if cursor else {})
            listed = answer.get("tools")
            found += [tool for tool in listed if isinstance(tool, dict)] if listed else []
            cursor = answer.get("nextCursor")
            if not cursor:
                return found

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
        if "error" in answer:
            error = answer["error"]
            raise McpFailed("protocol_error", error.get("message"), code=error.get("code"))
        result = answer.get("result")
        if not isinstance(result, dict):
            message = f"the MCP server sent no response to {method}"
            raise McpFailed("protocol_error", message, code=-32603)
        return result

    def _post(self, message: Mapping[str, object]) -> str:
        if not self._url.startswith(("http://", "https://")):
            error = f"server_url must begin with http:// or https://, got {self._url!r}"
            raise McpFailed("http_error", error, code=0)
        data = json.dumps(message).encode()
        request = urllib.request.Request(self._url, data, self._headers)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310
                if session := answer.headers.get("Mcp-Session-Id"):
                    self._headers["Mcp-Session-Id"] = session
                body: bytes = answer.read(_MAX_ANSWER_BYTES)
                return body.decode(errors="replace")
        except urllib.error.HTTPError as error:
            with error:
                raise McpFailed("http_error", error.reason, code=error.code) from None
        except OSError as error:
            raise McpFailed("http_error", error, code=0) from error


def _messages(text: str) -> list[dict[str, Any]]:
    """Read a response: JSON, or server-sent events with JSON."""
    lines = [text] if text.lstrip().startswith("{") else text.splitlines()
    found = []
    for line in lines:
        data = line.removeprefix("data:").strip()
        if data.startswith("{"):
            try:
                found.append(json.loads(data))
            except ValueError:
                continue
    return found
