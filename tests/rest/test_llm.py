"""Tests of chat completions over real sockets, with services that are slow, broken or hostile."""

from __future__ import annotations

import itertools
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from inworld_sync import (
    AuthError,
    ChatCompletion,
    ChatMessage,
    ChatToolCall,
    ClosedError,
    ConfigError,
    ConnectError,
    ConnectionLost,
    DeadlineExceeded,
    InvalidRequestError,
    Inworld,
    LocalProtocolError,
    NotFoundError,
    QuotaError,
    RemoteProtocolError,
    ServiceError,
    tool,
)
from inworld_sync.emulator import Emulator, ReplyRequest

from support.forks import in_child
from support.peers import Peer, serve
from support.scripted import KEY

Request = dict[str, Any]
EVENTS_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
DONE = b"data: [DONE]\n\n"
HALVES = ["a\ud83d", "\ude00b", "\ude00c"]


def event(delta: object, finish_reason: str | None = None, **fields: object) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    body = {"id": "a1", "model": "m", "choices": [choice], **fields}
    return b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\n\n"


def said(*texts: str) -> bytes:
    return b"".join(event({"content": text}) for text in texts)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def whole(status: str, body: object = None, *headers: str) -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(data)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + data


def completion(message: object, finish_reason: str = "stop") -> bytes:
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    return whole("200 OK", {"id": "a1", "model": "m", "choices": [choice]})


Script = Callable[[Peer], None]


@contextmanager
def client(script: Script | bytes, **options: Any) -> Iterator[Inworld]:
    """Yield a client of a server that runs a script or gives every request the same answer."""
    answer = script

    def answering(peer: Peer) -> None:
        assert isinstance(answer, bytes)
        while True:
            peer.read_request()
            peer.send(answer)

    with (
        serve(answering if isinstance(script, bytes) else script) as server,
        Inworld(api_key=KEY, base_url=f"http://127.0.0.1:{server.port}", **options) as iw,
    ):
        yield iw


def streaming(*pieces: bytes, ends: bool = True) -> Script:
    """Return a script that streams these pieces. If *ends* is False, the body never ends."""

    def script(peer: Peer) -> None:
        while True:
            peer.read_request()
            peer.send(EVENTS_HEAD + b"".join(map(chunk, pieces)))
            if not ends:
                peer.read_until_end()
                return
            peer.send(chunk(b""))

    return script


# Whole answers.


def test_chat() -> None:
    """
    A request has the credential and the settings. The answer has the text and the finish reason.
    """
    seen: list[tuple[bytes, Request]] = []

    def script(peer: Peer) -> None:
        head, body = peer.read_request()
        seen.append((head, json.loads(body)))
        peer.send(completion({"role": "assistant", "content": "Hi."}))
        peer.read_until_end()

    with client(script) as iw:
        answer = iw.llm.chat("Hello.", temperature=0, max_tokens=5)

    head, body = seen[0]
    assert head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    assert f"\r\nAuthorization: Basic {KEY}\r\n".encode() in head
    assert {"temperature": 0, "max_tokens": 5} == {
        k: body[k] for k in ("temperature", "max_tokens")
    }
    assert ("Hi.", "stop") == (answer.text, answer.finish_reason)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        ("401 Unauthorized", b"Unauthorized", AuthError),
        ("404 Not Found", {"error": {"message": "no model x", "code": "model_not_found"}},
         NotFoundError),
        ("400 Bad Request", {"error": {"message": "bad", "type": "invalid_request_error"}},
         InvalidRequestError),
        ("429 Too Many Requests", {"error": {"message": "slow down"}}, QuotaError),
        ("503 Service Unavailable", b"<html><title>down</title></html>", ServiceError),
        ("302 Found", b"", ServiceError),
    ],
)  # fmt: skip
@pytest.mark.parametrize("is_streamed", [False, True])
def test_refused(status: str, body: object, kind: type[Exception], is_streamed: bool) -> None:
    """A refused request raises the error for the HTTP status at once, and is sent only once."""
    with serve(lambda peer: answer_all(peer, whole(status, body), counted)) as server:
        counted: list[bytes] = []
        with Inworld(api_key=KEY, base_url=f"http://127.0.0.1:{server.port}") as iw:
            with pytest.raises(kind) as caught:
                (iw.llm.stream if is_streamed else iw.llm.chat)("Hello.")

    assert 1 == len(counted)
    assert KEY not in repr(caught.value)


