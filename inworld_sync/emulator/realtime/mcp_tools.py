"""
Lists the tools of the MCP servers of one session, and keeps the calls that wait for approval.

The service documents MCP in the same way as OpenAI. No capture of the service shows MCP.
Source: OpenAI Realtime reference, "MCP tools".

Threads: each listing has its own thread.
Locks: ``_lock`` guards the tables; no thread waits while it holds the lock.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping, Sequence

import attrs

from inworld_sync.emulator.peer import PeerGone
from inworld_sync.emulator.realtime.conversation import Conversation, Item, new_item
from inworld_sync.emulator.realtime.events import EventSender, InvalidRequest, new_id
from inworld_sync.emulator.realtime.mcp_client import McpFailed, McpServer
from inworld_sync.emulator.realtime.replies import ToolCall

__all__ = ["ApprovedCall", "McpTools", "with_calls_as_functions"]

_JOIN_SECONDS = 5.0
# The largest number of MCP servers of one session, and the largest number of listings that run at
# the same time.
_MAX_SERVERS = 32
_MAX_WAITING_CALLS = 100


@attrs.frozen
class ApprovedCall:
    """A call of an MCP tool, and the approval request that the client approved."""

    call: ToolCall
    request_id: str


class McpTools:
    """
    The MCP servers of one session.

    Thread safety: any thread may use this object.
    """

    def __init__(self, events: EventSender, conversation: Conversation) -> None:
        self._events = events
        self._conversation = conversation
        self._lock = threading.Lock()
        self._servers: dict[str, McpServer] = {}
        self._waiting: dict[str, ToolCall] = {}
        self._threads: list[threading.Thread] = []
        self._stopped = threading.Event()

    def configure(self, tools: object) -> None:
        """
        List the tools of each new server among a session's tools. Each server gets its own thread.

        Raises:
            InvalidRequest: There are too many servers.
        """
        for tool in tools if isinstance(tools, list) else ():
            if tool["type"] != "mcp":
                continue
            label = str(tool["server_label"])
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            with self._lock:
                known = self._servers.get(label)
                if known is not None and known.tool == tool:
                    continue
                is_full = known is None and len(self._servers) >= _MAX_SERVERS
                if is_full or len(self._threads) >= _MAX_SERVERS:
                    message = f"A session can have at most {_MAX_SERVERS} MCP servers."
                    raise InvalidRequest("too_many_mcp_servers", message, "session.tools")
                server = self._servers[label] = McpServer(label, tool, self._stopped)
            thread = threading.Thread(
                target=self._list, args=(server,), name="inworld-emulator-mcp", daemon=True
            )
            thread.start()
            self._threads.append(thread)

    def abort(self) -> None:
        """End all requests to MCP servers."""
        self._stopped.set()

    def join(self) -> None:
        """Wait for unfinished listings."""
        for thread in self._threads:
            thread.join(_JOIN_SECONDS)

    def functions(self, tools: Sequence[Mapping[str, object]]) -> list[Mapping[str, object]]:
        """Return the tools of those MCP servers that are among *tools*, as functions."""
        labels = [tool["server_label"] for tool in tools if tool["type"] == "mcp"]
        with self._lock:
            return [
                {
                    "type": "function",
                    "name": tool["name"],
                    "description": tool["description"],
                    "parameters": tool["input_schema"],
                }
                for label in labels
                if label in self._servers
                for tool in self._servers[str(label)].listed
            ]

    def owner(self, name: str) -> McpServer | None:
        """Return the first server that lists the tool *name*; None if no server lists it."""
        with self._lock:
            servers = list(self._servers.values())
        offered = (one for one in servers if any(tool["name"] == name for tool in one.listed))
        return next(offered, None)

    def ask_approval(self, call: ToolCall) -> str:
        """Store a call until the client decides; return the id of the approval request."""
        request_id = new_id("mcpr")
        with self._lock:
            self._waiting[request_id] = call
            if len(self._waiting) > _MAX_WAITING_CALLS:
                del self._waiting[next(iter(self._waiting))]
        return request_id

    def decide(self, decision: Item) -> ApprovedCall | None:
        """
        Handle the client's decision; return the call if it was approved.

        Raises:
            InvalidRequest: The approval request does not exist.
        """
        request_id = str(decision.get("approval_request_id"))
        with self._lock:
            call = self._waiting.pop(request_id, None)
        if call is None:
            raise InvalidRequest(
                "invalid_value",
                f"Approval request '{request_id}' not found in conversation.",
                "item.approval_request_id",
            )
        return ApprovedCall(call, request_id) if decision.get("approve") is True else None

    def _list(self, server: McpServer) -> None:
        item = new_item("mcp_list_tools", "mcpl", server_label=server.label, tools=[])
        with contextlib.suppress(PeerGone):
            self._conversation.add(item)
            self._events.send("mcp_list_tools.in_progress", item_id=item["id"])
            try:
                tools = server.load()
            except McpFailed as error:
                self._events.send("mcp_list_tools.failed", item_id=item["id"])
                self._conversation.finish({**item, "error": error.error})
                return
            self._events.send("mcp_list_tools.completed", item_id=item["id"])
            self._conversation.finish({**item, "tools": tools})


def with_calls_as_functions(items: Sequence[Item]) -> list[Item]:
    """Replace the calls of MCP tools with function calls, for a reply maker."""
    shown: list[Item] = []
    for item in items:
        if item["type"] == "mcp_call":
            call = {"call_id": item["id"], "name": item["name"], "arguments": item["arguments"]}
            output = item.get("output") or item.get("error") or ""
            shown.append({"type": "function_call", **call})
            shown.append({"type": "function_call_output", "call_id": item["id"], "output": output})
        elif not str(item["type"]).startswith("mcp_"):
            shown.append(item)
    return shown
