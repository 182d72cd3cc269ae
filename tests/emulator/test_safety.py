"""
A hostile client or web page cannot stop the server, fill its memory, or keep other clients out.
"""

from __future__ import annotations

import contextlib
import http.client
import logging
import socket
import subprocess
import sys
import threading
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from inworld_sync.emulator import Emulator, Fault, FaultKind, Settings
from inworld_sync.emulator.inbox import Inbox, Received
from inworld_sync.errors import ConfigError

from support.realtime_client import REALTIME_PATH, RealtimeClient, open_realtime
from support.stt_client import STT_PATH
from support.tone import ToneSynthesizer
from support.tts_client import TTS_PATH, open_tts

PATHS = [TTS_PATH, STT_PATH, REALTIME_PATH]


def serve(**settings: Any) -> Emulator:
    return Emulator(synthesizer=ToneSynthesizer(), settings=Settings(**settings))


def upgrade(server: Emulator, path: str = TTS_PATH, **headers: str) -> socket.socket:
    """Send an upgrade request with some headers. Return the socket."""
    sock = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    sock.sendall(upgrade_request(server, path, **headers))
    return sock


def upgrade_request(server: Emulator, path: str = TTS_PATH, **headers: str) -> bytes:
    sent = {
        "Host": f"127.0.0.1:{server.port}",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==",
        **headers,
    }
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def status_of(server: Emulator, path: str = TTS_PATH, **headers: str) -> int:
    """Return the status of the response to an upgrade."""
    with upgrade(server, path, **headers) as sock:
        return int(sock.recv(4096).split(b" ")[1])


def responds(server: Emulator) -> bool:
    """Return whether the server still serves a client with a good key."""
    with open_tts(server) as client:
        client.create()
        return "contextCreated" in client.result()


# Host and Origin.


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1.evil.example"]
)
def test_foreign_web_page(tone_server: Emulator, path: str, origin: str) -> None:
    """A page of another site cannot open a WebSocket, not even with the key."""
    key = f"Basic {tone_server.api_key}"

    assert 403 == status_of(tone_server, path, Origin=origin, Authorization=key)


@pytest.mark.parametrize(
    "origin", ["http://localhost:5173", "http://127.0.0.1:8000", "http://[::1]"]
)
def test_own_web_page(tone_server: Emulator, origin: str) -> None:
    """A page of a server on this machine can open a WebSocket."""
    assert 101 == status_of(tone_server, Origin=origin)


@pytest.mark.parametrize("path", PATHS)
def test_name_of_another_site(tone_server: Emulator, path: str) -> None:
    """A request with the host name of another site is refused, so DNS rebinding does not work."""
    host = f"evil.example:{tone_server.port}"
    key = f"Basic {tone_server.api_key}"

    assert 403 == status_of(tone_server, path, Host=host, Authorization=key)
    assert 403 == status_of(tone_server, path, Host=host, Origin=f"http://{host}")


def test_http_of_a_foreign_web_page(tone_server: Emulator) -> None:
    """The check of the origin applies to HTTP too. The response says how to allow the host."""
    connection = http.client.HTTPConnection("127.0.0.1", tone_server.port, timeout=30)
    headers = {"Authorization": f"Basic {tone_server.api_key}", "Origin": "https://evil.example"}
    connection.request("GET", "/tts/v1/voices", headers=headers)
    response = connection.getresponse()
    body = response.read()
    connection.close()

    assert 403 == response.status
    assert b"allowed_hosts" in body


@pytest.mark.parametrize("allowed", ["pages.example", "*"])
def test_allowed_hosts(allowed: str) -> None:
    """The hosts in allowed_hosts are accepted in Origin and in Host."""
    with serve(allowed_hosts=(allowed,)) as server:
        assert 101 == status_of(server, Origin="https://pages.example")
        assert 101 == status_of(server, Host="pages.example")


# Connections without a credential.


@pytest.mark.parametrize("path", [TTS_PATH, STT_PATH])
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Basic abcd"}])
def test_idle_websocket_without_a_credential(path: str, headers: dict[str, str]) -> None:
    """A WebSocket without a good credential is closed, even if the client sends no message."""
    with (
        serve(credential_timeout=0.1) as server,
        open_tts(server, path=path, headers=headers) as client,
    ):
        assert client.receive()["error"]["code"] in (7, 16)
        with pytest.raises(ConnectionClosed):
            client.receive()


def test_websockets_without_a_credential_keep_nobody_out() -> None:
    """WebSockets without a credential have a separate limit, so clients with a key can connect."""
    with serve(max_connections=2) as server, contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(open_tts(server, headers={}))
        with pytest.raises(InvalidStatus), open_tts(server, headers={}):
            pass

        assert responds(server)


def test_connection_without_a_request() -> None:
    """A connection that sends no request is closed after credential_timeout."""
    with serve(credential_timeout=0.1, request_timeout=3600.0) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as sock:
            assert b"" == sock.recv(1)


