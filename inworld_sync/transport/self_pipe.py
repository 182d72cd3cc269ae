"""Waits until a socket is ready. Another thread can end the wait at once."""

from __future__ import annotations

import math
import select
import socket
from collections.abc import Callable
from typing import Any

from inworld_sync.transport.deadline import LONGEST_TIMEOUT_SECONDS

__all__ = ["SelfPipe", "Waiter", "WokenUp", "whole_milliseconds"]


class WokenUp(Exception):
    """:meth:`SelfPipe.set` ended a wait. This folder catches the exception; users never see it."""


class SelfPipe:
    """
    Ends the present and future waits of all :class:`Waiter` objects that use this object.

    The self-pipe is a pair of connected sockets. A byte is written and never read, so each waiting
    thread sees the byte. A real pipe is not possible: ``select`` on Windows accepts sockets only.

    Attributes:
        is_set: Whether :meth:`set` was called.

    Thread safety:
        :meth:`set` may be called from any thread, also twice. :meth:`close` may be called when no
        thread waits and no thread can call :meth:`set`.
    """

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self.is_set = False

    def fileno(self) -> int:
        """Return the file descriptor that becomes readable after :meth:`set`."""
        return self._reader.fileno()

    def set(self) -> None:
        """End all waits."""
        self.is_set = True
        self._writer.send(b"\0")

    def close(self) -> None:
        """Close the two sockets."""
        self._reader.close()
        self._writer.close()


class Waiter:
    """
    Waits until one socket is ready in one direction, or the self-pipe is set.

    Args:
        sock: A non-blocking socket.
        self_pipe: Setting the self-pipe ends the wait.
        write: With True, the waiter waits until the socket accepts data; with False, until the
            socket has data to read.

    Attributes:
        poll: Waits for at most the given number of milliseconds, and returns a true value if a
            socket is ready or the self-pipe is set.

    Thread safety:
        One thread at a time may use a waiter, because two threads cannot use a poll object at once.
    """

    def __init__(self, sock: socket.socket, self_pipe: SelfPipe, *, write: bool) -> None:
        self._self_pipe = self_pipe
        self.poll = (_poll if hasattr(select, "poll") else _select)(sock, self_pipe, write)

    def wait(self, timeout: float | None) -> None:
        """
        Return once the socket is ready or has failed.

        Args:
            timeout: Seconds; None means no limit.

        Raises:
            WokenUp: The self-pipe was set, before or during the wait.
            TimeoutError: *timeout* seconds passed.
        """
        ready = self.poll(whole_milliseconds(timeout))
        if self._self_pipe.is_set:
            raise WokenUp
        if not ready:
            raise TimeoutError


def whole_milliseconds(timeout: float | None) -> int | None:
    """
    Return *timeout*, in seconds, as an argument of :attr:`Waiter.poll`.

    The time is rounded up. With rounding down, a wait of 0.4 ms would return at once, and the
    caller would repeat the wait in a busy loop.
    """
    return None if timeout is None else math.ceil(min(timeout, LONGEST_TIMEOUT_SECONDS) * 1000)


# `_poll` and `_select` return a function. This function waits for at most the given number of
# milliseconds, and returns a true value if a socket is ready. `_poll` returns the method of the
# poll object itself: after a wait, an additional Python function costs more than the system call.


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
    # Windows reports a failed connect only as an exceptional condition.
    return lambda timeout_ms: any(
        select.select(readers, writers, [sock], None if timeout_ms is None else timeout_ms / 1000)
    )
