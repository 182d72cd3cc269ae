"""Clients of HTTP servers with scripted responses, and a recording to upload."""

from __future__ import annotations

import io
import json
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import attrs
import numpy as np

from inworld_sync import Inworld

from support.peers import Peer, serve
from support.scripted import KEY


def wav_file(seconds: float = 4.0, rate_hz: int = 16000, channels: int = 1) -> bytes:
    """Return a WAV file with a tone."""
    frames = np.arange(int(seconds * rate_hz))
    tone = (8000 * np.sin(frames * 2 * np.pi * 220 / rate_hz)).astype("<i2")
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(2)
        out.setframerate(rate_hz)
        out.writeframes(np.repeat(tone, channels).tobytes())
    return file.getvalue()


@attrs.define
class Sent:
    """One request that a scripted server received."""

    method: str
    target: str
    body: dict[str, Any]


Answer = tuple[str, object]


@contextmanager
def answering(*answers: Answer) -> Iterator[tuple[Inworld, list[Sent]]]:
    """
    Run a server that sends these responses. Yield a client of the server, and the requests so far.

    A response is a status and a JSON value. The last response is repeated.
    """
    sent: list[Sent] = []

    def script(peer: Peer) -> None:
        while True:
            head, body = peer.read_request()
            method, target, _ = head.decode("latin-1").split(" ", 2)
            sent.append(Sent(method, target, json.loads(body or b"{}")))
            status, value = answers[min(len(sent), len(answers)) - 1]
            answer = json.dumps(value).encode()
            peer.send(
                b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                % (status.encode(), len(answer), answer)
            )

    with client_of(script) as client:
        yield client, sent


@contextmanager
def client_of(script: Callable[[Peer], None], **options: Any) -> Iterator[Inworld]:
    """Yield a client of a server that runs a script for each connection."""
    with (
        serve(script) as server,
        Inworld(api_key=KEY, base_url=f"http://127.0.0.1:{server.port}", **options) as client,
    ):
        yield client