def answer_all(peer: Peer, answer: bytes, seen: list[bytes]) -> None:
    while True:
        seen.append(peer.read_request()[1])
        peer.send(answer)


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
@pytest.mark.parametrize("is_streamed", [False, True])
def test_retry_after(status: str, is_streamed: bool) -> None:
    """If the service has not handled a request and asks for a retry, the request is repeated."""
    seen: list[bytes] = []

    def script(peer: Peer) -> None:
        while True:
            body = peer.read_request()[1]
            seen.append(body)
            if len(seen) == 1:
                peer.send(whole(status, {"error": {"message": "busy"}}, "Retry-After: 0"))
            elif is_streamed:
                peer.send(EVENTS_HEAD + chunk(said("Hi.") + DONE) + chunk(b""))
            else:
                peer.send(completion({"content": "Hi."}))

    with client(script) as iw:
        text = iw.llm.stream("x").result().text if is_streamed else iw.llm.chat("x").text

    assert ("Hi.", 2) == (text, len(seen))


def test_retry_after_is_too_long() -> None:
    """If the service asks for a wait longer than the timeout, the client does not wait."""
    started = time.monotonic()
    with client(whole("429 Too Many", {}, "Retry-After: 3000")) as iw:
        with pytest.raises(QuotaError) as caught:
            iw.llm.chat("x", timeout=60)

    assert 3000 == caught.value.retry_after
    assert time.monotonic() - started < 30


def test_no_retry_of_a_request_that_may_be_handled() -> None:
    """
    If the connection breaks after a request, the request is not sent again, since a second
    request might also be charged.
    """
    seen: list[bytes] = []

    def script(peer: Peer) -> None:
        seen.append(peer.read_request()[1])

    with client(script) as iw, pytest.raises(ConnectionLost):
        iw.llm.chat("x")

    assert 1 == len(seen)


def test_could_not_connect() -> None:
    """A server that does not exist causes a network error."""
    with serve(lambda peer: peer.hold()) as server:
        port = server.port
    with Inworld(api_key=KEY, base_url=f"http://127.0.0.1:{port}", max_retries=1) as iw:
        with pytest.raises(ConnectError):
            iw.llm.chat("x")


def test_nothing_is_sent_for_wrong_arguments() -> None:
    """Wrong arguments are refused before a connection is opened."""
    with serve(lambda peer: peer.hold()) as server:
        with Inworld(api_key=KEY, base_url=f"http://127.0.0.1:{server.port}") as iw:
            for call in (iw.llm.chat, iw.llm.stream):
                with pytest.raises(ConfigError):
                    call([])
                with pytest.raises(ConfigError, match="timeout"):
                    call("x", timeout=-1)
                with pytest.raises(ConfigError, match="extra must not have 'stream'"):
                    call("x", extra={"stream": True})
                for wrong, right in (
                    ("model_id", "model"),
                    ("system", "messages"),
                    ("max_completion_tokens", "max_tokens"),
                    ("voice", "audio"),
                    ("models", "fallback_models"),
                    ("presence_penalty", "extra"),
                ):
                    with pytest.raises(TypeError, match=f"did you mean '{right}'"):
                        call("x", **{wrong: "m"})  # type: ignore[arg-type]
            with pytest.raises(ConfigError, match="event_timeout"):
                iw.llm.stream("x", event_timeout=float("nan"))
            with pytest.raises(LocalProtocolError, match="calls no function"):
                iw.llm.run_tools(ChatCompletion(text="x"), [])
            with pytest.raises(ConfigError, match="answer must be"):
                iw.llm.run_tools("x", [])  # type: ignore[arg-type]
            for tools in (None, [weather, "x"], [len]):
                with pytest.raises(ConfigError, match="tools must be a list of ToolFunction"):
                    iw.llm.run_tools(ChatCompletion(text="x"), tools)  # type: ignore[arg-type]

        assert 0 == server.accepted


# Streams.


def test_stream() -> None:
    """The text arrives in pieces, and the result has the whole text."""
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    pieces = [
        event({"role": "assistant", "content": ""}),
        said("Hel"),
        b": keep-alive\n\n",
        said("lo", " there."),
        event({}, "stop"),
        event({}, usage=usage),
        DONE,
    ]
    with client(streaming(*pieces)) as iw:
        with iw.llm.stream("x") as stream:
            texts = list(stream)
            answer = stream.result()

    assert ["Hel", "lo", " there."] == texts
    assert ("Hello there.", "stop", 3) == (
        answer.text,
        answer.finish_reason,
        answer.usage and answer.usage.total_tokens,
    )


