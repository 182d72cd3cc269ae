"""A small TTS client that uses another WebSocket library than the package."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from websockets.sync.client import ClientConnection, connect

from inworld_sync.emulator import Emulator

__all__ = ["TTS_PATH", "TtsClient", "open_tts"]

TTS_PATH = "/tts/v1/voice:streamBidirectional"
_TIMEOUT = 30.0


class TtsClient:
    """Sends requests and reads messages in order. Every wait has a deadline."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    def send(self, **request: Any) -> None:
        """Send one request."""
        self.connection.send(json.dumps(request))

    def create(self, context_id: str = "c1", **fields: Any) -> None:
        """Create a context with PCM at 24 kHz. *fields* adds or replaces fields of the request."""
        config = {
            "voiceId": "Ashley",
            "modelId": "inworld-tts-2",
            "audioConfig": {"audioEncoding": "PCM", "sampleRateHertz": 24000},
            **fields,
        }
        self.send(create=config, contextId=context_id)

    def text(self, text: str, context_id: str = "c1") -> None:
        """Send text."""
        self.send(send_text={"text": text}, contextId=context_id)

    def flush(self, context_id: str = "c1") -> None:
        """Flush a context."""
        self.send(flush_context={}, contextId=context_id)

    def close(self, context_id: str = "c1") -> None:
        """Close a context."""
        self.send(close_context={}, contextId=context_id)

    def receive(self) -> dict[str, Any]:
        """Return the next message."""
        message = self.connection.recv(timeout=_TIMEOUT)
        assert isinstance(message, str)
        value = json.loads(message)
        assert isinstance(value, dict)
        return value

    def result(self) -> dict[str, Any]:
        """Return the result of the next message."""
        message = self.receive()
        assert "result" in message, message
        result = message["result"]
        assert isinstance(result, dict)
        return result

    def until(self, kind: str, context_id: str = "c1") -> list[dict[str, Any]]:
        """Return the results up to the first result of *kind* for a context."""
        results = []
        while True:
            results.append(self.result())
            if kind in results[-1] and results[-1]["contextId"] == context_id:
                return results

    def is_silent(self, done: Callable[[], None]) -> bool:
        """
        Call *done*, which requests an answer for context "probe" (see :meth:`ask`). Return whether
        this answer is the next message. If so, the earlier requests have no answer.
        """
        done()
        return self.result()["contextId"] == "probe"

    def ask(self) -> None:
        """
        Send a request for a context "probe" that does not exist. The answer is an error.

        The error arrives after the answers to all earlier requests.
        """
        self.close("probe")


def audio_of(results: list[dict[str, Any]], context_id: str = "c1") -> bytes:
    """Return all audio of a context."""
    return b"".join(chunks_of(results, context_id))


def chunks_of(results: list[dict[str, Any]], context_id: str = "c1") -> list[bytes]:
    """Return the audio of a context, one entry for each message."""
    return [
        base64.b64decode(result["audioChunk"]["audioContent"])
        for result in results
        if "audioContent" in result.get("audioChunk", {}) and result["contextId"] == context_id
    ]


def kinds_of(results: list[dict[str, Any]], context_id: str = "c1") -> list[str]:
    """Return the kinds of a context's results in order. Successive audio results are one entry."""
    kinds: list[str] = []
    for result in results:
        if result["contextId"] != context_id:
            continue
        kind = next((name for name in result if name not in ("contextId", "status")), "status")
        if kind != "audioChunk" or not kinds or kinds[-1] != kind:
            kinds.append(kind)
    return kinds


@contextmanager
def open_tts(
    server: Emulator,
    *,
    headers: Mapping[str, str] | None = None,
    path: str = TTS_PATH,
    subprotocols: list[str] | None = None,
    ssl_context: ssl.SSLContext | None = None,
) -> Iterator[TtsClient]:
    """Connect with the key of the server, or with the given headers."""
    if headers is None:
        headers = {"Authorization": f"Basic {server.api_key}"}
    with connect(
        server.ws_url + path,
        additional_headers=dict(headers),
        subprotocols=subprotocols,  # type: ignore[arg-type]
        ssl=ssl_context or server.ssl_context,
        open_timeout=_TIMEOUT,
        close_timeout=5,
        max_queue=None,
    ) as connection:
        yield TtsClient(connection)
