"""Defines the gRPC status codes, the JSON of a status, and the two exceptions for bad requests."""

from __future__ import annotations

__all__ = [
    "ABORTED",
    "ALREADY_EXISTS",
    "INTERNAL",
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "UNAUTHENTICATED",
    "UNAVAILABLE",
    "UNIMPLEMENTED",
    "Malformed",
    "Refused",
    "status",
]

INVALID_ARGUMENT = 3
NOT_FOUND = 5
ALREADY_EXISTS = 6
PERMISSION_DENIED = 7
RESOURCE_EXHAUSTED = 8
ABORTED = 10
UNIMPLEMENTED = 12
INTERNAL = 13
UNAVAILABLE = 14
UNAUTHENTICATED = 16


class Malformed(Exception):
    """A message whose fields have the wrong types."""


class Refused(Exception):
    """
    A request that can be read but is refused.

    Attributes:
        code: The gRPC status code.
        message: The message that the service uses.
        http_status: The HTTP status of the response; None for the usual status of *code*.
    """

    def __init__(self, code: int, message: str, *, http_status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.http_status = http_status


def status(code: int = 0, message: str = "") -> dict[str, object]:
    """Make the JSON of a gRPC status. Without arguments, the status means success."""
    return {"code": code, "message": message, "details": []}