def test_a_character_in_two_pieces() -> None:
    """A surrogate pair that arrives in two events is one character. A single half becomes a "?"."""
    halves = [json.dumps({"choices": [{"delta": {"content": text}}]}) for text in HALVES]
    events = [f"data: {each}\n\n".encode() for each in halves]
    with client(streaming(*events, event({}, "stop"), DONE)) as iw, iw.llm.stream("Hi") as stream:
        assert "a\N{GRINNING FACE}b?c" == "".join(stream)
        assert "a\N{GRINNING FACE}b?c" == stream.result().text


def test_stream_cut_anywhere() -> None:
    """The result is the same if chunks of one byte split characters and lines."""
    body = (said("Grüße 🙂", "!") + event({}, "stop") + DONE).replace(b"\n", b"\r\n")
    pieces = [body[at : at + 1] for at in range(len(body))]
    with client(streaming(*pieces)) as iw:
        assert ["Grüße 🙂", "!"] == list(iw.llm.stream("x"))


def test_connection_is_kept() -> None:
    """Several streams use one connection if each stream is read to its end."""
    with serve(streaming(said("a"), DONE)) as server:
        with Inworld(api_key=KEY, base_url=f"http://127.0.0.1:{server.port}") as iw:
            assert ["a", "a", "a"] == [iw.llm.stream("x").result().text for _ in range(3)]

        assert 1 == server.accepted


def test_text_arrives_at_once() -> None:
    """A piece of text is returned on arrival, not when the answer is complete."""
    taken = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(EVENTS_HEAD + chunk(said("a")))
        taken.wait(30)
        peer.send(chunk(said("b") + DONE) + chunk(b""))
        peer.read_until_end()

    with client(script) as iw:
        stream = iw.llm.stream("x")
        assert "a" == next(stream)
        taken.set()
        assert ["b"] == list(stream)


def test_tool_calls_in_pieces() -> None:
    """A tool call that arrives in pieces is whole in the result."""
    calls = [
        {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}},
        {"index": 0, "id": None, "function": {"name": None, "arguments": '{"city": "Os'}},
        {"index": 0, "function": {"arguments": 'lo"}'}},
    ]
    pieces = [event({"content": None, "tool_calls": [call]}) for call in calls]
    with client(streaming(*pieces, event({}, "tool_calls"), DONE)) as iw:
        stream = iw.llm.stream("x")
        deltas = list(stream.deltas())
        answer = stream.result()

    assert ["", '{"city": "Os', 'lo"}'] == [
        part.arguments for delta in deltas for part in delta.tool_calls
    ]
    assert (ChatToolCall("c1", "f", '{"city": "Oslo"}'),) == answer.tool_calls


@pytest.mark.parametrize("end", [DONE, event({}, "stop"), b"data:[DONE]", DONE + said("late")])
def test_complete_ends(end: bytes) -> None:
    """Either [DONE] or a finish_reason makes an answer complete."""
    with client(streaming(said("a"), end)) as iw:
        assert ["a"] == list(iw.llm.stream("x"))


CUT_EVENT = said("bcd")[:-8]
UNFINISHED: dict[str, Script] = {
    "clean end": streaming(said("a")),
    "end within an event": streaming(said("a"), CUT_EVENT),
    "end within a character": streaming(said("a"), said("🙂")[:-50]),
    "end within a chunk": lambda peer: break_off(peer, chunk(said("bcd"))[:30]),
    "end within the size of a chunk": lambda peer: break_off(peer, b"5"),
    "no end of the chunks": lambda peer: break_off(peer, b""),
}


def break_off(peer: Peer, last: bytes) -> None:
    peer.read_request()
    peer.send(EVENTS_HEAD + chunk(said("a")) + last)


@pytest.mark.parametrize("name", UNFINISHED)
def test_unfinished(name: str) -> None:
    """A stream that ends before the answer is complete raises an error with the received text."""
    texts: list[str] = []
    with client(UNFINISHED[name]) as iw:
        stream = iw.llm.stream("x")
        with pytest.raises((ConnectionLost, RemoteProtocolError)) as caught:
            texts.extend(itertools.chain(stream))
        with pytest.raises(type(caught.value)):
            stream.result()

    partial = caught.value.partial
    assert isinstance(partial, ChatCompletion)
    assert "a" == partial.text


