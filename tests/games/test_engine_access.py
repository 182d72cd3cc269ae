"""Tests of ``games.serve``: which clients may connect, and how wrong messages are answered."""

from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from websockets.exceptions import InvalidStatus

from inworld_sync import ConfigError, Inworld, Session
from inworld_sync.games import EngineServer, serve
from inworld_sync.games.engines.messages import BadMessage, read_command
from inworld_sync.games.shapes import SHAPE_SETS

from support.engine import Engine

SETS = tuple(SHAPE_SETS)
TOKEN = "correct horse"


@pytest.fixture
def iw() -> Iterator[Inworld]:
    # No server listens on this port. The tests of this file need no service.
    with Inworld(api_key="a2V5OnNlY3JldA==", base_url="http://127.0.0.1:9") as iw:
        yield iw


@pytest.fixture
def server(iw: Inworld) -> Iterator[EngineServer]:
    with serve(0, client=iw, token=TOKEN, allowed_origins=["http://localhost:8060"]) as server:
        yield server


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1"},
        {"Origin": "http://localhost:8061"},
        {"Host": "evil.example:8970"},
        {"Host": "127.0.0.1.evil.example"},
    ],
)
def test_web_pages_are_refused(server: EngineServer, headers: dict[str, str]) -> None:
    """
    A request gets the status 403 if its Origin or its Host is not allowed.

    A browser puts the site of the page into Origin, and the host name of the URL into Host.
    """
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    upgrade = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        **headers,
    }
    connection.request("GET", "/", headers=upgrade)
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()

    assert 403 == response.status
    assert next(iter(headers)) in text


def test_an_allowed_page(server: EngineServer) -> None:
    """A page may connect only if allowed_origins has the page's exact origin, with the port."""
    with Engine(server.url, {"token": TOKEN}, origin="http://localhost:8060") as engine:
        engine.wait_for("ready")
    with pytest.raises(InvalidStatus):
        Engine(server.url, {"token": TOKEN}, origin="http://localhost:80600")


