"""Has the tokens that the service makes for an API key."""

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
        token: The token; pass it as ``Inworld(token=...)``. It is not shown by ``repr``.
        expires_at: When the token expires, in UTC by the clock of the service; None if not sent.
        lifetime: The seconds from the token's creation to its expiry, both by the clock of the
            service, so the clock of this machine does not matter; None if not sent.
        session_id: The id that the service gave to the token; empty if not sent.
    """

    token: str = attrs.field(repr=False)
    expires_at: datetime | None = None
    lifetime: float | None = None
    session_id: str = ""

    def __str__(self) -> str:
        return self.token
