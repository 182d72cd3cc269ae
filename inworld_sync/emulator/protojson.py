"""
The dialect that TTS and STT share: JSON of gRPC messages, credentials judged at the first message.

Requests may write their keys in camelCase or snake_case, even mixed; answers are camelCase.  A
message that cannot be read gets an error and the connection survives; a refused credential gets
one and the connection is closed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from inworld_sync.emulator.credentials import Credentials, Verdict
from inworld_sync.emulator.peer import WebSocketPeer

__all__ = [
    "ALREADY_EXISTS",
    "INTERNAL",
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "RESOURCE_EXHAUSTED",
    "UNAVAILABLE",
    "Malformed",
    "Refused",
    "camel_keys",
    "fatal",
    "malformed",
    "requests",
    "status",
]

INVALID_ARGUMENT = 3
NOT_FOUND = 5
ALREADY_EXISTS = 6
RESOURCE_EXHAUSTED = 8
INTERNAL = 13
UNAVAILABLE = 14

_UNDERSCORE = re.compile(r"_+([a-z0-9])")


class Malformed(Exception):
    """A message whose fields have the wrong types."""


class Refused(Exception):
    """
    A request that was understood and is refused.

    Attributes:
        code: The gRPC status.
        message: The service's words.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def status(code: int = 0, message: str = "") -> dict[str, object]:
    """Make a gRPC status; without arguments the one of success."""
    return {"code": code, "message": message, "details": []}


def malformed() -> dict[str, object]:
    """Make the answer to what is not a request; the connection survives it."""
    return {
        "error": {
            "code": INVALID_ARGUMENT,
            "message": "invalid WebSocket request for the selected response protocol",
            "status": "INVALID_ARGUMENT",
        }
    }


def fatal(peer: WebSocketPeer, code: int, message: str) -> None:
    """Send a top-level error and close."""
    peer.send({"error": status(code, message)}, wait=False)
    peer.close(1000)


def camel_keys(value: object) -> object:
    """Turn the keys of all objects in a JSON value into camelCase."""
    if isinstance(value, dict):
        return {_camel(key): camel_keys(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [camel_keys(inner) for inner in value]
    return value


def requests(peer: WebSocketPeer, credentials: Credentials) -> Iterator[Mapping[str, object]]:
    """
    Yield the requests of one connection, their keys in camelCase, until it is over.

    Credentials are judged at the first message, not at the upgrade.
    """
    judged = False
    for message in peer.messages():
        if not judged:
            verdict = credentials.judge(peer.credential, bearer_key=False)
            if verdict is not Verdict.GOOD:
                error = Credentials.websocket_error(verdict, peer.credential)
                peer.send({"error": error}, wait=False)
                return
            judged = True
        request = _parsed(message)
        if request is None:
            peer.send(malformed(), wait=False)
        else:
            yield request


def _parsed(message: str | bytes) -> dict[str, object] | None:
    if isinstance(message, bytes):
        return None
    try:
        value = camel_keys(json.loads(message))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _camel(key: str) -> str:
    return _UNDERSCORE.sub(lambda match: match[1].upper(), key)
