"""Chat completions of the emulator: the JSON format, refusals, faults and other reply makers."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from inworld_sync import (
    ChatCompletion,
    ChatVoice,
    ConnectionLost,
    DeadlineExceeded,
    Inworld,
    QuotaError,
    RemoteProtocolError,
    ServiceError,
    TransportError,
    tool,
)
from inworld_sync.emulator import ChatReplies, Emulator, ReplyRequest, Settings, ToolCall

from support.peers import Peer, serve
from support.tone import ToneSynthesizer

PATH = "/v1/chat/completions"
USER = [{"role": "user", "content": "Count to three."}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather for a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


@pytest.fixture
def server() -> Iterator[Emulator]:
    with Emulator(synthesizer=ToneSynthesizer()) as server:
        yield server


@contextmanager
def client_of(server: Emulator) -> Iterator[Inworld]:
    with Inworld(base_url=server.url, api_key=server.api_key, max_retries=0) as iw:
        yield iw


def post(
    server: Emulator, body: object, *, key: str | None = None
) -> tuple[int, dict[str, str], bytes]:
    """
    Send a request without the code of the package. Return the status, the headers and the body.
    """
    with closing(http.client.HTTPConnection("127.0.0.1", server.port)) as connection:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {server.api_key if key is None else key}"}
        connection.request("POST", PATH, data, headers if key != "" else {})
        response = connection.getresponse()
        names = {name.lower(): value for name, value in response.getheaders()}
        return response.status, names, response.read()


def events_of(body: bytes) -> list[dict[str, Any]]:
    """Return the JSON of the events. The last event must be [DONE]."""
    *events, done, empty = body.decode().split("\n\n")
    assert ("data: [DONE]", "") == (done, empty)
    return [json.loads(event.removeprefix("data: ")) for event in events]


def test_whole_answer(server: Emulator) -> None:
    """The answer has the form of OpenAI's reference, with the router's metadata."""
    status, headers, body = post(server, {"model": "auto", "messages": USER})
    answer = json.loads(body)

    assert (200, "application/json") == (status, headers["content-type"])
    assert "chat.completion" == answer["object"]
    assert answer["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "One. Two. Three."},
            "finish_reason": "stop",
        }
    ]
    assert {"prompt_tokens": 4, "completion_tokens": 4, "total_tokens": 8} == answer["usage"]
    assert [True] == [each["success"] for each in answer["metadata"]["attempts"]]


def test_events(server: Emulator) -> None:
    """A streamed answer begins with the role and ends with the finish reason, usage and [DONE]."""
    options = {"stream_options": {"include_usage": True}}
    body = {"model": "auto", "messages": USER, "stream": True, **options}
    status, headers, data = post(server, body)
    first, *middle, end, usage = events_of(data)

    assert (200, "text/event-stream") == (status, headers["content-type"])
    assert {"role": "assistant", "content": ""} == first["choices"][0]["delta"]
    assert ["One. Two.", " Three."] == [each["choices"][0]["delta"]["content"] for each in middle]
    assert ({}, "stop") == (end["choices"][0]["delta"], end["choices"][0]["finish_reason"])
    assert ([], 8) == (usage["choices"], usage["usage"]["total_tokens"])
    assert {first["id"]} == {each["id"] for each in (*middle, end, usage)}


def test_calls_in_events(server: Emulator) -> None:
    """
    The arguments of a tool call arrive in pieces. The id and the name are in the first event only.
    """
    messages = [{"role": "user", "content": "What is the weather in Oslo?"}]
    body = {"model": "auto", "messages": messages, "tools": [WEATHER], "stream": True}
    calls = [
        each["choices"][0]["delta"]["tool_calls"][0]
        for each in events_of(post(server, body)[2])
        if each["choices"][0]["delta"].get("tool_calls")
    ]

    assert ("get_weather", "") == (
        calls[0]["function"]["name"],
        calls[0]["function"]["arguments"],
    )
    assert all({"index", "function"} == each.keys() for each in calls[1:])
    text = "".join(each["function"]["arguments"] for each in calls)
    assert {"city": "Oslo"} == json.loads(text)


@pytest.mark.parametrize("key", ["", "wrong"])
def test_refused_credential(server: Emulator, key: str) -> None:
    """A request with a missing or wrong credential gets 401 with a text, as from the service."""
    status, headers, body = post(server, {"model": "auto", "messages": USER}, key=key)

    assert (401, "text/plain", b"Unauthorized") == (status, headers["content-type"], body)


@pytest.mark.parametrize(
    "fields",
    [
        {"model": None},
        {"model": 5},
        {"messages": None},
        {"messages": []},
        {"messages": {}},
        {"messages": ["x"]},
        {"messages": [{"role": "nobody", "content": "x"}]},
        {"messages": [{"content": "x"}]},
        {"messages": [{"role": "user", "content": 5}]},
        {"messages": [{"role": "user", "content": ["x"]}]},
        {"messages": [{"role": "tool", "content": "x"}]},
        {"messages": [{"role": "assistant", "tool_calls": 5}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"function": 5}]}]},
        {"temperature": 3},
        {"temperature": "x"},
        {"max_tokens": 0},
        {"max_tokens": True},
        {"stop": ["a"] * 5},
        {"stop": 5},
        {"tools": 5},
        {"tools": [{"type": "function", "function": {}}]},
        {"tool_choice": "x"},
        {"tool_choice": {"type": "function"}},
        {"reasoning_effort": "much"},
        {"stream": "yes"},
        {"stream_options": 5},
        {"extra_body": 5},
        {"extra_body": {"models": "x"}},
        {"audio": 5},
        {"audio": {"voice": 5}},
    ],
)
def test_invalid_requests(server: Emulator, fields: dict[str, Any]) -> None:
    """An invalid request, also for a stream, gets 400 with an error in OpenAI's form."""
    for stream in (False, True):
        body = {"model": "auto", "messages": USER, "stream": stream, **fields}
        status, _, data = post(server, body)
        assert (400, "invalid_request_error") == (status, json.loads(data)["error"]["type"])


