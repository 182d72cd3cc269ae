"""Errors after which a change may or may not be made."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from inworld_sync.errors import (
    ConnectionLost,
    DeadlineExceeded,
    RemoteProtocolError,
    ServiceError,
    extended,
)

__all__ = ["explained"]


@contextlib.contextmanager
def explained(advice: str) -> Iterator[None]:
    """
    Add *advice* to an error of the block after which the service may have made the change.

    These are a lost connection, a timeout, an answer that cannot be read and an HTTP status from
    500. Other errors say that nothing was changed. Without *advice* nothing is added.
    """
    try:
        yield
    except (ConnectionLost, DeadlineExceeded, RemoteProtocolError, ServiceError) as error:
        is_certain = isinstance(error, ServiceError) and (error.status or 0) < 500
        if is_certain or not advice:
            raise
        raise extended(error, suffix=f"; {advice}") from error