# Descriptors and threads.

STARVED = """
import resource, sys
from inworld_sync.emulator import Emulator
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
with Emulator() as server:
    print(server.port, server.api_key, flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no RLIMIT_NOFILE")
def test_no_descriptor_left() -> None:
    """The server accepts connections again as soon as the process has free descriptors."""
    process = subprocess.Popen(
        [sys.executable, "-c", STARVED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        port, key = process.stdout.readline().split()
        idle = [socket.create_connection(("127.0.0.1", int(port)), timeout=30) for _ in range(200)]
        for sock in idle:
            sock.close()
        connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=30)
        connection.request("GET", "/tts/v1/voices", headers={"Authorization": f"Basic {key}"})
        status = connection.getresponse().status
        connection.close()
        _, _ = process.communicate(timeout=30)

    assert (200, 0) == (status, process.returncode)


@pytest.mark.parametrize("thread", ["inworld-emulator-2", "-reader-", "-writer-", "-tts-"])
def test_no_thread_left(thread: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    If the thread of a connection cannot be started, this connection ends. The server continues.
    """
    start = threading.Thread.start
    failed = []

    def fail_once(self: threading.Thread) -> None:
        if thread in self.name and not failed:
            failed.append(self.name)
            raise RuntimeError("can't start new thread")
        start(self)

    with serve() as server:
        assert responds(server)
        monkeypatch.setattr(threading.Thread, "start", fail_once)
        with pytest.raises((WebSocketException, OSError, EOFError)):
            responds(server)
        assert responds(server)

    assert failed


