"""Limits of a relay: users, origins, durations, slow browsers and hostile browsers."""

from __future__ import annotations

import json
import socket
import threading
import time
from typing import Any

import pytest

from inworld_sync import AuthError, ConfigError, ConnectionLimiter, QuotaError
from inworld_sync.errors import RemoteProtocolError
from inworld_sync.web import RelayOptions, UserLimit, check_origin, drain_relays
from inworld_sync.web.relay_messages import (
    MAX_AUDIO_BYTES,
    Heard,
    Interrupted,
    Start,
    Typed,
    read_audio,
    read_json,
)
from inworld_sync.web.relay_rules import MessageRates, TokenBucket

from support.browser import PATIENCE_SECONDS, Browser, relay_server
from support.scripted_realtime import Service, obedient, realtime


def silent(service: Service) -> None:
    service.open()
    service.until_left()


def fatal_of(page: Browser) -> dict[str, Any]:
    [message] = page.of("error", fatal=True)
    return message


# Users and origins.


def await_end_of_all(limit: UserLimit) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while limit.count("ann") and time.monotonic() < until:
        time.sleep(0.01)
    assert 0 == limit.count("ann")


def test_a_user_with_too_many_conversations() -> None:
    """
    The second conversation is refused. After the first one has ended, another one may begin.
    """
    limit = UserLimit(1)
    with realtime(silent, silent) as iw:
        connect = lambda _: iw.realtime.connect()  # noqa: E731
        with relay_server(connect, user="ann", limit=limit) as server:
            with Browser(server.url) as first:
                first.wait_for("ready")
                with Browser(server.url) as second:
                    assert 1008 == second.wait_closed()
                    assert "user_limit" == fatal_of(second)["code"]
                first.close()
            await_end_of_all(limit)
            with Browser(server.url) as third:
                third.wait_for("ready")
            # At the end of the block, the server closes all conversations. So the test first waits
            # until the relay has noticed that the browser left.
            await_end_of_all(limit)
    ends = sorted(summary.end for summary in server.summaries)
    assert ["browser_left", "browser_left", "user_limit"] == ends
    assert {"ann"} == {summary.user for summary in server.summaries}