def test_reset() -> None:
    """A connection that is reset raises an error."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(EVENTS_HEAD + chunk(said("a")))
        taken.wait(30)
        peer.reset()

    taken = threading.Event()
    with client(script) as iw:
        stream = iw.llm.stream("x")
        assert "a" == next(stream)
        taken.set()
        with pytest.raises(ConnectionLost):
            list(stream)


def test_error_event() -> None:
    """An error event ends the stream. The raised error has the right class and the text so far."""
    error = b'data: {"error": {"message": "slow down", "type": "rate_limit_error"}}\n\n'
    with client(streaming(said("a"), error, DONE)) as iw:
        stream = iw.llm.stream("x")
        with pytest.raises(QuotaError, match="slow down") as caught:
            list(stream)

    assert isinstance(caught.value.partial, ChatCompletion)
    assert "a" == caught.value.partial.text


@pytest.mark.parametrize("bad", [b"data: {oops\n\n", b"data: \xff\n\n", b"data: [1]\n\n"])
def test_bad_event(bad: bytes) -> None:
    """An event that cannot be read ends the stream with an error."""
    with client(streaming(said("a"), bad, DONE)) as iw, pytest.raises(RemoteProtocolError):
        list(iw.llm.stream("x"))


def test_oversized_event() -> None:
    """An event without an end is limited by max_message_bytes."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(EVENTS_HEAD + chunk(b"data: "))
        while True:
            peer.send(chunk(b"x" * 1000))

    with client(script, max_message_bytes=5000) as iw:
        with pytest.raises(RemoteProtocolError, match="at most 5000 bytes"):
            list(iw.llm.stream("x"))


def test_endless_answer_is_limited() -> None:
    """An answer whose text never ends is limited by max_message_bytes."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(EVENTS_HEAD)
        while True:
            peer.send(chunk(said("x" * 100)))

    with client(script, max_message_bytes=5000) as iw:
        with pytest.raises(RemoteProtocolError, match="too many characters"):
            list(iw.llm.stream("x"))


def test_not_a_stream() -> None:
    """A response that is not a stream raises the error in its body, or else a protocol error."""
    for answer, kind in (
        (completion({"content": "Hi."}), RemoteProtocolError),
        (whole("200 OK", b"<html>", "Content-Type: text/html"), RemoteProtocolError),
        (whole("200 OK", {"error": {"message": "x", "code": 429}}), QuotaError),
    ):
        with client(answer) as iw, pytest.raises(kind):
            iw.llm.stream("x")


# Deadlines.


@pytest.mark.parametrize("sent", [b"", EVENTS_HEAD, EVENTS_HEAD + chunk(b": ping\n\n")])
def test_silence(sent: bytes) -> None:
    """
    If the service sends no event, the stream fails after event_timeout, and not after timeout.
    """

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(sent)
        peer.read_until_end()

    with client(script) as iw, pytest.raises(DeadlineExceeded, match=r"waiting .* 0\.3 s"):
        list(iw.llm.stream("x", timeout=300, event_timeout=0.3))


def dripping(data: bytes, *, pause: float) -> Script:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(EVENTS_HEAD)
        while not peer.released.wait(pause):
            peer.send(chunk(data))

    return script


@pytest.mark.parametrize("data", [b"x", b": ping\n\n", b"event: ping\n\n"])
def test_drip(data: bytes) -> None:
    """Bytes and comments that complete no event do not extend the wait for an event."""
    with client(dripping(data, pause=0.02)) as iw:
        with pytest.raises(DeadlineExceeded, match=r"0\.3 s"):
            list(iw.llm.stream("x", event_timeout=0.3))


def test_endless_stream() -> None:
    """Events that arrive in time do not extend the timeout of the whole answer."""
    with client(dripping(event({}), pause=0.005)) as iw:
        with pytest.raises(DeadlineExceeded, match=r"the streamed chat completion .* 0\.5 s"):
            list(iw.llm.stream("x", timeout=0.5, event_timeout=300))


def test_slow_whole_answer() -> None:
    """A whole answer must be complete within the timeout, even if the bytes arrive slowly."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n")
        while not peer.released.wait(0.02):
            peer.send(b" ")

    with client(script) as iw, pytest.raises(DeadlineExceeded, match="the chat completion"):
        iw.llm.chat("x", timeout=0.3)


# Closing.


def waiting_stream(iw: Inworld, pool: ThreadPoolExecutor) -> tuple[Any, Any]:
    """Return a stream, and the future of a thread that waits for the stream's second piece."""
    stream = iw.llm.stream("x", event_timeout=300)
    assert "a" == next(stream)
    return stream, pool.submit(lambda: list(stream))


def until_closed(peer: Peer) -> None:
    """Stream a body without chunks. The body ends when the connection ends."""
    peer.read_request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + said("a"))
    peer.read_until_end()


