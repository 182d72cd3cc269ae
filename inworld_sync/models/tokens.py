"""Defines the tokens that the service makes for an API key."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, TypeAlias

import attrs

__all__ = ["AccessToken", "TokenKind"]

TokenKind: TypeAlias = Literal["jwt", "session", "single_use"]


@attrs.frozen
class AccessToken:
    """
    A token for a browser, a device or another process that must not have the API key.

    Attributes:
        token: The token; pass it as ``Inworld(token=...)``. ``repr`` does not show the token.
        expires_at: The UTC time at which the token expires, by the clock of the service; None if
            the service sent no expiry.
        lifetime: The seconds between the creation and the expiry of the token. The service's clock
            gives both times, so the clock of this machine does not matter. None if the service sent
            no expiry.
        session_id: The id that the service gave to the token; empty if the service sent none.
    """

    token: str = attrs.field(repr=False)
    expires_at: datetime | None = None
    lifetime: float | None = None
    session_id: str = ""

    def __str__(self) -> str:
        return self.token
