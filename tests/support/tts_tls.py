"""
A TTS client over TLS that uses only one thread.

The blocking client of the library ``websockets`` reads and writes on two threads with one
SSLSocket. On some Python versions, a few of a thousand such connections fail.
"""

from __future__ import annotations

import json
import socket
import ssl
from typing import Any

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from inworld_sync.emulator import Emulator

from support.tts_client import TTS_PATH

__all__ = ["talk_over_tls"]

_TIMEOUT = 30.0


def talk_over_tls(
    server: Emulator,
    requests: list[dict[str, Any]],
    *,
    count: int,
    context: ssl.SSLContext | None = None,
) -> list[dict[str, Any]]:
    """Send requests and return the next *count* messages. Raise the error of the connection."""
    context = context or server.ssl_context
    assert context is not None
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=_TIMEOUT) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as sock,
    ):
        return _TlsConnection(sock, server).run(requests, count)


class _TlsConnection:
    def __init__(self, sock: ssl.SSLSocket, server: Emulator) -> None:
        self._socket = sock
        self._protocol = ClientProtocol(parse_uri(server.ws_url + TTS_PATH), max_size=None)
        self._messages: list[dict[str, Any]] = []
        request = self._protocol.connect()
        request.headers["Authorization"] = f"Basic {server.api_key}"
        self._protocol.send_request(request)

    def run(self, requests: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
        while self._protocol.state is State.CONNECTING:
            self._exchange()
        for request in requests:
            self._protocol.send_text(json.dumps(request).encode())
        while len(self._messages) < count:
            self._exchange()
        self._protocol.send_close(1000)
        while self._protocol.state is not State.CLOSED:
            self._exchange()
        return self._messages[:count]

    def _exchange(self) -> None:
        """Send the queued data, then wait for data. Raise an error if the connection has ended."""
        if self._protocol.handshake_exc is not None:
            raise self._protocol.handshake_exc
        if self._protocol.state is State.CLOSED:
            raise self._protocol.close_exc
        for data in self._protocol.data_to_send():
            self._socket.sendall(data)
        try:
            data = self._socket.recv(65536)
        except (ConnectionError, ssl.SSLError):
            data = b""
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        for event in self._protocol.events_received():
            if isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                self._messages.append(json.loads(event.data))