@pytest.mark.parametrize("body", [b"", b"x", b"[]", b"\xff", b"[" * 100_000])
def test_no_json(server: Emulator, body: bytes) -> None:
    """A request whose body is not a JSON object gets 400."""
    assert 400 == post(server, body)[0]


def test_unknown_voice(server: Emulator) -> None:
    """A request for a voice that does not exist gets 404."""
    body = {"model": "auto", "messages": USER, "audio": {"voice": "Nobody"}}
    status, _, data = post(server, body)

    assert (404, 5) == (status, json.loads(data)["error"]["code"])


def test_spoken_answer(server: Emulator) -> None:
    """A spoken answer has samples at 48 kHz and the transcript of each segment."""
    with client_of(server) as iw:
        whole = iw.llm.chat("Count to three.", audio=ChatVoice("Dennis"))
        deltas = list(iw.llm.stream("Count to three.", audio=ChatVoice("Dennis")).deltas())
    parts = [delta.audio for delta in deltas if delta.audio is not None]

    assert whole.audio is not None
    assert "One. Two. Three." == whole.audio.transcript
    assert whole.audio.duration_ms > 100
    assert ["One.", " Two.", " Three."] == [part.transcript for part in parts if part.transcript]
    assert sum(len(part.pcm) for part in parts) > 10_000
    assert {48000} == {part.sample_rate_hz for part in parts}


@tool
def get_weather(city: str) -> str:
    """Weather for a city."""
    return f"rain in {city}"


def test_tools(server: Emulator) -> None:
    """
    The model calls a function, and the next answer has the function's output, streamed or not.
    """
    for streamed in (False, True):
        with client_of(server) as iw:

            def ask(messages: list[Any], iw: Inworld = iw) -> ChatCompletion:
                if streamed:  # noqa: B023
                    return iw.llm.stream(messages, tools=[get_weather]).result()
                return iw.llm.chat(messages, tools=[get_weather])

            messages: list[Any] = [{"role": "user", "content": "What is the weather in Oslo?"}]
            answer = ask(messages)
            assert [("get_weather", '{"city": "Oslo"}')] == [
                (call.name, call.arguments) for call in answer.tool_calls
            ]
            messages += iw.llm.run_tools(answer, [get_weather])
            assert "The weather says: rain in Oslo." == ask(messages).text


# Faults.


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("http_status:429", QuotaError),
        ("http_status:503", ServiceError),
        ("drop_request", ConnectionLost),
        ("drop@2", ConnectionLost),
        ("reset@2", ConnectionLost),
        ("half_frame@2", ConnectionLost),
        ("bad_json@2", RemoteProtocolError),
        ("error:8@2", QuotaError),
        ("stall@2", DeadlineExceeded),
    ],
)
def test_faults(fault: str, kind: type[Exception]) -> None:
    """Each fault raises an error. If the answer has begun, the error has the received part."""
    server = Emulator(synthesizer=ToneSynthesizer(), faults=[fault])
    with server, client_of(server) as iw, pytest.raises(kind) as caught:
        list(iw.llm.stream("Count to twenty.", event_timeout=0.5))

    partial = getattr(caught.value, "partial", None)
    assert ("@" in fault) == (isinstance(partial, ChatCompletion) and "One. Two." == partial.text)


def test_slow_answer() -> None:
    """A slow answer is complete."""
    server = Emulator(synthesizer=ToneSynthesizer(), faults=["slow:20000"])
    with server, client_of(server) as iw:
        assert "One. Two. Three." == iw.llm.stream("Count to three.").result().text


# Other reply makers.


