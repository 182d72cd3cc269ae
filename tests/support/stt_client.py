"""A small STT client that uses another WebSocket library than the package."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from websockets.sync.client import ClientConnection, connect

from inworld_sync.emulator import Emulator

__all__ = ["STT_PATH", "SttClient", "open_stt"]

STT_PATH = "/stt/v1/transcribe:streamBidirectional"
_TIMEOUT = 30.0
_CHUNK_BYTES = 3200


class SttClient:
    """Sends requests and reads messages in order. Every wait has a deadline."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    def send(self, **request: Any) -> None:
        """Send one request."""
        self.connection.send(json.dumps(request))

    def configure(self, **fields: Any) -> None:
        """Announce PCM at 16 kHz. *fields* adds or replaces fields of the request."""
        config = {
            "modelId": "inworld/inworld-stt-1",
            "audioEncoding": "LINEAR16",
            "sampleRateHertz": 16000,
            **fields,
        }
        self.send(transcribeConfig={name: value for name, value in config.items() if value})

    def audio(self, data: bytes, chunk_bytes: int = _CHUNK_BYTES) -> None:
        """Send audio in chunks."""
        for at in range(0, len(data), chunk_bytes):
            content = base64.b64encode(data[at : at + chunk_bytes]).decode()
            self.send(audioChunk={"content": content})

    def close_stream(self) -> None:
        """Send closeStream, which ends the audio."""
        self.send(closeStream={})

    def receive(self) -> dict[str, Any]:
        """Return the next message."""
        message = self.connection.recv(timeout=_TIMEOUT)
        value = json.loads(message)
        assert isinstance(value, dict)
        return value

    def result(self) -> dict[str, Any]:
        """Return the result of the next message, without its status."""
        message = self.receive()
        assert "result" in message, message
        assert {"code": 0, "message": "", "details": []} == message["result"].pop("status")
        result = message["result"]
        assert isinstance(result, dict)
        return result

    def rest(self) -> list[dict[str, Any]]:
        """Close the stream and return all results up to the usage."""
        self.close_stream()
        results = []
        while not results or "usage" not in results[-1]:
            results.append(self.result())
        return results


def finals_of(results: list[dict[str, Any]]) -> list[str]:
    """Return the texts of the final transcripts."""
    return [
        result["transcription"]["transcript"]
        for result in results
        if result.get("transcription", {}).get("isFinal")
    ]


@contextmanager
def open_stt(server: Emulator, *, headers: Mapping[str, str] | None = None) -> Iterator[SttClient]:
    """Connect with the key of the server, or with the given headers."""
    if headers is None:
        headers = {"Authorization": f"Basic {server.api_key}"}
    with connect(
        server.ws_url + STT_PATH,
        additional_headers=dict(headers),
        open_timeout=_TIMEOUT,
        close_timeout=5,
        max_queue=None,
    ) as connection:
        yield SttClient(connection)
