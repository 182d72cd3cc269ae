"""Waiting for a socket in a way that another thread can end at once."""

from __future__ import annotations

import math
import select
import socket
from collections.abc import Callable
from typing import Any

__all__ = ["SelfPipe", "Waiter", "WokenUp"]


# The systems' calls take no more than about 24 days; nothing here waits as long.
_LONGEST_SECONDS = 2_000_000.0


class WokenUp(Exception):
    """A wait was ended by :meth:`SelfPipe.set`; caught inside this folder, users never see it."""


class SelfPipe:
    """
    A latch that ends every wait, present and future, of the :class:`Waiter` objects made on it.

    It is a pair of connected sockets: one byte is written once and never read, so that each
    waiting thread sees it.
    A pair of sockets, not a pipe, because ``select`` on Windows takes sockets alone.

    Attributes:
        is_set: Whether the waits have been ended.

    Thread safety:
        :meth:`set` may be called from any thread, once; :meth:`close` when no thread waits or
        sets any more.
    """

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self.is_set = False

    def fileno(self) -> int:
        """Give the descriptor that becomes readable once the latch is set."""
        return self._reader.fileno()

    def set(self) -> None:
        """End all waits."""
        self.is_set = True
        self._writer.send(b"\0")

    def close(self) -> None:
        """Free the two sockets."""
        self._reader.close()
        self._writer.close()


class Waiter:
    """
    Waits for one socket in one direction, or for the self-pipe.

    Args:
        sock: A non-blocking socket.
        self_pipe: What ends the wait.
        write: Wait until it takes data instead of until it has some.

    Thread safety:
        One thread at a time: a poll object refuses to be polled twice at once.
    """

    def __init__(self, sock: socket.socket, self_pipe: SelfPipe, *, write: bool) -> None:
        self._self_pipe = self_pipe
        self._poll = (_poll if hasattr(select, "poll") else _select)(sock, self_pipe, write)

    def wait(self, timeout: float | None) -> None:
        """
        Return once the socket is ready or has failed.

        Args:
            timeout: Seconds; None to wait without limit.

        Raises:
            WokenUp: The self-pipe was set, before or during the wait.
            TimeoutError: *timeout* seconds passed.
        """
        # Rounded up: a wait of 0.4 ms that polls 0 ms would spin until its deadline.
        ready = self._poll(
            None if timeout is None else math.ceil(min(timeout, _LONGEST_SECONDS) * 1000)
        )
        if self._self_pipe.is_set:
            raise WokenUp
        if not ready:
            raise TimeoutError


# Both give what tells, by being true, that something is ready within so many milliseconds. The
# poll object's own method is given, since a thread that was woken finds its caches cold, and each
# function of Python's in its way costs it more than the system call.


def _poll(sock: socket.socket, self_pipe: SelfPipe, write: bool) -> Callable[[int | None], object]:
    poller = select.poll()
    poller.register(sock, select.POLLOUT if write else select.POLLIN)
    poller.register(self_pipe, select.POLLIN)
    return poller.poll


def _select(
    sock: socket.socket, self_pipe: SelfPipe, write: bool
) -> Callable[[int | None], object]:
    readers: list[Any] = [self_pipe] if write else [self_pipe, sock]
    writers: list[Any] = [sock] if write else []
    # Windows reports a failed connect as an exceptional condition alone.
    return lambda timeout_ms: any(
        select.select(readers, writers, [sock], None if timeout_ms is None else timeout_ms / 1000)
    )
