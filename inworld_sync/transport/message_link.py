"""Defines the protocol of a link, which a WebSocket and a WebRTC connection implement."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from inworld_sync.errors import RemoteProtocolError
from inworld_sync.transport.link_stats import LinkEnd, LinkStats

__all__ = ["MessageLink"]


class MessageLink(Protocol):
    """
    A connection that carries text messages, used by a reader thread and a writer thread.

    Only the reader calls :meth:`receive`, and only the writer calls :meth:`run_writer`. Any thread
    may call the other methods. When both threads have returned, :meth:`release` frees the
    connection. A forked child cannot use the links of its parent.

    Attributes:
        name: The name, unique in the process, for threads and traces.
        request_id: The service's id for the connection, or None.
        end: How the link ended; None while the link is open. The attribute is set once.
        on_refused: Called if the service refuses the credential after the connection has opened.
    """

    name: str
    request_id: str | None
    end: LinkEnd | None
    on_refused: Callable[[], None]

    def receive(self) -> memoryview | None:
        """
        Wait for the next message.

        Returns:
            The message, valid until the next call; None after the end, when :attr:`end` is set.
        """
        ...

    def refuse_text(self, error: RemoteProtocolError) -> bool:
        """
        End the link with *error*, unless the message of the last :meth:`receive` was binary.

        The reader calls this method for a message that is not UTF-8. RFC 6455, section 8.1, forbids
        such a text; a binary message may have any bytes.

        Returns:
            Whether the link was ended.
        """
        ...

    def run_writer(self, on_timer: Callable[[], None] | None = None) -> None:
        """Send queued messages until the link ends. Call *on_timer*; see :meth:`set_timer`."""

    def set_timer(self, when: float) -> None:
        """
        Make the writer call *on_timer* once, at *when*, which is a time of ``time.monotonic()``.

        The time replaces the time of an earlier call.
        """

    def send(self, message: str, *, timeout: float | None = None, needs_room: bool = True) -> None:
        """
        Queue one message. Wait up to *timeout* seconds for room if *needs_room* is True.

        Raises:
            ConnectionLost: The other side or the network ended the link.
            ClosedError: This side ended the link.
            DeadlineExceeded: There was no room in time; nothing was queued.
        """

    def send_frame(self, frame: bytes, *, timeout: float | None = None) -> None:
        """
        Queue a block of the user's audio, in the form that this link sends. Raise the errors of
        :meth:`send`.
        """

    def settle_input(self, *, drop: bool, timeout: float | None) -> None:
        """
        Wait until the other side has all audio of :meth:`send_frame`, so that a message about the
        audio can follow.

        Args:
            drop: Whether to drop the audio that was not sent yet.
            timeout: Seconds for the wait.
        """

    def close(self, code: int = 1000, reason: str = "", *, wait: bool = True) -> None:
        """Send the queued messages, and end the link within ``close_timeout``."""

    def abort(self, why: str = "") -> None:
        """End the link at once."""

    def release(self) -> None:
        """Free the resources of the link, after the reader and the writer have returned."""

    def has_unread(self) -> bool:
        """Return whether bytes have arrived that the reader has not received or handled yet."""
        ...

    def stats(self) -> LinkStats:
        """Return the current statistics."""
        ...
