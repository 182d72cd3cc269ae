"""
Test clients with services that are silent or slow, or that never complete a result.

Run the program with ``python -m benchmarks.odd_services``.

A scripted service on this machine has the paths that the five clients use, and one port for each
situation. Each call runs in its own process, and the clients have their default settings. A process
that has not ended after ``--limit`` seconds is killed. ``--write`` writes the results to
``docs/odd-services.md``.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import datetime
import hashlib
import importlib.metadata
import json
import os
import platform
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs

from benchmarks.environment import ROOT, python_with

PEERS = ROOT / "benchmarks" / "odd_peers.txt"
PAGE = ROOT / "docs" / "odd-services.md"
PROGRAM = ROOT / "benchmarks" / "odd_clients.py"

# Each situation has the calls that are made, and a description of what the service does.
SITUATIONS = {
    "silent": (
        ("speech", "transcription", "conversation"),
        "accepts the WebSocket, answers pings, and sends no message",
    ),
    "muted recognizer": (
        ("transcription",),
        "confirms the session where the protocol has a message for it, and sends no result",
    ),
    "never done": (
        ("speech", "transcription", "conversation"),
        "sends the first part of the result, and no end",
    ),
    "slow headers": (
        ("list",),
        "sends one byte of the HTTP headers every 0.2 s; the timeout of the call is 2 s",
    ),
}
CALLS = {
    "speech": "synthesize a sentence",
    "transcription": "stream 2 s of audio, then end the stream",
    "conversation": "request a response",
    "list": "list the voices or models",
}
# The calls that each client supports.
CLIENT_CALLS = {
    "inworld_sync": ("speech", "transcription", "conversation", "list"),
    "openai": ("conversation", "list"),
    "elevenlabs": ("speech", "list"),
    "deepgram-sdk": ("transcription", "list"),
    "assemblyai": ("transcription", "list"),
}
AUDIO = base64.b64encode(b"\1\0" * 2400).decode()


class Connection:
    """One connection, on the side of the service."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = b""
        self.path = ""

    def read_head(self) -> dict[str, str]:
        """Read the head of a request. Return its headers."""
        while b"\r\n\r\n" not in self._buffer:
            self._receive()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        self.path = first.split()[1].partition("?")[0]
        return {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}

    def send_slowly(self) -> None:
        """Send a byte of the response every 0.2 s."""
        head = b"HTTP/1.1 200 OK\r\nX-Filler: " + b"x" * 100_000
        for byte in head:
            self._sock.sendall(bytes([byte]))
            time.sleep(0.2)

    def upgrade(self, key: str) -> None:
        """Accept the WebSocket."""
        digest = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        accept = base64.b64encode(digest).decode()
        self._sock.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            + f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
        )

    def messages(self) -> Iterator[dict[str, Any]]:
        """Yield the JSON messages of the client. Answer pings and CLOSE. Ignore binary messages."""
        while True:
            opcode, payload = self._frame()
            if opcode == 0x9:
                self._send_frame(0x8A, payload)
            elif opcode == 0x8:
                self._send_frame(0x88, payload)
                return
            elif opcode == 0x1:
                yield json.loads(payload)

    def send(self, message: object) -> None:
        """Send a message."""
        self._send_frame(0x81, json.dumps(message).encode())

    def _send_frame(self, first: int, payload: bytes) -> None:
        size = len(payload)
        head = bytes([first, size]) if size < 126 else struct.pack("!BBH", first, 126, size)
        self._sock.sendall(head + payload)

    def _frame(self) -> tuple[int, bytes]:
        first, size = self._exactly(2)
        size &= 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", self._exactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self._exactly(8))
        mask = self._exactly(4)
        payload = self._exactly(size)
        return first & 0x0F, bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._receive()
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def _receive(self) -> None:
        piece = self._sock.recv(65536)
        if not piece:
            raise EOFError
        self._buffer += piece


def silent(connection: Connection) -> None:
    """Read all messages, but send none."""
    for _ in connection.messages():
        pass


def muted(connection: Connection) -> None:
    """Confirm the session and send no result."""
    if connection.path == "/v3/ws":
        connection.send({"type": "Begin", "id": "s", "expires_at": 4_000_000_000})
    silent(connection)


def never_done(connection: Connection) -> None:
    """Send only the first part of the result. The path names the service."""
    path = connection.path
    if "/tts/" in path:
        never_done_speech(connection)
    elif "/stt/" in path:
        answer_first(connection, "audioChunk", {"result": {"transcription": FINAL}})
    elif "realtime" in path:
        never_done_response(connection)
    elif path == "/v3/ws":
        connection.send({"type": "Begin", "id": "s", "expires_at": 4_000_000_000})
        connection.send(TURN)
        silent(connection)
    elif path == "/v1/listen":
        connection.send(RESULTS)
        silent(connection)
    else:
        connection.send({"audio": AUDIO, "isFinal": None, "alignment": None})
        silent(connection)


FINAL = {"transcript": "hello", "isFinal": True, "wordTimestamps": []}
TURN = {
    "type": "Turn",
    "turn_order": 0,
    "turn_is_formatted": False,
    "end_of_turn": True,
    "transcript": "hello",
    "end_of_turn_confidence": 1.0,
    "words": [],
}
RESULTS = {
    "type": "Results",
    "channel_index": [0, 1],
    "duration": 1.0,
    "start": 0.0,
    "is_final": True,
    "speech_final": True,
    "channel": {"alternatives": [{"transcript": "hello", "confidence": 1.0, "words": []}]},
}


def answer_first(connection: Connection, name: str, answer: object) -> None:
    """Answer the first message that has the field *name*. Send nothing else."""
    is_answered = False
    for message in connection.messages():
        if name in message and not is_answered:
            is_answered = True
            connection.send(answer)


