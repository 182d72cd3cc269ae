"""
Defines the rules that TTS and STT share: the JSON of gRPC, and the check of the credential.

Requests may write their keys in camelCase, in snake_case, or both; responses use camelCase. A
message that cannot be read gets an error, and the connection continues. A bad credential is refused
at the first message: the client gets an error, and the connection is closed.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

import attrs

from inworld_sync.emulator.credentials import Credentials, Verdict
from inworld_sync.emulator.http import Request, Response
from inworld_sync.emulator.json_text import read_json
from inworld_sync.emulator.peer import WebSocketPeer
from inworld_sync.emulator.status import (
    ABORTED,
    ALREADY_EXISTS,
    INVALID_ARGUMENT,
    NOT_FOUND,
    PERMISSION_DENIED,
    RESOURCE_EXHAUSTED,
    UNAUTHENTICATED,
    UNAVAILABLE,
    UNIMPLEMENTED,
    Refused,
    status,
)

__all__ = ["Command", "camel_keys", "commands", "fatal", "malformed", "read_body", "refusal"]

_UNDERSCORE = re.compile(r"_+([a-z0-9])")
_HTTP_STATUS = {
    INVALID_ARGUMENT: 400,
    NOT_FOUND: 404,
    ABORTED: 409,
    ALREADY_EXISTS: 409,
    PERMISSION_DENIED: 403,
    RESOURCE_EXHAUSTED: 413,
    UNIMPLEMENTED: 501,
    UNAVAILABLE: 503,
    UNAUTHENTICATED: 401,
}


@attrs.frozen
class Command:
    """
    One request of a WebSocket.

    Attributes:
        verb: The name of the field that holds the command.
        body: The value of that field, with keys in camelCase.
        fields: The whole request.
    """

    verb: str
    body: Mapping[str, object]
    fields: Mapping[str, object]


def malformed(peer: WebSocketPeer) -> None:
    """Send the error for a message that is not a request. The connection continues."""
    error = {
        "code": INVALID_ARGUMENT,
        "message": "invalid WebSocket request for the selected response protocol",
        "status": "INVALID_ARGUMENT",
    }
    peer.send({"error": error}, wait=False)


def fatal(peer: WebSocketPeer, code: int, message: str) -> None:
    """Send a top-level error and close the connection."""
    peer.send({"error": status(code, message)}, wait=False)
    peer.close(1000)


def commands(
    peer: WebSocketPeer,
    verbs: Sequence[str],
    timeout: Callable[[], float | None] = lambda: None,
) -> Iterator[Command]:
    """
    Yield the commands of one connection until the connection ends.

    A bad credential is refused at the first message, not at the upgrade. A malformed message gets
    an error here; an unknown request is ignored.

    Args:
        peer: The client.
        verbs: The names of the commands.
        timeout: A function that is called before each message. It returns the seconds to wait for
            the message, or None for no limit.

    Raises:
        TimeoutError: There was no message within *timeout*.
    """
    message = _first_message(peer, timeout)
    while message is not None:
        fields = _parsed(message) if isinstance(message, str) else None
        verb = next((name for name in verbs if name in (fields or ())), None)
        if fields is None:
            malformed(peer)
        elif verb is not None:
            body = fields[verb]
            if isinstance(body, dict):
                yield Command(verb, body, fields)
            else:
                malformed(peer)
        message = peer.receive(timeout())


def _first_message(peer: WebSocketPeer, timeout: Callable[[], float | None]) -> str | bytes | None:
    """Return the first message, or None after the error for a bad credential."""
    if peer.verdict is Verdict.GOOD:
        return peer.receive(timeout())
    # The service sends the error only after a message. The emulator also sends this error to end an
    # idle connection.
    with contextlib.suppress(TimeoutError):
        if peer.receive(peer.settings.credential_timeout) is None:
            return None
    peer.send({"error": Credentials.websocket_error(peer.verdict, peer.credential)}, wait=False)
    return None


def read_body(request: Request) -> object:
    """Return the JSON body of an HTTP request, with keys in camelCase, or raise Refused."""
    try:
        return camel_keys(read_json(request.body))
    except ValueError:
        raise Refused(INVALID_ARGUMENT, "the body is not JSON") from None


def refusal(error: Refused, *, field: str | None = None) -> Response:
    """Make the HTTP response to a refused request. If *field* is set, this field has the status."""
    body = status(error.code, error.message)
    http_status = error.http_status or _HTTP_STATUS[error.code]
    return Response.of_json({field: body} if field else body, status=http_status)


def _parsed(text: str) -> dict[str, object] | None:
    try:
        value = camel_keys(read_json(text))
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def camel_keys(value: object) -> object:
    """Turn the keys of all objects in a JSON value into camelCase."""
    if isinstance(value, dict):
        return {_camel(key): camel_keys(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [camel_keys(inner) for inner in value]
    return value


def _camel(key: str) -> str:
    return _UNDERSCORE.sub(lambda match: match[1].upper(), key)