@contextmanager
def chat_endpoint(*answers: bytes) -> Iterator[tuple[str, list[Any]]]:
    """Serve whole chat responses, one for each connection. Yield the URL and the request bodies."""
    bodies: list[Any] = []

    def script(peer: Peer) -> None:
        bodies.append(json.loads(peer.read_request()[1]))
        answer = answers[len(bodies) - 1]
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + answer)

    with serve(script) as server:
        yield f"http://127.0.0.1:{server.port}/v1", bodies


def sse(*deltas: dict[str, Any]) -> bytes:
    events = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    return b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events)


def test_answers_of_an_endpoint() -> None:
    """With a chat endpoint, texts and tool calls pass in both directions, streamed or not."""
    call = {"index": 0, "function": {"name": "get_weather", "arguments": '{"city": "Rome"}'}}
    calls, text = sse({"tool_calls": [call]}) + b"data: [DONE]\n\n", sse({"content": "Rain."})
    with chat_endpoint(calls, text) as (url, bodies):
        replies = ChatReplies(url, model="local-model")
        with Emulator(reply_maker=replies) as server, client_of(server) as iw:
            messages: list[Any] = [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Weather in Rome?"},
            ]
            answer = iw.llm.chat(messages, tools=[get_weather], model="any/model", temperature=0.5)
            messages += iw.llm.run_tools(answer, [get_weather])
            rest = iw.llm.stream(messages, tools=[get_weather], model="any/model").result()

    assert "Rain." == rest.text
    assert ("local-model", 0.5, messages[:2]) == (
        bodies[0]["model"],
        bodies[0]["temperature"],
        bodies[0]["messages"],
    )
    assert ["get_weather"] == [each["function"]["name"] for each in bodies[0]["tools"]]
    assert ["system", "user", "assistant", "tool"] == [m["role"] for m in bodies[1]["messages"]]
    assert "rain in Rome" == bodies[1]["messages"][3]["content"]


def test_endpoint_that_fails() -> None:
    """
    If the endpoint fails before the first text, the client gets 502. A later error is sent as an
    event.
    """
    error = b'data: {"error": {"message": "overloaded"}}\n\n'
    with chat_endpoint(error, sse({"content": "Once"}) + error) as (url, _):
        with Emulator(reply_maker=ChatReplies(url)) as server, client_of(server) as iw:
            with pytest.raises(ServiceError, match="overloaded") as refused:
                iw.llm.stream("x")
            with pytest.raises(ServiceError, match="overloaded") as late:
                iw.llm.stream("x").result()

    assert 502 == refused.value.status
    assert isinstance(late.value.partial, ChatCompletion)
    assert "Once" == late.value.partial.text


def test_reply_maker_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    """If a reply maker raises an error, the client gets 500. A stream that has begun ends."""

    def broken(request: ReplyRequest) -> Iterator[str]:
        if "late" in str(request.items):
            yield "Once"
        raise RuntimeError("my bug")

    with Emulator(reply_maker=broken) as server, client_of(server) as iw:
        with pytest.raises(ServiceError) as refused:
            iw.llm.chat("x")
        with pytest.raises(TransportError) as late:
            iw.llm.stream("late").result()

    assert 500 == refused.value.status
    assert isinstance(late.value.partial, ChatCompletion)
    assert "my bug" in caplog.text


def test_text_beside_a_call() -> None:
    """Text before and after a tool call is kept, and the finish reason is tool_calls."""

    def both(_: ReplyRequest) -> Iterator[str | ToolCall]:
        yield "Let me see. "
        yield ToolCall("f", '{"a": 1}')
        yield "Done."

    with Emulator(reply_maker=both) as server, client_of(server) as iw:
        for answer in (iw.llm.chat("x"), iw.llm.stream("x").result()):
            assert ("Let me see. Done.", "tool_calls") == (answer.text, answer.finish_reason)
            assert [("f", '{"a": 1}')] == [
                (each.name, each.arguments) for each in answer.tool_calls
            ]


@pytest.mark.parametrize("stops", [["ef"], ["zz", "ef"], ["fgh", "ef"], ["bcdef"]])
def test_stop_text_over_pieces(stops: list[str]) -> None:
    """The answer ends before a stop text, even if the stop text is split between pieces."""

    def pieces(_: ReplyRequest) -> Iterator[str]:
        yield from ("ab", "cd", "e", "f", "gh")

    with Emulator(reply_maker=pieces) as server, client_of(server) as iw:
        text = iw.llm.stream("x", stop=stops).result().text

    assert ("a" if stops == ["bcdef"] else "abcd") == text


def test_close_during_an_answer() -> None:
    """If the emulator closes while a reply maker waits, the answer ends."""
    waiting = threading.Event()

    def slow(request: ReplyRequest) -> Iterator[str]:
        yield "Once"
        waiting.set()
        request.cancelled.wait()

    with Emulator(reply_maker=slow, settings=Settings()) as server, client_of(server) as iw:
        stream = iw.llm.stream("x", event_timeout=60)
        assert "Once" == next(stream)
        assert waiting.wait(30)
        server.close()
        with pytest.raises((ConnectionLost, ServiceError)):
            next(stream)
