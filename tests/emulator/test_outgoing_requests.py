"""The emulator's requests to MCP servers and chat endpoints are bounded."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from inworld_sync.emulator import Emulator
from inworld_sync.emulator.realtime import mcp_client
from inworld_sync.emulator.realtime.chat import ChatReplies
from inworld_sync.emulator.realtime.http_client import HttpFailed, post_json
from inworld_sync.errors import ConfigError

from support.peers import Peer, serve
from support.realtime_client import Event, RealtimeClient, open_realtime
from support.tone import ToneSynthesizer

Respond = Callable[[bytes], bytes]


@contextmanager
def http_server(respond: Respond | bytes) -> Iterator[tuple[str, list[bytes]]]:
    """
    Serve raw responses, one for each connection.

    Yields:
        The URL, and the requests so far.
    """
    requests: list[bytes] = []

    def script(peer: Peer) -> None:
        if not (request := _request_on(peer.sock)):
            return
        requests.append(request)
        peer.sock.sendall(respond if isinstance(respond, bytes) else respond(request))
        if respond == b"":
            peer.sock.recv(1)  # until the client disconnects

    with serve(script) as server:
        yield f"http://127.0.0.1:{server.port}/mcp", requests


def _request_on(sock: socket.socket) -> bytes:
    """Read a request. Return no bytes if the client disconnects before the end of the request."""
    data = b""
    while not (found := re.search(rb"(?is)content-length: (\d+).*?\r\n\r\n", data)) or len(
        data
    ) < found.end() + int(found[1]):
        received = sock.recv(65536)
        if not received:
            return b""
        data += received
    return data


def response(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def mcp_result(request: bytes, result: object, key: str = "result") -> bytes:
    """Make the response of an MCP server to a request."""
    number = json.loads(request[request.index(b"{") :]).get("id")
    return response(json.dumps({"jsonrpc": "2.0", "id": number, key: result}).encode())


def listing(client: RealtimeClient, url: object, **fields: Any) -> list[Event]:
    """List the tools of an MCP server. Return the events of the listing."""
    tool = {"type": "mcp", "server_label": "shop", "server_url": url, **fields}
    client.update(output_modalities=["text"], tools=[tool])
    return client.until("conversation.item.done")


def emulator_threads() -> set[threading.Thread]:
    return {one for one in threading.enumerate() if one.name.startswith("inworld-emulator")}


def failed(events: list[Event]) -> bool:
    return "mcp_list_tools.failed" in [event["type"] for event in events]


BAD_RESPONSES = {
    "not HTTP": b"\x00\x01\x02\r\n\r\n",
    "no JSON": response(b"hello"),
    "empty": response(b""),
    "early end": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx",
    "bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "deep JSON": response(b"[" * 100_000),
    "redirect without a place": response(b"", "302 Found"),
    "error": response(b"", "500 Internal Server Error"),
}


@pytest.mark.parametrize("name", BAD_RESPONSES)
def test_bad_response(realtime: RealtimeClient, name: str) -> None:
    """After any bad response of an MCP server, the listing fails with an event."""
    with http_server(BAD_RESPONSES[name]) as (url, _):
        assert failed(listing(realtime, url))

    assert "completed" == realtime.ask("Hi there!")[-1]["response"]["status"]


BAD_RESULTS = [
    ("result", {"tools": 5}),
    ("result", {"tools": [{"name": 5}]}),
    ("result", {"tools": [5]}),
    ("result", {}),
    ("result", "x"),
    ("error", "x"),
    ("error", None),
    ("error", {"code": [], "message": {}}),
]


@pytest.mark.parametrize(("key", "result"), BAD_RESULTS)
def test_bad_result(realtime: RealtimeClient, key: str, result: object) -> None:
    """If a result or an error has the wrong type, the listing fails with an event."""

    def respond(request: bytes) -> bytes:
        is_list = b"tools/list" in request
        return mcp_result(request, result, key) if is_list else mcp_result(request, {})

    with http_server(respond) as (url, _):
        assert failed(listing(realtime, url))


BAD_TOOLS = [
    {"server_url": "http://[::1"},
    {"server_url": "http://"},
    {"server_url": "http://127.0.0.1:99999/"},
    {"server_url": "ftp://127.0.0.1/"},
    {"server_url": "file:///etc/passwd"},
    {"server_url": "http://127.0.0.1:9/\r\nX: y"},
    {"server_url": None},
    {"headers": {"X-Shop": "a\r\nEvil: 1"}},
    {"headers": {"X Shop\n": "a"}},
    {"authorization": "a\r\nEvil: 1"},
]


@pytest.mark.parametrize("fields", BAD_TOOLS)
def test_bad_tool(realtime: RealtimeClient, fields: dict[str, Any]) -> None:
    """If a URL or a header cannot be sent, the listing fails with an event."""
    with http_server(response(b"{}")) as (url, requests):
        assert failed(listing(realtime, **{"url": url, **_renamed(fields)}))

    assert not requests


def _renamed(fields: dict[str, Any]) -> dict[str, Any]:
    return {"url" if name == "server_url" else name: value for name, value in fields.items()}


def test_redirect_to_another_origin(realtime: RealtimeClient) -> None:
    """A redirect is not followed, so the token is not sent to another origin."""
    with http_server(response(b"{}")) as (other, stolen):
        with http_server(response(b"", "302 Found", f"Location: {other}")) as (url, requests):
            events = listing(realtime, url, authorization="token", headers={"X-Key": "secret"})

    assert failed(events)
    assert b"Bearer token" in requests[0]
    assert not stolen


def test_endless_pages(realtime: RealtimeClient) -> None:
    """If a server has endless pages of tools, the listing fails after a limited number of pages."""

    def respond(request: bytes) -> bytes:
        return mcp_result(request, {"tools": [], "nextCursor": "again"})

    with http_server(respond) as (url, requests):
        assert failed(listing(realtime, url))

    assert len(requests) < 30


def test_too_many_tools(realtime: RealtimeClient) -> None:
    """If a server has 1001 tools, the listing fails."""
    tools = [{"name": f"tool_{number}"} for number in range(1001)]
    with http_server(lambda request: mcp_result(request, {"tools": tools})) as (url, _):
        assert failed(listing(realtime, url))


def test_too_large_response(realtime: RealtimeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a response is larger than the maximum, the listing fails."""
    monkeypatch.setattr(mcp_client, "_MAX_ANSWER_BYTES", 10_000)
    with http_server(response(b" " * 20_000)) as (url, _):
        assert failed(listing(realtime, url))


