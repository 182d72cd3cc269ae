"""
Runs a WebSocket server in another process. The server sends messages as fast as the client reads.

The path of a connection selects the message. On the paths of the three services (Inworld, OpenAI
and ElevenLabs), the server waits until the client has requested speech, and the command line sets
the count of messages. On the other paths, the server sends at once, and the query sets the count of
messages. After the last message, the server ignores everything that the client sends.

If a pace is given, the server behaves differently on the paths of the two realtime services: it
sends the messages of one response at this pace, and ignores the user's audio.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import itertools
import json
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

__all__ = ["AUDIO_BYTES", "authority_pem", "client_context", "serving"]

# 0.42 s of audio at 24 kHz. The message with this audio has 27 KB.
AUDIO_BYTES = 20_160

# The server passes this many messages to one ``sendall``.
_BATCH = 16

_AUDIO = base64.b64encode(bytes(index * 31 % 251 for index in range(AUDIO_BYTES))).decode()

# 100 ms of audio at 24 kHz. A conversation has one such message for each 100 ms.
_TALK = base64.b64encode(bytes(index * 31 % 251 for index in range(4800))).decode()

_LAST_SECONDS = 0.5

# The time stamp of a message is in nanoseconds and has this many digits.
_STAMP = 20


def tts(context_id: str) -> bytes:
    """Return a message of Inworld's TTS service with audio and without word times."""
    chunk = {"audioContent": _AUDIO, "usage": {"processedCharactersCount": 64, "modelId": "m"}}
    status = {"code": 0, "message": "", "details": []}
    result = {"contextId": context_id, "audioChunk": chunk, "status": status}
    return json.dumps({"result": result}).encode()


def delta() -> bytes:
    """Return an audio delta of OpenAI's realtime service."""
    names = {"event_id": "event_1", "response_id": "resp_1", "item_id": "item_1"}
    places = {"output_index": 0, "content_index": 0, "delta": _AUDIO}
    return json.dumps({"type": "response.output_audio.delta", **names, **places}).encode()


def frame(text: bytes) -> bytes:
    """Return an unmasked text frame."""
    size = len(text)
    head = struct.pack("!BB", 0x81, size) if size < 126 else struct.pack("!BBH", 0x81, 126, size)
    return head + text


