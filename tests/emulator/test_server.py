"""The server starts, listens, serves TLS, withstands bad clients and closes."""

from __future__ import annotations

import contextlib
import json
import math
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from inworld_sync.emulator import EmulatedVoice, Emulator, Settings, server as server_module
from inworld_sync.emulator.synthesis import SpokenSentence
from inworld_sync.errors import ConfigError, LocalProtocolError

from support.tone import ToneSynthesizer, tone_seconds
from support.tts_client import TTS_PATH, open_tts
from support.tts_tls import talk_over_tls


def own_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("inworld-")]


@pytest.fixture
def quiet() -> Iterator[None]:
    """Check that no thread of a server is alive after the server was closed."""
    before = set(own_threads())
    yield
    assert not set(own_threads()) - before


def test_address() -> None:
    """The URLs for HTTP and WebSocket share one free port of the loopback address."""
    with Emulator(synthesizer=ToneSynthesizer()) as server:
        assert f"http://127.0.0.1:{server.port}" == server.url
        assert f"ws://127.0.0.1:{server.port}" == server.ws_url
        assert server.url in repr(server)
        assert server.api_key not in repr(server)


def test_ipv6() -> None:
    """The server can listen on ::1, and its URL has brackets."""
    with Emulator("::1", synthesizer=ToneSynthesizer()) as server, open_tts(server) as client:
        client.create()

        assert "contextCreated" in client.result()
        assert server.url.startswith("http://[::1]:")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.1", "::", "example.org"])
def test_other_hosts_are_refused(host: str) -> None:
    """An address other than loopback needs allow_remote=True."""
    with pytest.raises(ConfigError, match="allow_remote"):
        Emulator(host)


# (arguments, a part of the message). Each error is raised before the server listens.
WRONG: list[tuple[dict[str, object], str]] = [
    ({"port": 99999}, "port must be 0 to 65535, got 99999"),
    ({"port": "8080"}, "port must be 0 to 65535, got '8080'"),
    ({"settings": {"max_contexts": 1}}, "settings must be a Settings"),
    ({"faults": "drop"}, r"such as \['drop'\]"),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG)
def test_wrong_arguments(arguments: dict[str, object], words: str) -> None:
    """A wrong argument is refused with a message."""
    with pytest.raises(ConfigError, match=words):
        Emulator(**arguments)  # type: ignore[arg-type]


def test_other_hosts_with_allow_remote() -> None:
    """With allow_remote=True, the server listens on the given address."""
    with Emulator("0.0.0.0", allow_remote=True) as server:
        assert server.port


def test_no_address_before_start() -> None:
    """If the address is read before the start, an error is raised."""
    with pytest.raises(LocalProtocolError, match="start"):
        _ = Emulator().url


def test_start_twice() -> None:
    """A server that is started cannot be started again."""
    with Emulator() as server, pytest.raises(LocalProtocolError):
        server.start()


def test_close_twice(quiet: None) -> None:
    """A second close does nothing."""
    server = Emulator().start()
    server.close()
    server.close()


def test_start_again(quiet: None) -> None:
    """A closed server can be started again."""
    server = Emulator(synthesizer=ToneSynthesizer())
    for _ in range(2):
        with server, open_tts(server) as client:
            client.create()
            assert "contextCreated" in client.result()