@pytest.mark.parametrize("script", [streaming(said("a"), ends=False), until_closed])
@pytest.mark.parametrize("closes_client", [False, True])
def test_close_from_another_thread(closes_client: bool, script: Script) -> None:
    """Closing the stream, or its client, ends the wait of another thread at once."""
    with client(script) as iw, ThreadPoolExecutor(1) as pool:
        stream, waiting = waiting_stream(iw, pool)
        (iw if closes_client else stream).close()
        with pytest.raises(ClosedError):
            waiting.result(30)
        with pytest.raises(ClosedError):
            next(stream)
        stream.close()


def test_leaving_early_closes_the_connection() -> None:
    """If the ``with`` block is left or the stream is dropped, the connection is closed."""
    ended = threading.Semaphore(0)

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(EVENTS_HEAD + chunk(said("a")))
        peer.read_until_end()
        ended.release()

    with client(script) as iw:
        with iw.llm.stream("x") as stream:
            next(stream)
        assert ended.acquire(timeout=30)
        stream = iw.llm.stream("x")
        next(stream)
        del stream
        assert ended.acquire(timeout=30)


def test_tls() -> None:
    """A stream over TLS arrives piece by piece, and another thread can end the stream."""

    def endless(request: ReplyRequest) -> Iterator[str]:
        yield "a"
        request.cancelled.wait()

    with Emulator(tls=True, reply_maker=endless) as server, ThreadPoolExecutor(1) as pool:
        with Inworld(server.api_key, base_url=server.url, ssl_context=server.ssl_context) as iw:
            stream, waiting = waiting_stream(iw, pool)
            stream.close()
            with pytest.raises(ClosedError):
                waiting.result(30)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fork() -> None:
    """A forked child cannot read or end its parent's stream. The child may open a stream."""
    with client(streaming(said("a"), said("b"), DONE)) as iw:
        stream = iw.llm.stream("x")
        assert "a" == next(stream)

        def use() -> None:
            with pytest.raises(ClosedError):
                next(stream)
            stream.close()
            assert "ab" == iw.llm.stream("x").result().text

        assert "" == in_child(use)
        assert ["b"] == list(stream)


def test_two_threads() -> None:
    """A second thread that iterates over the same stream gets an error."""
    with client(streaming(said("a"), ends=False)) as iw, ThreadPoolExecutor(1) as pool:
        stream, waiting = waiting_stream(iw, pool)
        deadline = time.monotonic() + 30
        while not stream._steps:
            assert time.monotonic() < deadline
        with pytest.raises(LocalProtocolError, match="another thread"):
            next(stream)
        stream.close()
        with pytest.raises(ClosedError):
            waiting.result(30)


def test_many_threads() -> None:
    """If threads share one client, each thread gets its own answer."""

    def script(peer: Peer) -> None:
        while True:
            text = json.loads(peer.read_request()[1])["messages"][0]["content"]
            peer.send(EVENTS_HEAD + chunk(said(*text)) + chunk(DONE) + chunk(b""))

    texts = [f"answer {number}" for number in range(60)]
    with client(script) as iw, ThreadPoolExecutor(8) as pool:
        assert texts == list(pool.map(lambda text: "".join(iw.llm.stream(text)), texts))


# Tools.


@tool
def weather(city: str) -> dict[str, str]:
    """Weather for a city."""
    if city == "Atlantis":
        raise ValueError("no such city")
    return {"city": city, "weather": "rain"}


def test_run_tools() -> None:
    """Each call gets an output. If a function fails, the output and the log have the error."""
    calls = (
        ChatToolCall("c1", "weather", '{"city": "Oslo"}'),
        ChatToolCall("c2", "weather", '{"city": "Atlantis"}'),
        ChatToolCall("c3", "weather", '{"town": 1}'),
        ChatToolCall("c4", "weather", "{oops"),
        ChatToolCall("c5", "other"),
    )
    answer = ChatCompletion(tool_calls=calls)
    with Inworld(api_key=KEY) as iw:
        first, *outputs = iw.llm.run_tools(answer, [weather])

    assert ChatMessage("assistant", None, tool_calls=calls) == first
    assert ["c1", "c2", "c3", "c4", "c5"] == [each.tool_call_id for each in outputs]
    texts = [str(each.content) for each in outputs]
    assert '{"city": "Oslo", "weather": "rain"}' == texts[0]
    for text, words in zip(
        texts[1:], ("no such city", "city is missing", "not JSON", "no function"), strict=True
    ):
        assert words in json.loads(text)["error"]


def test_no_secret_in_a_repr() -> None:
    """No repr of the service or of a stream has the key."""
    with client(streaming(said("a"), DONE)) as iw:
        stream = iw.llm.stream("x")
        shown = f"{iw.llm!r} {stream!r} {vars(stream)!r}"
        stream.close()

    assert KEY not in shown