class Peer:
    """One connection, on the side of the server."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._stream = sock.makefile("rb")
        self._numbers = itertools.count()

    def serve(self) -> None:
        request = self._stream.readline().split(b" ")[1].decode()
        self._upgrade()
        url = urllib.parse.urlsplit(request)
        asked = dict(urllib.parse.parse_qsl(url.query))
        count, pace_ms = int(asked.get("count", 0)), float(asked.get("pace_ms", 0))
        if url.path == "/tts":
            self._send_many(frame(tts("c" * 32)), count, pace_ms)
        elif url.path == "/stamped":
            self._send_stamped(count, pace_ms)
        elif url.path.endswith("voice:streamBidirectional"):
            self._inworld(COUNT)
        elif PACE_MS and "/realtime" in url.path:
            self._converse(COUNT, PACE_MS)
        elif url.path.endswith("/realtime"):
            self._openai(COUNT)
            self._request()
        elif url.path.endswith("/stream-input"):
            self._elevenlabs(COUNT)
            self._request()
        while self._stream.read1(1 << 20):
            pass

    def _upgrade(self) -> None:
        key = b""
        while (line := self._stream.readline()).strip():
            if line.lower().startswith(b"sec-websocket-key:"):
                key = line.partition(b":")[2].strip()
        digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        self._sock.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
        )

    def _send_many(self, one: bytes, count: int, pace_ms: float = 0.0) -> None:
        if pace_ms:
            for due in _ticks(count, pace_ms):
                _sleep_until(due)
                self._sock.sendall(one)
            return
        batch = one * _BATCH
        for _ in range(count // _BATCH):
            self._sock.sendall(batch)
        self._sock.sendall(one * (count % _BATCH))

    def _send_stamped(self, count: int, pace_ms: float) -> None:
        before, after = frame(tts("@" * _STAMP)).split(b"@" * _STAMP)
        for due in _ticks(count, pace_ms):
            _sleep_until(due)
            self._sock.sendall(before + b"%020d" % time.perf_counter_ns() + after)

    def _request(self) -> bytes:
        """Return the next text message of the client."""
        while True:
            first, second = self._stream.read(2)
            size = second & 0x7F
            if size == 126:
                size = int.from_bytes(self._stream.read(2), "big")
            key = self._stream.read(4)
            payload = self._stream.read(size)
            if first & 0x0F == 1:
                key = key * (size // 4 + 1)
                return bytes(a ^ b for a, b in zip(payload, key, strict=False))
            if first & 0x0F == 8:
                # Answer the close frame, so that the client ends the connection.
                self._sock.sendall(b"\x88\x02\x03\xe8")
                raise EOFError

    def _inworld(self, count: int) -> None:
        while True:
            request = json.loads(self._request())
            name = request["contextId"]
            if "create" in request:
                self._result(name, contextCreated={})
            elif "close_context" in request:
                self._send_many(frame(tts(name)), count)
                self._result(name, flushCompleted={})
                self._result(name, contextClosed={})

    def _result(self, name: str, **kind: object) -> None:
        body = {"contextId": name, **kind, "status": {"code": 0, "message": "", "details": []}}
        self._sock.sendall(frame(json.dumps({"result": body}).encode()))

    def _openai(self, count: int) -> None:
        self._request()
        self._send_many(frame(delta()), count)
        done = {"type": "response.output_audio.done", "event_id": "e", "response_id": "r"}
        places = {"item_id": "i", "output_index": 0, "content_index": 0}
        self._sock.sendall(frame(json.dumps({**done, **places}).encode()))

    def _converse(self, count: int, pace_ms: float) -> None:
        body = {"type": "realtime", "id": "sess_1", "model": "m"}
        self._event("session.created", session=body)
        while (request := json.loads(self._request()))["type"] != "response.create":
            if request["type"] == "session.update":
                self._event("session.updated", session={**body, **request["session"]})
        response = {"id": "resp_1", "object": "realtime.response", "output": []}
        item = {"id": "item_1", "object": "realtime.item", "type": "message", "role": "assistant"}
        places = {"response_id": "resp_1", "item_id": "item_1", "output_index": 0}
        self._event("response.created", response={**response, "status": "in_progress"})
        added = {**item, "status": "in_progress", "content": []}
        self._event("response.output_item.added", response_id="resp_1", output_index=0, item=added)
        for due in _ticks(count, pace_ms):
            self._ignore_until(due)
            self._event("response.output_audio.delta", **places, content_index=0, delta=_TALK)
        self._event("response.output_audio.done", **places, content_index=0)
        done = {**item, "status": "completed", "content": []}
        self._event("response.output_item.done", response_id="resp_1", output_index=0, item=done)
        self._event("response.done", response={**response, "status": "completed", "output": [done]})
        # During this time, the client stops its microphone.
        self._ignore_until(time.perf_counter() + _LAST_SECONDS)
        self._sock.sendall(b"\x88\x02\x03\xe8")
        self._sock.shutdown(socket.SHUT_WR)

    def _event(self, kind: str, **fields: object) -> None:
        body = {"type": kind, "event_id": f"event_{next(self._numbers):08}", **fields}
        self._sock.sendall(frame(json.dumps(body, separators=(",", ":")).encode()))

    def _ignore_until(self, due: float) -> None:
        """Receive and ignore bytes until a time of ``time.perf_counter``."""
        while (left := due - time.perf_counter()) > 0:
            self._sock.settimeout(left)
            try:
                if not self._sock.recv(1 << 18):
                    raise EOFError
            except TimeoutError:
                break
        self._sock.settimeout(None)

    def _elevenlabs(self, count: int) -> None:
        while json.loads(self._request()).get("text") != "":
            pass
        self._send_many(frame(json.dumps({"audio": _AUDIO, "isFinal": None}).encode()), count)
        self._sock.sendall(b"\x88\x02\x03\xe8")
        self._sock.shutdown(socket.SHUT_WR)


def _ticks(count: int, pace_ms: float) -> Iterator[float]:
    begin = time.perf_counter()
    for number in range(count):
        yield begin + number * pace_ms / 1000


def _sleep_until(due: float) -> None:
    time.sleep(max(0.0, due - time.perf_counter()))


def serve(certificate: str) -> None:
    """Print the port, then serve until the process is killed."""
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)

    def run(sock: socket.socket) -> None:
        # A client may close the connection at any time.
        with contextlib.suppress(OSError, ValueError, EOFError), sock:
            peer = context.wrap_socket(sock, server_side=True) if context else sock
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with peer:
                Peer(peer).serve()

    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=run, args=(sock,), daemon=True).start()


_authority: tuple[bytes, bytes] | None = None


def _identity() -> tuple[bytes, bytes]:
    """Return the certificate of the authority, and the key and certificate of the server."""
    global _authority
    if _authority is None:
        import trustme

        authority = trustme.CA()
        pem = authority.issue_cert("localhost").private_key_and_cert_chain_pem.bytes()
        _authority = authority.cert_pem.bytes(), pem
    return _authority


def authority_pem() -> str:
    """Return the certificate that clients of the server must trust."""
    return _identity()[0].decode()


@functools.cache
def client_context() -> ssl.SSLContext:
    """Return the TLS context for clients of the server."""
    return ssl.create_default_context(cadata=authority_pem())


@contextlib.contextmanager
def serving(*, tls: bool = False, count: int = 0, pace_ms: float = 0.0) -> Iterator[str]:
    """
    Run a server in another process and yield its URL.

    Args:
        tls: Whether to use TLS, with a certificate for ``localhost``.
        count: How many messages the server sends on the paths of the three services.
        pace_ms: The time between two audio deltas of a conversation; 0 for no conversations.
    """
    with tempfile.TemporaryDirectory() as folder:
        certificate = ""
        if tls:
            file = Path(folder) / "server.pem"
            file.write_bytes(_identity()[1])
            certificate = str(file)
        command = [sys.executable, "-m", "benchmarks.server", str(count), certificate, str(pace_ms)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                yield f"{'wss' if tls else 'ws'}://localhost:{int(process.stdout.readline())}"
            finally:
                process.kill()


COUNT = 0
PACE_MS = 0.0

if __name__ == "__main__":
    COUNT = int(sys.argv[1])
    PACE_MS = float(sys.argv[3])
    serve(sys.argv[2])