def test_a_plain_request(server: EngineServer) -> None:
    """A plain HTTP request without an upgrade to a WebSocket gets an error status."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", "/")
    response = connection.getresponse()
    response.read()
    connection.close()

    assert response.status in (400, 426)


@pytest.mark.parametrize("hello", [{}, {"token": "wrong"}, {"token": ""}, {"token": 5}])
def test_a_wrong_token(server: EngineServer, hello: dict[str, Any]) -> None:
    """Without the right token, the connection is closed with 1008. No message repeats a token."""
    with Engine(server.url, hello) as engine:
        assert 1008 == engine.until_closed()

    assert [event["type"] for event in engine.events] == ["error"]
    assert "wrong" not in str(engine.events)
    assert TOKEN not in repr(server) + str(vars(server))


@pytest.mark.parametrize("first", ['{"type":"say","text":"Hi"}', "[]", b"\0\0"])
def test_no_hello(server: EngineServer, first: str | bytes) -> None:
    """If the first message is not hello, the connection is closed with 1008."""
    with Engine(server.url) as engine:
        engine.socket.send(first)
        assert 1008 == engine.until_closed()
    assert "bad_message" == engine.events[0]["code"]


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("{", "expected a JSON object"),
        ("[]", "expected a JSON object"),
        ("[" * 50_000, "expected a JSON object"),
        ("1" * 5000, "expected a JSON object"),
        ('"text"', "expected a JSON object"),
        ("{}", "type must be one of"),
        ('{"type": ["speak"]}', "type must be one of"),
        ('{"type": "unknown"}', "type must be one of"),
        ('{"type": "speak", "line": 1}', "text of speak"),
        ('{"type": "speak", "line": 1, "text": " "}', "text of speak"),
        ('{"type": "speak", "line": 0, "text": "a"}', "line of speak must be a whole number"),
        ('{"type": "speak", "line": -1, "text": "a"}', "line of speak"),
        ('{"type": "speak", "line": 1.5, "text": "a"}', "line of speak"),
        ('{"type": "speak", "line": true, "text": "a"}', "line of speak"),
        ('{"type": "speak", "line": 1e999, "text": "a"}', "line of speak"),
        ('{"type": "speak", "line": 2147483648, "text": "a"}', "line of speak"),
        ('{"type": "speak", "line": 1, "text": "\\ud800"}', "valid Unicode"),
        ('{"type": "speak", "line": 1, "text": "a", "volume": 1}', "speak has no field 'volume'"),
        ('{"type": "heard", "line": 1, "ms": NaN}', "ms of heard"),
        ('{"type": "heard", "line": 1, "ms": -1}', "ms of heard"),
        ('{"type": "heard", "line": 1, "ms": "1"}', "ms of heard"),
        ('{"type": "start", "rate_hz": 1}', "rate_hz of start"),
        ('{"type": "start", "push_to_talk": 1}', "push_to_talk of start"),
        ('{"type": "push"}', "down of push"),
        ('{"type": "hello", "version": 2}', "version of hello"),
        ('{"type": "hello", "version": 1, "shapes": "x"}', "shapes of hello must be one of"),
    ],
)
def test_wrong_messages(message: str, words: str) -> None:
    """The error names the message, the field and what was expected."""
    with pytest.raises(BadMessage) as caught:
        read_command(message, SETS)

    assert words in str(caught.value)
    assert len(str(caught.value)) < 300


_values = st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20)
_names = st.sampled_from(
    ["type", "line", "text", "ms", "heard_ms", "down", "rate_hz", "version", "token", "shapes"]
)
_kinds = st.sampled_from(["speak", "heard", "interrupt", "start", "say", "push", "stop", "hello"])


_fields = st.dictionaries(_names, _values | st.lists(_values) | st.dictionaries(_names, _values))


@settings(max_examples=40)
@given(_kinds, _fields)
def test_any_message(kind: str, fields: dict[str, object]) -> None:
    """
    Any JSON object is a command or raises BadMessage. A line number of the error fits in 32 bits.
    """
    line = None
    try:
        read_command(json.dumps({"type": kind, **fields}), SETS)
    except BadMessage as error:
        line = error.line
    assert line is None or abs(line) < 2**31


def test_errors_keep_the_connection(server: EngineServer) -> None:
    """After a wrong message, the engine gets an error, and the connection stays open."""
    with Engine(server.url, {"token": TOKEN}) as engine:
        engine.wait_for("ready")
        wrong = [
            "{",
            '{"type":"hello","version":1}',
            '{"type":"say","text":"Hi"}',
            '{"type":"stop"}',
            '{"type":"push","down":true}',
        ]
        for message in wrong:
            engine.socket.send(message)
        engine.until(lambda: len(engine.events) == 1 + len(wrong))
        # Fifty audio messages without a conversation cause only one error.
        for _ in range(50):
            engine.send_audio(bytes(960))
        engine.send("heard", line=5, ms=10)
        engine.send("interrupt", line=-3, heard_ms=10)
        engine.socket.send("}")
        engine.until(lambda: len(engine.events) >= 3 + len(wrong))

        codes = [event.get("code") for event in engine.events]
        assert [None, *["bad_message"] * 7] == codes


def test_a_large_message(server: EngineServer) -> None:
    """A message over 64 KiB closes the connection with 1009."""
    with Engine(server.url, {"token": TOKEN}) as engine:
        engine.wait_for("ready")
        engine.send_audio(bytes(65_538))
        assert 1009 == engine.until_closed()


def test_half_a_sample(server: EngineServer) -> None:
    """Audio that is not whole 16-bit samples causes an error."""
    with Engine(server.url, {"token": TOKEN}) as engine:
        engine.send_audio(bytes(3))
        assert "16-bit" in engine.wait_for("error")["message"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"port": 70_000}, "port"),
        ({"port": "80"}, "port"),
        ({"max_engines": 0}, "max_engines"),
        ({"token": ""}, "token"),
        # An engine could not send these tokens.
        ({"token": "  "}, "token"),
        ({"token": 1001 * "x"}, "token"),
        ({"token": "\ud800"}, "token"),
        ({"session": {}}, "session"),
        ({"allowed_origins": "http://localhost"}, "allowed_origins"),
        ({"allowed_origins": ["localhost"]}, "allowed_origins"),
        ({"allowed_origins": ["http://localhost/path"]}, "allowed_origins"),
    ],
)
def test_wrong_arguments(iw: Inworld, arguments: dict[str, Any], words: str) -> None:
    """A wrong argument raises ConfigError, which names the argument."""
    with pytest.raises(ConfigError, match=words):
        serve(**{"port": 0, "client": iw, **arguments})


def test_a_used_port(server: EngineServer, iw: Inworld) -> None:
    """A second server on the same port raises OSError."""
    with pytest.raises(OSError, match="in use"):
        serve(server.port, client=iw, session=Session())


def test_without_the_extra(iw: Inworld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the websockets library, the error names the extra."""
    monkeypatch.setitem(sys.modules, "websockets.sync.server", None)
    with pytest.raises(ModuleNotFoundError, match=r"inworld-sync\[games\]"):
        serve(0, client=iw)