def test_no_thread_left_for_a_response(
    realtime: RealtimeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the thread of a response cannot be started, the session continues."""
    start = threading.Thread.start
    failed = []

    def fail_once(self: threading.Thread) -> None:
        if "emulator-resp" in self.name and not failed:
            failed.append(self.name)
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", fail_once)
    realtime.write("Hello.")
    realtime.send("response.create")

    assert "server_error" == realtime.error()["type"]
    assert "completed" == realtime.ask("Hello.")[-1]["response"]["status"]


# Memory.


def test_pings_of_a_client_that_never_reads() -> None:
    """The server stops reading from a client when too many pongs wait for that client."""
    with serve() as server:
        with upgrade(server, Authorization=f"Basic {server.api_key}") as sock:
            sock.settimeout(2)
            pings = (b"\x89\xfd" + bytes(4) + bytes(125)) * 1000
            with pytest.raises(TimeoutError):
                for _ in range(1000):
                    sock.sendall(pings)


def test_empty_messages_fill_the_inbox() -> None:
    """A queue of empty messages is bounded, since each message counts with a minimum size."""
    inbox = Inbox(1000)
    done = threading.Event()

    def fill() -> None:
        for _ in range(10_000):
            inbox.put(Received(b"", is_text=True))
        done.set()

    thread = threading.Thread(target=fill)
    thread.start()
    try:
        assert not done.wait(0.5)
    finally:
        inbox.end()
        thread.join()


def test_conversation_is_bounded(tone_server: Emulator) -> None:
    """The oldest items are removed from a conversation that becomes too large."""
    from inworld_sync.emulator import RealtimeSettings

    with serve(realtime=RealtimeSettings(max_conversation_bytes=20_000)) as server:
        with open_realtime(server) as client:
            for number in range(20):
                client.write("x" * 1000, id=f"item-{number}")
            client.send("conversation.item.retrieve", item_id="item-19")
            client.next("conversation.item.retrieved")
            client.send("conversation.item.retrieve", item_id="item-0")
            assert "item_retrieve_invalid_item_id" == client.error()["code"]
            client.write("x" * 20_000)
            assert "item_too_large" == client.error()["code"]


def test_session_is_bounded(realtime: RealtimeClient) -> None:
    """Updates cannot make the session grow without end."""
    codes = []
    for number in range(20):
        provider_data = {f"field_{number}": "x" * 100_000}
        realtime.send("session.update", session={"providerData": provider_data})
        event = realtime.receive()
        codes.append(event.get("error", {}).get("code"))

    assert "session_too_large" == codes[-1]
    assert codes.index("session_too_large") > 5


def test_responses_are_bounded(realtime: RealtimeClient) -> None:
    """A session has a limited number of responses, so the number of threads is limited too."""
    realtime.write("Count to 200.")
    for _ in range(40):
        realtime.send("response.create", response={"conversation": "none"})

    assert "too_many_responses" == realtime.error()["code"]


def test_mcp_servers_are_bounded(realtime: RealtimeClient) -> None:
    """A session has a limited number of MCP servers, so the number of threads is limited too."""
    tools = [
        {"type": "mcp", "server_label": f"s{number}", "server_url": "ftp://127.0.0.1"}
        for number in range(40)
    ]
    realtime.send("session.update", session={"tools": tools})

    assert "too_many_mcp_servers" == realtime.error()["code"]


def test_text_that_waits_is_bounded() -> None:
    """If too much text waits for speech, further text is refused with code 8."""
    with serve(pace=0.001) as server, open_tts(server) as client:
        client.create()
        for _ in range(600):
            client.text("x" * 1990)
        codes = [client.result()["status"]["code"] for _ in range(5)]
        while 8 not in codes:
            codes.append(client.result()["status"]["code"])
        assert 8 in codes


# Bytes on the wire.

BAD_REQUESTS = [
    b"GET //[ HTTP/1.1\r\n\r\n",
    b"GET /?fault=http_status:99999 HTTP/1.1\r\n\r\n",
    b"GET /?fault=response_delay:1e300 HTTP/1.1\r\n\r\n",
    b"GET /?fault=response_delay:nan HTTP/1.1\r\n\r\n",
    b"GET /?fault=nonsense HTTP/1.1\r\n\r\n",
    b"POST /tts/v1/voice HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
    b"POST /tts/v1/voice HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
    b"GET / HTTP/1.1\r\nHost: a\x00b\r\n\r\n",
    b"GET / HTTP/1.1\r\n: nameless\r\n\r\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
]


@pytest.mark.parametrize("data", BAD_REQUESTS)
def test_bad_request(tone_server: Emulator, data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """A request that cannot be read gets a status, and causes no traceback."""
    with socket.create_connection(("127.0.0.1", tone_server.port), timeout=30) as sock:
        sock.sendall(data)
        status = int(sock.recv(4096).split(b" ")[1])

    assert status in (400, 501)
    assert not [record for record in caplog.records if record.exc_info]


def test_bad_upgrade(tone_server: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    """An upgrade that the WebSocket library refuses gets a status, and causes no traceback."""
    request = upgrade_request(tone_server).replace(b"GET ", b"POST ", 1)
    many = upgrade_request(tone_server, **{f"X-{number}": "x" for number in range(300)})
    for data in (request, many):
        with socket.create_connection(("127.0.0.1", tone_server.port), timeout=30) as sock:
            sock.sendall(data)

            assert 400 <= int(sock.recv(4096).split(b" ")[1]) < 500
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("depth", [500, 900, 100_000])
def test_deep_json(tone_server: Emulator, depth: int, caplog: pytest.LogCaptureFixture) -> None:
    """JSON that is nested too deeply is refused by every service, and causes no traceback."""
    deep = '{"a":' * depth + "1" + "}" * depth
    with open_tts(tone_server) as client:
        client.connection.send(f'{{"create":{deep}}}')
        assert 3 == client.receive()["error"]["code"]
    with open_realtime(tone_server) as realtime:
        body = f'{{"type":"session.update","session":{{"providerData":{deep}}}}}'
        realtime.connection.send(body)
        assert "invalid_json" == realtime.error()["code"]
    connection = http.client.HTTPConnection("127.0.0.1", tone_server.port, timeout=30)
    headers = {"Authorization": f"Basic {tone_server.api_key}"}
    connection.request("POST", "/tts/v1/voice", deep, headers)
    status = connection.getresponse().status
    connection.close()

    assert 400 == status
    assert not [record for record in caplog.records if record.exc_info]


BAD_FAULTS = [
    (FaultKind.HTTP_STATUS, 99999),
    (FaultKind.HTTP_STATUS, 299),
    (FaultKind.CLOSE, 1),
    (FaultKind.CLOSE, 1005),
    (FaultKind.DELAY, float("inf")),
    (FaultKind.SLOW, 1e-9),
    (FaultKind.FRAGMENTS, 0.5),
    (FaultKind.HUGE_FRAME, 1e30),
]


@pytest.mark.parametrize(("kind", "value"), BAD_FAULTS)
def test_bad_fault(kind: FaultKind, value: float) -> None:
    """A fault with an invalid value is refused."""
    with pytest.raises(ConfigError, match=kind.value):
        Fault(kind, value)


def test_log_levels_of_the_host_program() -> None:
    """The emulator does not change the level of any logger."""
    script = """
import logging
logging.getLogger().setLevel(7)
logging.getLogger("inworld_sync.emulator.protocol").setLevel(7)
from inworld_sync.emulator import Emulator
import inworld_sync.emulator.connection
with Emulator():
    pass
print([logging.getLogger(name).level for name in (None, "inworld_sync.emulator.protocol")])
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )

    assert "[7, 7]" == done.stdout.strip()


def test_credentials_are_not_logged(
    tone_server: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has no key, even at the lowest level."""
    caplog.set_level(logging.DEBUG)
    assert responds(tone_server)

    emulator = [record for record in caplog.records if "emulator" in record.name]
    assert not [record for record in emulator if tone_server.api_key in record.getMessage()]
