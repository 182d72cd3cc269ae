"""Connections and the account have limits."""

from __future__ import annotations

import contextlib
import http.client
import json
import time

import pytest
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK, InvalidStatus

from inworld_sync.emulator import Emulator, Settings

from support.tone import ToneSynthesizer
from support.tts_client import open_tts


def serve(**settings: float) -> Emulator:
    return Emulator(synthesizer=ToneSynthesizer(), settings=Settings(**settings))  # type: ignore[arg-type]


def connect_when_free(server: Emulator, stack: contextlib.ExitStack) -> None:
    """
    Connect when a slot is free. A slot is free when the server's thread of the old connection has
    ended.
    """
    deadline = time.monotonic() + 30
    while True:
        try:
            stack.enter_context(open_tts(server))
        except InvalidStatus:
            assert time.monotonic() < deadline
        else:
            return


def test_too_many_connections() -> None:
    """One connection above the limit gets HTTP 429, and a slot is free again after a close."""
    with serve(max_connections=2) as server, contextlib.ExitStack() as stack:
        first = stack.enter_context(contextlib.ExitStack())
        first.enter_context(open_tts(server))
        stack.enter_context(open_tts(server))
        with pytest.raises(InvalidStatus) as caught, open_tts(server):
            pass
        first.close()
        connect_when_free(server, stack)

    response = caught.value.response
    assert 429 == response.status_code
    assert response.body is not None
    assert 8 == json.loads(response.body)["code"]


def test_idle_connection_is_cut() -> None:
    """A connection without messages is closed after the idle timeout."""
    with serve(idle_timeout=0.1) as server, open_tts(server) as client:
        with pytest.raises(ConnectionClosedOK) as caught:
            client.receive()

    assert caught.value.rcvd is not None
    assert 1000 == caught.value.rcvd.code


def test_close_code_of_the_idle_cut() -> None:
    """The close code after the idle timeout is a setting."""
    with serve(idle_timeout=0.1, idle_close_code=4000) as server, open_tts(server) as client:
        with pytest.raises(ConnectionClosedError) as caught:
            client.receive()

    assert caught.value.rcvd is not None
    assert 4000 == caught.value.rcvd.code


def test_large_message_is_accepted(tone_server: Emulator) -> None:
    """A message of 1 MiB is accepted."""
    with open_tts(tone_server) as client:
        client.create(unknownField="x" * (1 << 20))

        assert "contextCreated" in client.result()


def test_message_above_the_limit() -> None:
    """A message above max_message_bytes ends the connection at once with the close code 1009."""
    started = time.monotonic()
    with serve(max_message_bytes=1000, close_timeout=60) as server, open_tts(server) as client:
        client.create(unknownField="x" * 1000)
        with pytest.raises(ConnectionClosedError) as caught:
            client.receive()

    assert time.monotonic() - started < 30

    assert caught.value.rcvd is not None
    assert 1009 == caught.value.rcvd.code


def test_latency() -> None:
    """latency_ms delays each message by the same time. The delays of messages do not add up."""
    with serve(latency_ms=500) as server, open_tts(server) as client:
        started = time.monotonic()
        for number in range(100):
            client.close(f"c{number}")
        client.result()
        first = time.monotonic() - started
        for _ in range(99):
            client.result()

        assert first >= 0.5
        assert time.monotonic() - started < 100 * 0.5


def test_latency_over_http() -> None:
    """An HTTP response is delayed by latency_ms too."""
    with serve(latency_ms=50) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        started = time.monotonic()
        connection.request("GET", "/nowhere")
        status = connection.getresponse().status
        took = time.monotonic() - started
        connection.close()

    assert 404 == status
    assert took >= 0.05