def test_a_user_limit_for_a_period(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    After the period, a user may begin conversations again, and the memory for past users is freed.
    """
    now = [1000.0]
    monkeypatch.setattr("inworld_sync.web.user_limit.time.monotonic", lambda: now[0])
    limit = UserLimit(5, per_period=2, period=60)
    for _ in range(2):
        with limit.hold("ann"):
            assert 1 == limit.count("ann")
        now[0] += 10
    with pytest.raises(QuotaError, match="wait 40 s") as refused:
        with limit.hold("ann"):
            pass
    assert ("user_limit", 40) == (refused.value.code, refused.value.retry_after)
    with limit.hold("bob"):
        pass
    now[0] += 40
    with limit.hold("ann"):
        pass
    now[0] += 100
    with limit.hold("carl"):
        assert ["carl"] == list(limit._users)


@pytest.mark.parametrize("user", ["", None, 5])
def test_a_user_must_be_a_text(user: Any) -> None:
    with pytest.raises(ConfigError, match="user"), UserLimit().hold(user):
        pass


def test_a_user_limit_with_wrong_values() -> None:
    for wrong in ({"at_once": 0}, {"per_period": 0}, {"period": 0}, {"at_once": True}):
        with pytest.raises(ConfigError):
            UserLimit(**wrong)  # type: ignore[arg-type]


HOST = {"Host": "www.example.com"}


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        ("https://www.example.com", "www.example.com", ()),
        ("HTTPS://WWW.example.com:443", "www.example.com", ()),
        ("http://127.0.0.1:5000", "127.0.0.1:5000", ()),
        ("http://[::1]:80", "[::1]", ()),
        ("https://a.example", "b.example", ("https://a.example/",)),
        ("http://a.example:8080", "", ("https://b.example", "http://a.example:8080")),
    ],
)
def test_an_allowed_origin(origin: str, host: str, allowed: tuple[str, ...]) -> None:
    check_origin({"origin": origin, "HOST": host}, allowed)


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        ("", "www.example.com", ()),
        ("null", "www.example.com", ()),
        ("https://evil.example", "www.example.com", ()),
        ("https://www.example.com.evil.example", "www.example.com", ()),
        ("https://www.example.com", "www.example.com:8443", ()),
        ("https://www.example.com", "", ()),
        ("https://www.example.com@evil.example", "www.example.com", ()),
        ("https://www.example.com", "www.example.com", ("https://other.example",)),
        ("http://a.example", "a.example", ("https://a.example",)),
        ("file:///x", "", ()),
        ("https://a.example:99999", "a.example", ()),
        ("https://[", "[", ()),
    ],
)
def test_a_foreign_origin(origin: str, host: str, allowed: tuple[str, ...]) -> None:
    headers = {"Origin": origin, "Host": host} if origin else {"Host": host}
    with pytest.raises(AuthError):
        check_origin(headers, allowed)


@pytest.mark.parametrize("wrong", ["https://a.example", ["a.example"], [5], ["https://a/b"]])
def test_wrong_allowed_origins(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="allowed_origins"):
        check_origin({"Origin": "https://a.example"}, wrong)


def test_a_page_of_another_site() -> None:
    """No session is opened for a page of another site."""
    with relay_server(lambda _: pytest.fail("opened")) as server:
        with Browser(server.url, None, origin="https://evil.example") as page:
            assert 1008 == page.wait_closed()
            assert "wrong_origin" == fatal_of(page)["code"]
            assert isinstance(server.summary().error, AuthError)


@pytest.mark.parametrize(
    "wrong", [None, "Origin", [("origin", "a")], {b"origin": b"a", b"host": b"a"}, {"Host": 5}]
)
def test_headers_of_a_wrong_type(wrong: Any) -> None:
    """If the headers have a wrong type, the error does not advise to switch off the check."""
    with pytest.raises(ConfigError, match="headers must be a mapping of texts"):
        check_origin(wrong)


# Durations.


@pytest.mark.parametrize(
    ("options", "end"),
    [({"max_duration": 0.2}, "max_duration"), ({"idle_timeout": 0.2}, "idle")],
)
def test_a_conversation_that_is_too_long(options: dict[str, float], end: str) -> None:
    """The conversation ends with code 1008, after which the page does not connect again."""
    with realtime(silent) as iw:
        connect = lambda _: iw.realtime.connect()  # noqa: E731
        with relay_server(connect, options=RelayOptions(**options)) as server:  # type: ignore[arg-type]
            with Browser(server.url) as page:
                assert 1008 == page.wait_closed()
                assert end == fatal_of(page)["code"]
                assert end == server.summary().end


def test_a_page_that_never_starts() -> None:
    """If a page does not send its first message in time, the relay ends."""
    options = RelayOptions(start_timeout=0.2)
    with relay_server(lambda _: pytest.fail("opened"), options=options) as server:
        with Browser(server.url, None) as page:
            assert 1008 == page.wait_closed()
            assert "not_started" == server.summary().end


def test_drain() -> None:
    """``drain_relays`` closes the socket with code 1001, after which the page connects again."""
    with realtime(silent) as iw, relay_server(lambda _: iw.realtime.connect()) as server:
        with Browser(server.url) as page:
            page.wait_for("ready")
            assert 0 == drain_relays(PATIENCE_SECONDS)
            assert 1001 == page.wait_closed()
            assert "drained" == server.summary().end
    assert 0 == drain_relays(0)


# Failures. The texts for the page have no details.


def test_no_place_is_free() -> None:
    with realtime(silent, limiter=ConnectionLimiter(1)) as iw:
        with iw.realtime.connect():
            connect = lambda _: iw.realtime.connect(timeout=0.2)  # noqa: E731
            with relay_server(connect) as server, Browser(server.url) as page:
                assert 1008 == page.wait_closed()
                assert "no_capacity" == fatal_of(page)["code"]
                assert isinstance(server.summary().error, QuotaError)


def test_a_session_that_cannot_be_opened() -> None:
    """The summary has the error of the program. The page does not get the text of this error."""

    def fail(_: object) -> None:
        raise RuntimeError("the secret password is 1234")

    with relay_server(fail) as server, Browser(server.url) as page:
        assert 1011 == page.wait_closed()
        assert "model_unavailable" == fatal_of(page)["code"]
        assert "1234" not in str(page.messages)
        assert "1234" in str(server.summary().error)


def test_a_session_that_ends() -> None:
    """If the session ends, the socket is closed with code 1011, and the page may connect again."""

    def quit_at_once(service: Service) -> None:
        service.open()
        service.until("input_audio_buffer.append")
        service.error("insufficient_quota", "account 4711 has no money")
        service.close(1011)

    with realtime(quit_at_once) as iw:
        connect = lambda _: iw.realtime.connect(reconnect_timeout=0)  # noqa: E731
        with relay_server(connect) as server, Browser(server.url) as page:
            page.speak(200)
            assert 1011 == page.wait_closed()
            assert "model_lost" == fatal_of(page)["code"]
            assert "4711" not in str(page.messages)


# Browsers that read slowly.


def test_a_browser_that_reads_nothing() -> None:
    """A conversation ends when the browser accepts no data for stall_timeout."""

    def talk(service: Service) -> None:
        service.open()
        service.until("input_audio_buffer.append")
        service.created("resp_1")
        service.item("resp_1", "item_a1")
        try:
            while True:
                service.transcript("resp_1", "item_a1", "x" * 50_000)
        except OSError:
            pass

    options = RelayOptions(stall_timeout=0.5)
    with (
        realtime(talk) as iw,
        relay_server(lambda _: iw.realtime.connect(), options=options) as server,
    ):
        host, port = server.url[5:].partition("/")[0].split(":")
        with socket.create_connection((host, int(port))) as raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            raw.sendall(
                f"GET /talk HTTP/1.1\r\nHost: {host}:{port}\r\nOrigin: http://{host}:{port}\r\n"
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
            )
            while b"\r\n\r\n" not in raw.recv(4096):
                pass
            raw.sendall(_masked(0x81, json.dumps({"type": "start", "mode": "open"}).encode()))
            for _ in range(10):
                raw.sendall(_masked(0x82, bytes(960)))
            assert "stalled" == server.summary().end


def _masked(first: int, payload: bytes) -> bytes:
    size = len(payload)
    head = bytes([first, 0x80 | size]) if size < 126 else bytes([first, 0xFE, *divmod(size, 256)])
    return head + bytes(4) + payload


# Hostile browsers.

WRONG_TEXTS = [
    "",
    "[]",
    "null",
    "{",
    "\x00",
    "[" * 16_000,
    "{}",
    '{"type":5}',
    '{"type":"unknown"}',
    '{"type":"start"}',
    '{"type":"start","mode":"shout"}',
    '{"type":"push"}',
    '{"type":"push","down":1}',
    '{"type":"text"}',
    '{"type":"text","text":" "}',
    '{"type":"text","text":5}',
    '{"type":"text","text":"\\ud800"}',
    json.dumps({"type": "text", "text": "x" * 4001}),
    json.dumps({"type": "text", "text": "x" * 20_000}),
    '{"type":"heard","item":1}',
    '{"type":"heard","item":-1,"ms":1}',
    '{"type":"heard","item":1.5,"ms":1}',
    '{"type":"heard","item":true,"ms":1}',
    '{"type":"heard","item":99999999999999999999999,"ms":1}',
    '{"type":"interrupted","item":1,"ms":-1}',
    '{"type":"interrupted","item":1,"ms":1e400}',
    '{"type":"interrupted","item":1,"ms":NaN}',
    '{"type":"interrupted","item":1,"ms":"1"}',
    '{"type":"interrupted","item":1,"ms":true}',
    '{"type":"finished"}',
    '{"type":"finished","item":' + "9" * 5000 + "}",
]


@pytest.mark.parametrize("text", WRONG_TEXTS, ids=lambda text: text[:40])
def test_a_wrong_text(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        read_json(text)


def test_right_texts() -> None:
    assert Start("push") == read_json('{"type":"start","mode":"push","more":1}')
    assert Heard(3, 20.5) == read_json('{"type":"heard","item":3,"ms":20.5}')
    assert Interrupted(0, 0) == read_json('{"type":"interrupted","item":0,"ms":0}')
    assert Typed("hä") == read_json('{"type":"text","text":"hä"}')


@pytest.mark.parametrize("size", [1, 959, MAX_AUDIO_BYTES + 2])
def test_wrong_audio(size: int) -> None:
    with pytest.raises(RemoteProtocolError):
        read_audio(bytes(size))


def test_a_hostile_page() -> None:
    """Wrong messages are ignored and counted, and the conversation continues."""
    with realtime(obedient) as iw, relay_server(lambda _: iw.realtime.connect()) as server:
        with Browser(server.url, None) as page:
            page.connection.send(bytes(960))  # audio before the start
            page.send("push", down=True)
            page.send("start", mode="open")
            page.send("start", mode="open")
            page.wait_for("ready")
            page.send("push", down=True)  # the microphone is open
            for text in WRONG_TEXTS[1:]:
                page.connection.send(text)
            for kind in ("heard", "interrupted", "finished"):
                page.send(kind, item=7, ms=5)
            page.connection.send(bytes(961))
            page.connection.send(bytes(MAX_AUDIO_BYTES + 2))
            page.send("interrupted", item=0, ms=10)
            page.send("text", text="Hello")
            page.wait_for("item_end")
            page.close()
            summary = server.summary()

    assert 9 + len(WRONG_TEXTS) - 1 == summary.wrong_messages
    assert "browser_left" == summary.end
    assert 5 == len(page.of("error", code="wrong_message", fatal=False))


def test_too_many_wrong_messages() -> None:
    """After a hundred wrong messages, the conversation ends."""
    with relay_server(lambda _: pytest.fail("opened")) as server:
        with Browser(server.url, None) as page:
            for _ in range(100):
                page.connection.send("?")
            assert 1008 == page.wait_closed()
            assert "wrong_messages" == fatal_of(page)["code"]
            assert 100 == server.summary().wrong_messages


@pytest.mark.parametrize("size", [60_000, 2])
def test_a_flood_of_audio(size: int) -> None:
    """
    Audio that arrives much faster than real time is ignored. Too much such audio ends the
    conversation.
    """
    with realtime(silent) as iw, relay_server(lambda _: iw.realtime.connect()) as server:
        with Browser(server.url) as page:
            page.wait_for("ready")
            flood = threading.Thread(target=_flood, args=(page, size))
            flood.start()
            assert "wrong_messages" == server.summary().end
            # The close frame may be behind messages that the page does not read.
            assert page.wait_closed() in (1008, None)
            flood.join()


def _flood(page: Browser, size: int) -> None:
    try:
        for _ in range(50_000):
            page.connection.send(bytes(size))
    except Exception:
        return


def test_the_rates() -> None:
    """A bucket allows a burst, and then only the average rate."""
    bucket = TokenBucket(10, 20)
    assert [True, True, False] == [bucket.allows(10, 100.0) for _ in range(3)]
    assert bucket.allows(10, 101.0)
    assert not bucket.allows(1, 101.0)

    # The limits allow audio in real time in blocks of 5.3 ms, and 5 text messages per second.
    rates, block = MessageRates(), bytes(256)
    assert all(rates.allow(block, index * 0.00533) for index in range(60_000))
    assert all(rates.allow("{}", index * 0.2) for index in range(1000))