def test_engines_are_not_loaded_at_start() -> None:
    """The start and the close of a server import no engine and no library of an engine."""
    code = (
        "import sys; from inworld_sync.emulator import Emulator\n"
        "with Emulator(): pass\n"
        "print([n for n in ('numpy', 'onnxruntime', 'hibari', 'soundfile') if n in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "[]" == shown.stdout.strip()


def test_package_is_light() -> None:
    """The import of the emulator's package does not import the libraries of the server."""
    code = "import sys, inworld_sync.emulator; print('websockets' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "False" == shown.stdout.strip()


SPEAK = [
    {
        "contextId": "c1",
        "create": {
            "voiceId": "Ashley",
            "modelId": "inworld-tts-2",
            "audioConfig": {"audioEncoding": "PCM", "sampleRateHertz": 24000},
        },
    },
    {"contextId": "c1", "send_text": {"text": "A sentence over TLS. " * 20}},
    {"contextId": "c1", "close_context": {}},
]


def test_tls() -> None:
    """With tls=True, a client that uses the server's TLS context connects over TLS."""
    chunks = math.ceil(tone_seconds("A sentence over TLS. " * 20) / 0.25)
    with Emulator(synthesizer=ToneSynthesizer(), tls=True) as server:
        messages = talk_over_tls(server, SPEAK, count=chunks + 3)

        assert server.url.startswith("https://")
    assert "contextClosed" in messages[-1]["result"]


def test_tls_certificate_is_checked() -> None:
    """
    Only a client that has the server's certificate authority accepts the server's certificate.
    """
    with Emulator(synthesizer=ToneSynthesizer(), tls=True) as server:
        with pytest.raises(ssl.SSLCertVerificationError):
            talk_over_tls(server, [], count=0, context=ssl.create_default_context())
        context = ssl.create_default_context(cadata=server.ca_pem.decode())

        assert [] == talk_over_tls(server, [], count=0, context=context)


def test_plain_client_of_a_tls_server() -> None:
    """A client that does not use TLS is disconnected, and the server continues."""
    with Emulator(synthesizer=ToneSynthesizer(), tls=True) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                while sock.recv(65536):
                    pass

        assert [] == talk_over_tls(server, [], count=0)


def test_silent_client_is_cut() -> None:
    """A client that connects and sends nothing is disconnected after request_timeout."""
    settings = Settings(request_timeout=0.1)
    with (
        Emulator(settings=settings) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=30) as sock,
    ):
        assert b"" == sock.recv(1)


def test_unknown_websocket_path(tone_server: Emulator) -> None:
    """An upgrade on an unknown path gets a 404 in JSON."""
    with pytest.raises(InvalidStatus) as caught, open_tts(tone_server, path="/nowhere"):
        pass

    assert 404 == caught.value.response.status_code


def test_bad_upgrade(tone_server: Emulator) -> None:
    """An upgrade without the header Sec-WebSocket-Key is refused with 400."""
    with socket.create_connection(("127.0.0.1", tone_server.port), timeout=30) as sock:
        sock.sendall(
            f"GET {TTS_PATH} HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n".encode()
        )
        assert sock.recv(65536).startswith(b"HTTP/1.1 400")


def test_client_closes_in_the_middle(tone_server: Emulator) -> None:
    """A client can disconnect during speech. The contexts of the client then end."""
    before = set(own_threads())
    with open_tts(tone_server) as client:
        client.create()
        client.text("A very long text. " * 100)
        client.flush()
        client.result()
    deadline = time.monotonic() + 30
    while set(own_threads()) - before and time.monotonic() < deadline:
        time.sleep(0.01)

    assert not set(own_threads()) - before


def test_client_that_sends_all_before_it_reads(tone_server: Emulator) -> None:
    """A client can send everything before it reads, since the server sends on another thread."""
    with open_tts(tone_server) as client:
        client.create()
        for _ in range(2000):
            client.send(flush_context={}, contextId="nobody")
        client.close()

        codes = [result["status"]["code"] for result in client.until("contextClosed")]
    assert 2000 == codes.count(5)


@contextmanager
def deaf_client(server: Emulator) -> Iterator[socket.socket]:
    """Yield a WebSocket that requests much audio and reads no audio."""
    head = (
        f"GET {TTS_PATH} HTTP/1.1\r\nAuthorization: Basic {server.api_key}\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
    )
    text = {"text": "Many words for a deaf client. " * 60, "flush_context": {}}
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as sock:
        sock.sendall(head.encode())
        sock.sendall(masked(SPEAK[0]))
        for _ in range(20):
            sock.sendall(masked({"contextId": "c1", "send_text": text}))
        yield sock


def masked(request: dict[str, Any]) -> bytes:
    """Make a masked text frame, because a client must mask its frames. The mask is zero."""
    data = json.dumps(request).encode()
    return b"\x81\xfe" + len(data).to_bytes(2, "big") + bytes(4) + data