def never_done_speech(connection: Connection) -> None:
    """Send one piece of audio for each text, but never the end of the speech."""
    for message in connection.messages():
        context = message.get("contextId")
        if "create" in message:
            connection.send({"result": {"contextId": context, "contextCreated": {}}})
        elif "send_text" in message:
            audio = {"audioContent": AUDIO}
            connection.send({"result": {"contextId": context, "audioChunk": audio}})


def never_done_response(connection: Connection) -> None:
    """Open the session and begin each response, but never end a response."""
    session = {"type": "realtime", "object": "realtime.session", "id": "s", "model": "m"}
    connection.send({"type": "session.created", "event_id": "e1", "session": session})
    for message in connection.messages():
        if message["type"] == "session.update":
            updated = {**session, **message["session"]}
            connection.send({"type": "session.updated", "event_id": "e2", "session": updated})
        elif message["type"] == "response.create":
            response = {
                "object": "realtime.response",
                "id": "r",
                "status": "in_progress",
                "output": [],
                "metadata": message.get("response", {}).get("metadata"),
            }
            connection.send({"type": "response.created", "event_id": "e3", "response": response})


SCRIPTS: dict[str, Callable[[Connection], None]] = {
    "silent": silent,
    "muted recognizer": muted,
    "never done": never_done,
}


@contextlib.contextmanager
def serving(situation: str) -> Iterator[int]:
    """Serve one situation during the block, and yield the port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)

    def serve(sock: socket.socket) -> None:
        connection = Connection(sock)
        with sock, contextlib.suppress(OSError, EOFError):
            headers = connection.read_head()
            if "sec-websocket-key" in headers:
                connection.upgrade(headers["sec-websocket-key"])
                SCRIPTS[situation](connection)
            else:
                connection.send_slowly()

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                threading.Thread(target=serve, args=(sock,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    with listener:
        yield int(listener.getsockname()[1])
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


@attrs.frozen(kw_only=True)
class Ending:
    """How one call ended. *seconds* is None if the call was killed at the limit."""

    client: str
    situation: str
    call: str
    seconds: float | None
    kind: str = ""
    text: str = ""


# Imports are slow if all processes start at once, so only two processes start at a time.
_starting = threading.Semaphore(2)


def run(python: Path, client: str, situation: str, call: str, port: int, limit: float) -> Ending:
    """Make one call in a process of its own."""
    command = [str(python), str(PROGRAM), client, call, str(port)]
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    ending = Ending(client=client, situation=situation, call=call, seconds=None)
    with _starting:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        assert process.stdout is not None
        is_ready = process.stdout.readline().strip() == "ready"
    try:
        out, errors = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return ending
    if not is_ready or process.returncode:
        raise RuntimeError(f"{client}, {call}: {errors[-2000:]}")
    return attrs.evolve(ending, **json.loads(out.splitlines()[-1]))


def clients() -> dict[str, tuple[str, Path]]:
    """Install the clients that are missing. Return the version and interpreter of each client."""
    found = {"inworld_sync": (importlib.metadata.version("inworld-sync"), Path(sys.executable))}
    for line in PEERS.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, _, version = line.partition("==")
            name = name.partition("[")[0]
            found[name] = (version, python_with(f"odd-{name}", f"{line}\n"))
    return found


def measure(limit: float) -> list[Ending]:
    """Make all calls of all clients in all situations at once, since the calls mostly wait."""
    with contextlib.ExitStack() as servers, ThreadPoolExecutor(64) as pool:
        ports = {situation: servers.enter_context(serving(situation)) for situation in SITUATIONS}
        tasks = [
            pool.submit(run, python, client, situation, call, ports[situation], limit)
            for client, (_, python) in clients().items()
            for situation, (calls, _) in SITUATIONS.items()
            for call in calls
            if call in CLIENT_CALLS[client]
        ]
        return [task.result() for task in tasks]


def page(endings: list[Ending], limit: float) -> str:
    """Return the page as Markdown."""
    versions = ", ".join(f"{name} {version}" for name, (version, _) in clients().items())
    lines = [
        "# Odd services",
        (
            "This page shows how clients end if a service is silent, never done or slow. "
            "`python -m benchmarks.odd_services --write` makes it."
        ),
        (
            "One scripted service on the same machine plays each situation for all clients. "
            "A client is used as its documentation shows, with its defaults."
        ),
        "",
        (
            f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}, "
            f"Python {platform.python_version()}, {versions}"
        ),
        "",
    ]
    for situation, (calls, what) in SITUATIONS.items():
        lines += [f"## {situation.capitalize()}", f"The service {what}.", ""]
        lines += ["| call | client | result |", "|---|---|---|"]
        for call in calls:
            lines += [
                f"| {CALLS[call]} | {ending.client} | {shown(ending, limit)} |"
                for ending in endings
                if (ending.situation, ending.call) == (situation, call)
            ]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def shown(ending: Ending, limit: float) -> str:
    """Return a description of how a call ended."""
    if ending.seconds is None:
        return f"still waiting after {limit:g} s"
    text = " ".join(ending.text.split()).replace("|", "\\|").replace("<", "&lt;")
    text = text if len(text) < 160 else text[:160] + " ..."
    return f"{ending.kind} after {ending.seconds:.0f} s: {text}"


def main() -> int:
    """Make the calls and print the page. With ``--write``, also write the page to its file."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.odd_services",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--limit", type=float, default=90.0, help="seconds before a call is killed")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    chosen = parser.parse_args()
    text = page(measure(chosen.limit), chosen.limit)
    print(text)
    if chosen.write:
        PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
