"""Adds advice to an error after which it is unknown whether the service has made a change."""

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
    Add *advice* to an error of the ``with`` block, if the service may have made the change.

    The service may have made the change after a lost connection, a timeout, an answer that cannot
    be read or an HTTP status of 500 or more. Other errors mean that nothing was changed. If
    *advice* is empty, nothing is added.
    """
    try:
        yield
    except (ConnectionLost, DeadlineExceeded, RemoteProtocolError, ServiceError) as error:
        is_certain = isinstance(error, ServiceError) and (error.status or 0) < 500
        if is_certain or not advice:
            raise
        raise extended(error, suffix=f"; {advice}") from error