@pytest.mark.parametrize("wait", ["listing", "call"])
def test_close_during_a_request(wait: str) -> None:
    """If a server never responds, the request ends when the emulator closes."""

    def respond(request: bytes) -> bytes:
        tool = {"name": "look_up_order", "description": "Look up an order.", "inputSchema": {}}
        if b"tools/call" in request or wait == "listing":
            waiting.set()
            released.wait(30)
        return mcp_result(request, {"tools": [tool]})

    waiting, released = threading.Event(), threading.Event()
    before = emulator_threads()
    with http_server(respond) as (url, _):
        with Emulator(synthesizer=ToneSynthesizer()) as server, open_realtime(server) as client:
            tool = {
                "type": "mcp",
                "server_label": "shop",
                "server_url": url,
                "require_approval": "never",
            }
            client.update(output_modalities=["text"], tools=[tool])
            if wait == "call":
                client.until("conversation.item.done")
                client.write("Look up my order.")
                client.send("response.create")
            assert waiting.wait(30)
            server.close()
            running = emulator_threads() - before
        released.set()

    assert not running


def chat_session(url: str, **options: Any) -> Emulator:
    replies = ChatReplies(url, **options)
    return Emulator(synthesizer=ToneSynthesizer(), reply_maker=replies)


def test_redirect_of_a_chat_endpoint() -> None:
    """If a chat endpoint sends a redirect, its key is not sent to another origin."""
    with http_server(response(b"{}")) as (other, stolen):
        moved = response(b"", "307 Temporary Redirect", f"Location: {other}")
        with http_server(moved) as (url, requests), chat_session(url, api_key="secret") as server:
            with open_realtime(server) as client:
                done = client.ask("Hi there!")[-1]["response"]

    assert "failed" == done["status"]
    assert b"Bearer secret" in requests[0]
    assert not stolen


def test_close_during_a_chat_reply() -> None:
    """If a chat endpoint never responds, the request ends when the emulator closes."""
    waiting, released = threading.Event(), threading.Event()
    before = emulator_threads()

    def respond(_: bytes) -> bytes:
        waiting.set()
        released.wait(30)
        return b""

    with http_server(respond) as (url, _), chat_session(url) as server:
        with open_realtime(server) as client:
            client.write("Hi there!")
            client.send("response.create")
            assert waiting.wait(30)
            server.close()
            running = emulator_threads() - before
        released.set()

    assert not running


def test_bad_reply_of_a_chat_endpoint(
    tone_server: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    """If a chat endpoint sends no valid reply, the response fails without a traceback."""
    with http_server(response(b"data: {oops\n\n")) as (url, _), chat_session(url) as server:
        with open_realtime(server) as client:
            assert "failed" == client.ask("Hi there!")[-1]["response"]["status"]

    assert not [record for record in caplog.records if record.exc_info]


def post(url: str, **bounds: Any) -> bytes:
    options: dict[str, Any] = {
        "stopped": threading.Event(),
        "timeout": 30.0,
        "total_timeout": 30.0,
        "max_bytes": 1000,
        **bounds,
    }
    with post_json(url, {}, {}, **options) as answer:
        return b"".join(answer.lines)


def test_timeout_without_a_byte() -> None:
    """A request fails if no byte is received within the timeout."""
    with http_server(b"") as (url, _), pytest.raises(HttpFailed, match="in time"):
        post(url, timeout=0.05)


def test_slow_headers() -> None:
    """A server that sends single bytes cannot extend the time limit of the whole request."""
    started = time.monotonic()

    def drip(peer: Peer) -> None:
        while not peer.released.wait(0.01):
            peer.sock.sendall(b"H")

    with serve(drip) as server, pytest.raises(HttpFailed, match="in time"):
        post(f"http://127.0.0.1:{server.port}/", total_timeout=0.3)

    assert time.monotonic() - started < 20


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "http://", "http://[", "file:///x", "nonsense"])
def test_bad_chat_url(url: str) -> None:
    """A URL that is not http or https with a host is refused at once."""
    with pytest.raises(ConfigError, match="base_url"):
        ChatReplies(url)
