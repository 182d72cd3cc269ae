"""
What a received message costs: a link beside websocket-client, plain and over TLS.

The figure is the client process's CPU per text message of 27 KB; the server is another process.
Every round times each client once, in a rotating order, and ratios are taken inside a round, so
that a busy machine disturbs both sides of one alike. Run ``python benchmarks/receive.py``.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import os
import socket
import ssl
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import trustme
import websocket

from inworld_sync.models.options import Options
from inworld_sync.transport.websocket import Link

# 20 KB of PCM in base64, with the JSON around it.
MESSAGE_BYTES = 27_400

# Of frames that are handed to the kernel at once.
_BATCH = 32


def serve(certificate: Path | None) -> None:
    """Send as many messages as each connection's path asks for, as fast as they are taken."""
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    frame = struct.pack("!BBH", 0x81, 126, MESSAGE_BYTES) + b"x" * MESSAGE_BYTES
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            sock, _ = listener.accept()
            try:
                _serve_one(context.wrap_socket(sock, server_side=True) if context else sock, frame)
            except OSError:
                pass  # a client that has enough hangs up
            finally:
                sock.close()


def _serve_one(sock: socket.socket, frame: bytes) -> None:
    with sock:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += sock.recv(4096)
        count = int(head.split(b" ")[1].strip(b"/"))
        key = head.lower().partition(b"sec-websocket-key: ")[0]
        key = head[len(key) + len(b"sec-websocket-key: ") :].split(b"\r\n")[0]
        digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        sock.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
        )
        for _ in range(count // _BATCH):
            sock.sendall(frame * _BATCH)
        sock.recv(4096)


def by_link(url: str, count: int, context: ssl.SSLContext) -> float:
    """Receive by a link; give the CPU seconds."""
    options = Options(ssl_context=context, proxy=False)
    link = Link.open(f"{url}/{count}", headers={}, options=options, name="bench")
    started = time.process_time()
    for _ in range(count):
        link.receive()
    took = time.process_time() - started
    link.release()
    return took


def by_library(url: str, count: int, context: ssl.SSLContext, *, skip: bool) -> float:
    """Receive by websocket-client; give the CPU seconds."""
    sock = websocket.create_connection(
        f"{url}/{count}", sslopt={"context": context}, skip_utf8_validation=skip
    )
    started = time.process_time()
    for _ in range(count):
        sock.recv()
    took = time.process_time() - started
    sock.shutdown()
    return took


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--messages", type=int, default=3200)
    parser.add_argument("--serve", nargs="?", const="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve is not None:
        serve(Path(arguments.serve) if arguments.serve else None)
    else:
        measure(arguments.rounds, arguments.messages)


def measure(rounds: int, messages: int) -> None:
    """Compare the clients, plain and over TLS."""
    authority = trustme.CA()
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with tempfile.TemporaryDirectory() as folder:
        certificate = Path(folder) / "server.pem"
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(certificate)
        for scheme, argument in (("ws", ""), ("wss", str(certificate))):
            command = [sys.executable, __file__, "--serve", argument]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
                assert server.stdout is not None
                url = f"{scheme}://localhost:{int(server.stdout.readline())}"
                try:
                    compare(scheme, url, context, rounds, messages)
                finally:
                    server.kill()


def compare(scheme: str, url: str, context: ssl.SSLContext, rounds: int, messages: int) -> None:
    """Time every client in each round and print medians."""
    few = max(_BATCH, messages // 50 // _BATCH * _BATCH)
    clients: dict[str, tuple[Callable[[str, int, ssl.SSLContext], float], int]] = {
        "websocket-client as is": (lambda *args: by_library(*args, skip=False), few),
        "websocket-client, skip_utf8_validation": (
            lambda *args: by_library(*args, skip=True),
            messages,
        ),
        "inworld_sync link": (by_link, messages),
    }
    costs: dict[str, list[float]] = {name: [] for name in clients}
    for index in range(rounds):
        names = list(clients)
        for name in names[index % len(names) :] + names[: index % len(names)]:
            client, count = clients[name]
            costs[name].append(client(url, count, context) / count * 1e6)
    ours = costs["inworld_sync link"]
    machine = f"CPython {sys.version.split()[0]}, {os.cpu_count()} CPUs"
    print(f"{scheme}, {MESSAGE_BYTES} B messages, {machine}")
    for name, values in costs.items():
        ratio = statistics.median(own / other for own, other in zip(ours, values, strict=True))
        print(f"  {name:40} {statistics.median(values):9.1f} us   link / this {ratio:.4f}")


if __name__ == "__main__":
    main()