def test_client_that_does_not_read_delays_no_other(
    quiet: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one client reads nothing, other clients are served, and the server closes at once."""
    monkeypatch.setattr(server_module, "_JOIN_SECONDS", 60.0)
    with Emulator(synthesizer=ToneSynthesizer()) as server, deaf_client(server):
        with open_tts(server) as client:
            client.create()
            client.text("Hello.")
            client.close()
            client.until("contextClosed")
        started = time.monotonic()
        server.close()

        assert time.monotonic() - started < 30


def test_client_that_does_not_read_is_bounded() -> None:
    """Synthesis pauses when max_queued_bytes wait for a client that does not read."""
    counting = CountingSynthesizer()
    with (
        Emulator(synthesizer=counting, settings=Settings(max_queued_bytes=10_000)) as server,
        deaf_client(server) as sock,
    ):
        before = -1
        while before != counting.sentences:
            before = counting.sentences
            time.sleep(0.1)
        stopped_at = counting.sentences
        read = 0
        while read < 1 << 20:
            read += len(sock.recv(65536))
        deadline = time.monotonic() + 30
        while counting.sentences == stopped_at and time.monotonic() < deadline:
            time.sleep(0.01)

    assert stopped_at < 20 * 60
    assert counting.sentences > stopped_at


class CountingSynthesizer(ToneSynthesizer):
    """A tone generator that counts its sentences."""

    def __init__(self) -> None:
        self.sentences = 0

    def speak(
        self, text: str, voice: EmulatedVoice, *, speaking_rate: float = 1.0, normalize: bool = True
    ) -> Iterator[SpokenSentence]:
        for sentence in super().speak(text, voice, speaking_rate=speaking_rate):
            self.sentences += 1
            yield sentence


def test_close_sends_close_1001(quiet: None) -> None:
    """A closing server sends CLOSE 1001 and ends all speech."""
    with Emulator(synthesizer=ToneSynthesizer(), settings=Settings(pace=1)) as server:
        with open_tts(server) as client:
            client.create()
            client.text("A long text. " * 100)
            client.flush()
            client.result(), client.result()
            closer = threading.Thread(target=server.close)
            closer.start()
            with pytest.raises(ConnectionClosed) as caught:
                client.until("flushCompleted")
            closer.join(30)

            assert not closer.is_alive()
    assert caught.value.rcvd is not None
    assert 1001 == caught.value.rcvd.code


def test_failing_engine() -> None:
    """If an engine fails, the context ends with code 13, and the connection continues."""

    class Broken(ToneSynthesizer):
        def speak(self, text: str, *_: object, **__: object) -> Iterator[SpokenSentence]:
            raise RuntimeError(f"cannot say {text}")

    with Emulator(synthesizer=Broken()) as server, open_tts(server) as client:
        client.create()
        client.text("Hi.")
        client.flush()
        client.result()
        status = client.result()["status"]
        client.create()

        assert (13, "cannot say Hi.") == (status["code"], status["message"])
        assert "contextCreated" in client.result()


def test_many_connections_at_once() -> None:
    """Twenty connections with five contexts each are all served."""
    done = []

    def talk(server: Emulator) -> None:
        with open_tts(server) as client:
            for number in range(5):
                client.create(f"c{number}")
                client.text("Hello there. How are you?", f"c{number}")
                client.close(f"c{number}")
            closed = 0
            while closed < 5:
                closed += "contextClosed" in client.result()
            done.append(closed)

    with Emulator(synthesizer=ToneSynthesizer()) as server:
        threads = [threading.Thread(target=talk, args=(server,)) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)

    assert [5] * 20 == done


# The code of two cases. In the first case, the server waits until the engine has finished a
# sentence. In the second case, the server does not wait.
PATIENCE = ["", "server._JOIN_SECONDS = server._GRACE_SECONDS = context._JOIN_SECONDS = 0.0"]


@pytest.mark.parametrize("patience", PATIENCE, ids=["in time", "late"])
def test_program_ends_while_it_speaks(patience: str) -> None:
    """
    A program that never closes its server still ends with the program's own exit status.

    If threads of the engine were still inside C++ when the interpreter shuts down, the process
    would abort.
    """
    code = f"""
import logging
from inworld_sync import Inworld
from inworld_sync.emulator import server
from inworld_sync.emulator.tts import context
{patience}
logging.disable()
for chunk in Inworld(local=True).tts.stream("One, two, three, four, five. " * 40):
    raise SystemExit(7)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, timeout=60
    )

    assert (7, "") == (done.returncode, done.stderr)
