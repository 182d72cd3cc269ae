"""A client of another library sees each fault as documented."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator

import pytest
from websockets.exceptions import (
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    InvalidMessage,
    InvalidStatus,
)

from inworld_sync.emulator import Emulator, Fault, FaultKind
from inworld_sync.emulator.faults import FaultQueue, parse_faults
from inworld_sync.errors import ConfigError

from support.tone import ToneSynthesizer
from support.tts_client import TTS_PATH, TtsClient, open_tts
from support.tts_tls import talk_over_tls


@pytest.fixture
def server() -> Iterator[Emulator]:
    with Emulator(synthesizer=ToneSynthesizer()) as server:
        yield server


def messages(client: TtsClient, count: int) -> list[str | bytes]:
    """Make the server send *count* messages. Return these messages as bytes or text."""
    for number in range(count):
        client.close(f"c{number}")
    return [client.connection.recv(timeout=30) for _ in range(count)]


def test_parse() -> None:
    """A fault is written name:value@after, and several faults are joined by commas."""
    expected = (
        Fault(FaultKind.DELAY, 0.05),
        Fault(FaultKind.DROP, after=3),
        Fault(FaultKind.CLOSE, 1011, 2),
    )
    assert expected == parse_faults("delay:0.05, drop@3,close:1011@2")


@pytest.mark.parametrize("text", ["explode", "drop@x", "delay:much", "delay", "close@3", "slow:0"])
def test_parse_refuses(text: str) -> None:
    """Text that is not a fault, and a fault without its value, are refused."""
    with pytest.raises(ConfigError):
        parse_faults(text)


def test_queue_is_used_in_order() -> None:
    """Each connection takes one fault from the queue. When the queue is empty, no fault happens."""
    queue = FaultQueue(["drop@1", "", [Fault(FaultKind.STALL), Fault(FaultKind.DELAY, 1)]])

    assert [1, 0, 2, 0] == [len(queue.pop()) for _ in range(4)]


def test_next_connection_has_no_fault(server: Emulator) -> None:
    """A fault does not affect the connection after the faulty connection."""
    server.faults.add("drop@0")
    with open_tts(server) as client, pytest.raises(ConnectionClosed):
        messages(client, 1)
    with open_tts(server) as client:
        assert 3 == len(messages(client, 3))


def test_fault_in_the_query(server: Emulator) -> None:
    """A fault in the query ?fault= of a URL affects the connection with this URL."""
    with open_tts(server, path=f"{TTS_PATH}?fault=close:1013@1") as client:
        messages(client, 1)
        with pytest.raises(ConnectionClosedError) as caught:
            messages(client, 1)

    assert caught.value.rcvd is not None
    assert 1013 == caught.value.rcvd.code


# (fault after two messages, close code that the client's library reports). The code is None if no
# CLOSE arrives.
ENDS = [
    ("drop@2", None),
    ("reset@2", None),
    ("half_frame@2", None),
    ("close:1011@2", 1011),
    ("close:4321@2", 4321),
    ("fatal_error:13@2", 1000),
]


@pytest.mark.parametrize(("fault", "code"), ENDS)
def test_ends(server: Emulator, fault: str, code: int | None) -> None:
    """Two messages are received, then the connection ends in the expected way."""
    server.faults.add(fault)
    with open_tts(server) as client:
        messages(client, 2)
        with pytest.raises(ConnectionClosed) as caught:
            messages(client, 2)

    received = caught.value.rcvd
    assert code == (None if received is None else received.code)


@pytest.mark.parametrize(("fault", "code"), ENDS)
def test_ends_over_tls(fault: str, code: int | None) -> None:
    """Over TLS, the connection ends in the same ways."""
    closes = [{"close_context": {}, "contextId": f"c{number}"} for number in range(4)]
    with Emulator(synthesizer=ToneSynthesizer(), tls=True, faults=["", fault]) as server:
        assert 2 == len(talk_over_tls(server, closes, count=2))
        with pytest.raises(ConnectionClosed) as caught:
            talk_over_tls(server, closes, count=4)

    received = caught.value.rcvd
    assert code == (None if received is None else received.code)


# (fault, the close code that the client's library then sends)
REFUSED_BY_THE_CLIENT = [
    ("bad_utf8@1", 1007),
    ("reserved_opcode@1", 1002),
    ("masked@1", 1002),
    ("huge_frame:9000000000@1", 1009),
]


@pytest.mark.parametrize(("fault", "code"), REFUSED_BY_THE_CLIENT)
def test_frames_that_a_client_refuses(server: Emulator, fault: str, code: int) -> None:
    """A frame that violates the protocol makes a strict client end the connection."""
    server.faults.add(fault)
    with open_tts(server) as client:
        messages(client, 1)
        with pytest.raises(ConnectionClosedError) as caught:
            messages(client, 1)

    assert caught.value.sent is not None
    assert code == caught.value.sent.code


def test_bad_json(server: Emulator) -> None:
    """The fault ``bad_json`` cuts off the end of one message. The next message is complete."""
    server.faults.add("bad_json@1")
    with open_tts(server) as client:
        first, second, third = messages(client, 3)

    with pytest.raises(ValueError):
        json.loads(second)
    assert json.loads(first)
    assert json.loads(third)


def test_binary(server: Emulator) -> None:
    """The fault ``binary`` sends a message in a binary frame."""
    server.faults.add("binary@0")
    with open_tts(server) as client:
        assert [bytes, str] == [type(message) for message in messages(client, 2)]


def test_fragments(server: Emulator) -> None:
    """The fault ``fragments`` divides one message into frames. The client joins these frames."""
    server.faults.add("fragments:3@0")
    with open_tts(server) as client:
        client.close("c0")
        parts = list(client.connection.recv_streaming())

    assert len(parts) > 20
    assert "c0" == json.loads("".join(map(str, parts)))["result"]["contextId"]


def test_duplicate_and_lose(server: Emulator) -> None:
    """The fault ``duplicate`` sends a message twice. The fault ``lose`` drops a message."""
    server.faults.add("duplicate@0,lose@1")
    with open_tts(server) as client:
        names = [json.loads(message)["result"]["contextId"] for message in messages(client, 3)]

    assert ["c0", "c0", "c2"] == names


def test_error_and_unknown_message(server: Emulator) -> None:
    """An error or an unknown message is sent before a message, and the connection continues."""
    server.faults.add("error:14@0,unknown_message@1,ping@2")
    with open_tts(server) as client:
        received = [json.loads(message) for message in messages(client, 5)]

    assert 14 == received[0]["error"]["code"]
    assert ["c0", "c1", "c2"] == [
        message["result"]["contextId"]
        for message in received
        if "contextId" in message.get("result", {})
    ]


def test_stall(server: Emulator) -> None:
    """A stalled connection stays open and sends nothing more."""
    server.faults.add("stall@1")
    with open_tts(server) as client:
        messages(client, 1)
        client.close("c1")
        with pytest.raises(TimeoutError):
            client.connection.recv(timeout=0.1)
        client.connection.close_timeout = 0.1


@pytest.mark.parametrize("fault", ["delay:0.05", "pause:0.15@1", "response_delay:0.15"])
def test_delays(server: Emulator, fault: str) -> None:
    """The messages are delayed by at least 0.15 s in total, and all messages are received."""
    server.faults.add(fault)
    started = time.monotonic()
    with open_tts(server) as client:
        messages(client, 3)

    assert time.monotonic() - started >= 0.15


def test_slow(server: Emulator) -> None:
    """The fault ``slow`` limits the bytes per second."""
    server.faults.add("slow:2000")
    with open_tts(server) as client:
        started = time.monotonic()
        size = sum(len(message) for message in messages(client, 4))

        assert time.monotonic() - started >= size / 2000 * 0.9


@pytest.mark.parametrize("status", [401, 402, 403, 404, 429, 500, 503])
def test_http_status(server: Emulator, status: int) -> None:
    """The fault ``http_status`` sends a status with a JSON body instead of the upgrade."""
    server.faults.add(f"http_status:{status}")
    with pytest.raises(InvalidStatus) as caught, open_tts(server):
        pass

    response = caught.value.response
    assert status == response.status_code
    assert response.body is not None
    assert 14 == json.loads(response.body)["code"]


def test_redirect(server: Emulator) -> None:
    """A redirection status has a Location on the same server."""
    server.faults.add("http_status:302")
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("GET", "/tts/v1/voices")
    response = connection.getresponse()
    connection.close()

    assert (302, "/elsewhere") == (response.status, response.headers["Location"])


@pytest.mark.parametrize("fault", ["drop_request", "reset_request"])
def test_no_response(server: Emulator, fault: str) -> None:
    """The connection can end before the response to the upgrade."""
    server.faults.add(fault)
    with pytest.raises((InvalidMessage, OSError, EOFError)), open_tts(server):
        pass


def test_drop_is_an_end_and_reset_is_a_reset(server: Emulator) -> None:
    """A dropped connection ends with an end of file. A reset connection raises a reset error."""
    server.faults.add("drop_request")
    server.faults.add("reset_request")
    head = b"GET / HTTP/1.1\r\n\r\n"
    for expected in (b"", ConnectionResetError):
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as sock:
            sock.sendall(head)
            try:
                seen: object = sock.recv(1)
            except ConnectionResetError as error:
                seen = type(error)

        assert expected == seen


# (fault of a streamed body, number of complete lines before the fault)
STREAM_FAULTS = [("drop@1", 1), ("half_frame@1", 1), ("reset@2", 2)]


@pytest.mark.parametrize(("fault", "whole"), STREAM_FAULTS)
def test_broken_stream(server: Emulator, fault: str, whole: int) -> None:
    """A streamed body can end in the middle."""
    server.faults.add(fault)
    content = bytearray()
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        read_stream(server, content)

    assert whole == content.count(b"\n")


@pytest.mark.parametrize(
    ("fault", "line"), [("error:13@1", b'{"error":{"code":13'), ("bad_json@1", b'{"result":')]
)
def test_bad_line(server: Emulator, fault: str, line: bytes) -> None:
    """A line of the stream can be an error, or invalid JSON."""
    server.faults.add(fault)
    content = bytearray()
    read_stream(server, content)
    lines = content.splitlines()

    assert lines[1].startswith(line)
    assert json.loads(lines[0])


def read_stream(server: Emulator, content: bytearray) -> None:
    """Read a streamed response byte by byte. After an error, *content* still has all read bytes."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    body = {"text": "One two three four five six.", "voiceId": "Ashley", "modelId": "inworld-tts-2"}
    headers = {"Authorization": f"Basic {server.api_key}"}
    try:
        connection.request("POST", "/tts/v1/voice:stream", json.dumps(body), headers)
        response = connection.getresponse()
        while part := response.read(1):
            content += part
    finally:
        connection.close()


def test_fatal_error_is_followed_by_close(server: Emulator) -> None:
    """The fault ``fatal_error`` sends an error, and then CLOSE 1000."""
    server.faults.add("fatal_error:7@0")
    with open_tts(server) as client:
        (message,) = messages(client, 1)
        with pytest.raises(ConnectionClosedOK):
            client.receive()

    assert 7 == json.loads(message)["error"]["code"]
