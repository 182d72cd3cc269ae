"""MCP tools are listed and called, approvals are requested, and failures are reported."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from support.realtime_client import Event, RealtimeClient

LOOKUP = {
    "name": "look_up_order",
    "description": "Look up an order.",
    "inputSchema": {"type": "object", "properties": {"number": {"type": "integer"}}},
}
BREAK = {"name": "break_things", "description": "Break something.", "inputSchema": {}}


class McpServer:
    """A small MCP server over streamable HTTP. Every second response is an event stream."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.url = ""

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["method"] == "initialize":
            return {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}}
        if request["method"] == "tools/list":
            page = request["params"].get("cursor")
            return {"tools": [BREAK]} if page else {"tools": [LOOKUP], "nextCursor": "2"}
        if request["params"]["name"] == "break_things":
            return {"isError": True, "content": [{"type": "text", "text": "it broke"}]}
        number = request["params"]["arguments"]["number"]
        return {"content": [{"type": "text", "text": f"order {number} is on its way"}]}


@pytest.fixture
def mcp() -> Iterator[McpServer]:
    fake = McpServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            fake.requests.append(request)
            fake.headers.append(dict(self.headers))
            if "id" not in request:
                self.send_response(202)
                self.end_headers()
                return
            answer = {"jsonrpc": "2.0", "id": request["id"], "result": fake.answer(request)}
            text = json.dumps(answer)
            self.send_response(200)
            self.send_header("Mcp-Session-Id", "s1")
            self.end_headers()
            stream = request["id"] % 2 == 0
            self.wfile.write((f"event: message\ndata: {text}\n\n" if stream else text).encode())

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        fake.url = f"http://127.0.0.1:{server.server_address[1]}/mcp"
        yield fake
        server.shutdown()
        thread.join()


def list_tools(client: RealtimeClient, url: str, **fields: Any) -> list[Event]:
    tool = {"type": "mcp", "server_label": "shop", "server_url": url, **fields}
    client.update(output_modalities=["text"], tools=[tool])
    return client.until("conversation.item.done")


def types_of(events: list[Event]) -> list[str]:
    return [event["type"] for event in events if not event["type"].endswith(".delta")]


def test_listing(realtime: RealtimeClient, mcp: McpServer) -> None:
    """All pages of the tools of a server are listed, and the client gets all tools."""
    events = list_tools(realtime, mcp.url, headers={"X-Shop": "1"}, authorization="token")

    expected = [
        "conversation.item.added",
        "mcp_list_tools.in_progress",
        "mcp_list_tools.completed",
        "conversation.item.done",
    ]
    assert expected == types_of(events)
    item = events[-1]["item"]
    assert ("mcp_list_tools", "shop") == (item["type"], item["server_label"])
    assert ["look_up_order", "break_things"] == [tool["name"] for tool in item["tools"]]
    assert ("1", "Bearer token") == (mcp.headers[0]["X-Shop"], mcp.headers[0]["Authorization"])
    assert "s1" == mcp.headers[-1]["Mcp-Session-Id"]


def test_call(realtime: RealtimeClient, mcp: McpServer) -> None:
    """The emulator calls the tool itself, and the same response continues with the result."""
    list_tools(realtime, mcp.url, require_approval="never")
    events = realtime.ask("Where is my order 42?")

    expected = [
        "response.output_item.added",
        "conversation.item.added",
        "response.mcp_call_arguments.done",
        "response.mcp_call.in_progress",
        "response.mcp_call.completed",
        "conversation.item.done",
        "response.output_item.done",
    ]
    assert expected == types_of(events)[3:10]
    call, message = events[-1]["response"]["output"]
    assert ("mcp_call", "look_up_order") == (call["type"], call["name"])
    assert ({"number": 42}, "order 42 is on its way") == (
        json.loads(call["arguments"]),
        call["output"],
    )
    assert "The look up order says: order 42 is on its way." == message["content"][0]["text"]


@pytest.mark.parametrize("approve", [True, False])
def test_approval(realtime: RealtimeClient, mcp: McpServer, approve: bool) -> None:
    """By default, a call needs approval. A refused call is not made."""
    list_tools(realtime, mcp.url)
    request = realtime.ask("Where is my order 42?")[-1]["response"]["output"][-1]
    answer = {
        "type": "mcp_approval_response",
        "approval_request_id": request["id"],
        "approve": approve,
    }
    assert "mcp_approval_request" == request["type"]
    assert "tools/call" not in [asked["method"] for asked in mcp.requests]
    realtime.send("conversation.item.create", item=answer)
    if not approve:
        realtime.until("conversation.item.done")
        realtime.send("response.cancel")
        assert "response_cancel_not_active" == realtime.error()["code"]
        return

    call = realtime.next("response.done")["response"]["output"][0]
    assert (request["id"], "order 42 is on its way") == (
        call["approval_request_id"],
        call["output"],
    )


def test_failing_tool(realtime: RealtimeClient, mcp: McpServer) -> None:
    """If a tool fails, the call is reported as failed, with the message of the tool."""
    list_tools(realtime, mcp.url, require_approval={"never": {"tool_names": ["break_things"]}})
    events = realtime.ask("Break things, please.")

    assert "response.mcp_call.failed" in types_of(events)
    error = events[-1]["response"]["output"][0]["error"]
    assert {"type": "tool_execution_error", "message": "it broke"} == error


def test_allowed_tools(realtime: RealtimeClient, mcp: McpServer) -> None:
    """Only the allowed tools are listed."""
    item = list_tools(realtime, mcp.url, allowed_tools=["break_things"])[-1]["item"]

    assert ["break_things"] == [tool["name"] for tool in item["tools"]]


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/mcp", "file:///etc/passwd"])
def test_unreachable_server(realtime: RealtimeClient, url: str) -> None:
    """If an MCP server cannot be reached, only its listing fails."""
    events = list_tools(realtime, url)

    assert "mcp_list_tools.failed" in types_of(events)
    assert "completed" == realtime.ask("Hi there!")[-1]["response"]["status"]
