"""Replies that the emulator gets from an OpenAI-compatible endpoint."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from inworld_sync.emulator import Emulator
from inworld_sync.emulator.realtime.chat import ChatReplies
from inworld_sync.errors import ConfigError

from support.realtime_client import RealtimeClient, open_realtime
from support.tone import ToneSynthesizer

WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "Weather for a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


class ChatEndpoint:
    """A server that gives each request one answer: a stream of deltas, an object, or a status."""

    def __init__(self, *answers: list[dict[str, Any]] | dict[str, Any] | int) -> None:
        self.answers = list(answers)
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []

    @contextmanager
    def running(self) -> Iterator[str]:
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                endpoint.bodies.append({"path": self.path, **json.loads(self.rfile.read(length))})
                endpoint.keys.append(self.headers["Authorization"])
                answer = endpoint.answers.pop(0)
                self.send_response(answer if isinstance(answer, int) else 200)
                if isinstance(answer, dict):
                    self.send_header("Content-Type", "application/json; charset=utf-8")
                    self.end_headers()
                    self.wfile.write(json.dumps(answer, indent=2).encode())
                    return
                self.end_headers()
                if isinstance(answer, int):
                    self.wfile.write(b"out of order")
                    return
                self.wfile.write(b": a comment\n\nevent: message\n")
                for delta in answer:
                    chunk = {"choices": [{"index": 0, "delta": delta}]}
                    if "error" in delta:
                        chunk = delta
                    self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
                self.wfile.write(b"data: [DONE]\n\n")

            def log_message(self, *args: Any) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_address[1]}/v1"
            finally:
                server.shutdown()
                thread.join()


@contextmanager
def session(endpoint: ChatEndpoint, **options: Any) -> Iterator[RealtimeClient]:
    with endpoint.running() as url:
        maker = ChatReplies(url, **options)
        with Emulator(synthesizer=ToneSynthesizer(), reply_maker=maker) as server:
            with open_realtime(server) as client:
                client.update(output_modalities=["text"], instructions="Be brief.", tools=[WEATHER])
                yield client


def test_reply() -> None:
    """The reply has the endpoint's pieces of text. The request has the conversation."""
    endpoint = ChatEndpoint([{"role": "assistant"}, {"content": "Good "}, {"content": "day."}])
    with session(endpoint, model="tiny", api_key="k") as client:
        events = client.ask("Hi there!")

    assert ["Good ", "day."] == [e["delta"] for e in events if e["type"].endswith("text.delta")]
    body = endpoint.bodies[0]
    assert ("/v1/chat/completions", "tiny", True) == (body["path"], body["model"], body["stream"])
    assert [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi there!"},
    ] == body["messages"]
    assert {"get_weather"} == {tool["function"]["name"] for tool in body["tools"]}
    assert ["Bearer k"] == endpoint.keys


def test_call_and_output() -> None:
    """A tool call may arrive in pieces. The next request has the output of the tool."""
    pieces = [
        {"tool_calls": [{"index": 0, "function": {"name": "get_weather", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"city":'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '"Oslo"}'}}]},
    ]
    endpoint = ChatEndpoint(pieces, [{"content": "Rain."}])
    with session(endpoint) as client:
        call = client.ask("Weather in Oslo?")[-1]["response"]["output"][0]
        output = {"type": "function_call_output", "call_id": call["call_id"], "output": "rain"}
        client.send("conversation.item.create", item=output)
        client.until("response.done")

    assert ("get_weather", '{"city":"Oslo"}') == (call["name"], call["arguments"])
    told = endpoint.bodies[1]["messages"][-2:]
    assert call["call_id"] == told[0]["tool_calls"][0]["id"]
    assert {"role": "tool", "tool_call_id": call["call_id"], "content": "rain"} == told[1]


def test_refusal() -> None:
    """If the endpoint refuses the request, the response fails with the endpoint's message."""
    with session(ChatEndpoint(503)) as client:
        response = client.ask("Hi there!")[-1]["response"]

    assert "failed" == response["status"]
    assert "503 Service Unavailable: out of order" in response["status_details"]["error"]["message"]


def test_not_http() -> None:
    """A URL that is not HTTP is refused at once."""
    with pytest.raises(ConfigError, match="http"):
        ChatReplies("file:///etc/passwd")


def message_of(endpoint: ChatEndpoint) -> dict[str, Any]:
    """Request a reply. Return the first output item of the response, or the error."""
    with session(endpoint) as client:
        response: dict[str, Any] = client.ask("Weather in Oslo?")[-1]["response"]
    failure = response["status_details"]
    return response["output"][0] if failure is None else failure["error"]


def test_endpoint_that_does_not_stream() -> None:
    """The endpoint may answer with one JSON object. Its tool call may have no index."""
    call = {"id": "1", "function": {"name": "get_weather", "arguments": {"city": "Oslo"}}}
    answer = {"choices": [{"message": {"content": None, "tool_calls": [call]}}]}
    item = message_of(ChatEndpoint(answer))

    assert ("get_weather", {"city": "Oslo"}) == (item["name"], json.loads(item["arguments"]))


def test_content_in_parts() -> None:
    """The content of a delta may be a list of parts."""
    delta = {"content": [{"type": "text", "text": "Good "}, {"type": "text", "text": "day."}]}

    assert "Good day." == message_of(ChatEndpoint([delta]))["content"][0]["text"]


def test_calls_at_once_without_an_index() -> None:
    """Several whole calls in one delta become separate calls."""
    calls = [
        {"function": {"name": "get_weather", "arguments": f'{{"city": "{city}"}}'}} for city in "AB"
    ]
    with session(ChatEndpoint([{"tool_calls": calls}])) as client:
        output = client.ask("Weather?")[-1]["response"]["output"]

    assert [{"city": "A"}, {"city": "B"}] == [json.loads(item["arguments"]) for item in output]


def test_error_in_the_stream() -> None:
    """If the stream has an error object, the response fails with the message of this error."""
    error = message_of(ChatEndpoint([{"error": {"message": "overloaded"}}]))

    assert "overloaded" in error["message"]


def test_calls_in_one_message() -> None:
    """
    A request has the calls in one message, then the outputs. Calls without output are omitted.
    """
    calls = [
        {"index": at, "function": {"name": "get_weather", "arguments": "{}"}} for at in range(3)
    ]
    endpoint = ChatEndpoint([{"tool_calls": calls}], [{"content": "Rain."}])
    with session(endpoint) as client:
        client.update(providerData={"auto_tool_response": False})
        output = client.ask("Weather?")[-1]["response"]["output"]
        for item in output[:2]:
            item = {"type": "function_call_output", "call_id": item["call_id"], "output": "rain"}
            client.send("conversation.item.create", item=item)
        client.send("response.create")
        client.until("response.done")

    sent = endpoint.bodies[1]["messages"][-3:]
    assert ["assistant", "tool", "tool"] == [message["role"] for message in sent]
    ids = [call["id"] for call in sent[0]["tool_calls"]]
    assert ids == [message["tool_call_id"] for message in sent[1:]]


def test_url_with_its_path() -> None:
    """A URL that already ends with the path of the endpoint is used unchanged."""
    assert "/v1/chat/completions'" in repr(ChatReplies("http://localhost/v1/chat/completions/"))
