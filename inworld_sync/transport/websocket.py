"""
Runs one WebSocket connection, which a reader thread and a writer thread use.

This module starts no thread. It has these rules:

- Only the reader calls :meth:`Link.receive`, and only the writer calls :meth:`Link.run_writer`. Any
  thread may call the other methods.
- Only the thread that holds the outbox's write lock writes to the stream: the writer, or a sender
  that acquired the lock while the writer had nothing to do. A sender never waits for the network.
- ``_lock`` guards ``end``, ``_closing`` and the cut. This lock is held for a few statements that
  cannot wait, never while user code runs. The outbox and TLS have their own locks. A thread that
  holds one of these three locks acquires neither of the other two.
- After a partly sent frame, the next bytes are the rest of this frame, or the link ends.
- ``end`` is set once. After that nothing is queued, and the writer sends at most one CLOSE frame.
- The cut is the last step: it sets the self-pipe, so both threads return at once.
"""

from __future__ import annotations

import contextlib
import math
import socket
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import attrs

from inworld_sync.audio.frame import build_frame
from inworld_sync.errors import ConnectionLost, DeadlineExceeded, RemoteProtocolError, redact
from inworld_sync.locks import Event, make_lock
from inworld_sync.models import checks
from inworld_sync.models.options import Options
from inworld_sync.transport import frames
from inworld_sync.transport.deadline import Deadline, RunningDeadline
from inworld_sync.transport.fork_guard import ForkGuard
from inworld_sync.transport.link_stats import LinkEnd, LinkStats, Pings, lost_by, unsent_error
from inworld_sync.transport.observers import Observers
from inworld_sync.transport.outbox import Outbox, OutboxShut, Outgoing
from inworld_sync.transport.rejection import request_id_of
from inworld_sync.transport.self_pipe import WokenUp
from inworld_sync.transport.silence import receive_unless_silent
from inworld_sync.transport.urls import show_url

if TYPE_CHECKING:
    from inworld_sync.transport.connect import OpenedWebSocket

__all__ = ["Link", "LinkEnd", "LinkStats"]

# Only the writer sends longer messages, because TLS takes a long time to encrypt them.
_MAX_DIRECT_BYTES = 48 * 1024


class Link:
    """
    A WebSocket connection. :class:`MessageLink` describes the threads that use the connection.

    Attributes:
        name: The name, unique in the process, for threads and traces.
        url: The URL without secrets.
        response_headers: The headers of the response to the upgrade, by lower-case name.
        request_id: The service's id for the connection, or None.
        end: How the link ended; None while the link is open.
        on_refused: Called if the service refuses the credential after the upgrade.
    """

    def __init__(self, opened: OpenedWebSocket, url: str, options: Options, name: str) -> None:
        self.name = name
        self.url = show_url(url)
        self.response_headers: Mapping[str, str] = opened.upgraded.headers
        self.request_id = request_id_of(opened.upgraded.headers)
        self.end: LinkEnd | None = None
        self.on_refused: Callable[[], None] = lambda: None
        self._opened = opened
        self._connection = opened.connection
        self.has_unread = opened.connection.has_unread
        self._options = options
        self._stream = opened.connection.stream
        self._observers = Observers(options, name)
        self._fork_guard = ForkGuard()
        self._opened_at = time.monotonic()
        self._lock = make_lock()
        self._over, self._last_left = Event(), Event()
        self._outbox = Outbox(options.max_queued_bytes)
        self._is_writing, self._timer_at = False, math.inf
        self._closing: tuple[int, str] | None = None
        self._close_by: Deadline | None = None
        self._unsendable: OSError | None = None
        self._buffer = frames.MessageBuffer(options.max_message_bytes, opened.upgraded.received)
        self._messages_in = self._binary_messages = self._messages_out = 0
        self._is_binary = False  # whether the last message was binary
        self._bytes_in, self._bytes_out = len(opened.upgraded.received), 0
        self._pings = Pings()

    @classmethod
    def open(
        cls,
        url: str,
        *,
        headers: Mapping[str, str],
        options: Options,
        name: str,
        deadline: Deadline | None = None,
    ) -> Link:
        """
        Open a WebSocket connection.

        Args:
            url: ``wss://`` or ``ws://``.
            headers: Headers of the upgrade. A header of *options* with the same name is not sent.
            options: The settings for certificates, proxy, limits and timeouts.
            name: The name of the connection.
            deadline: The limit for all steps; None means ``options.connect_timeout`` from now.

        Raises:
            ConnectError, DeadlineExceeded, ServiceError, ConfigError: See :func:`open_websocket`.
        """
        # Importing TLS, proxies and websocket-client takes 25 ms. The first connect imports them.
        from inworld_sync.transport.connect import open_websocket

        deadline = deadline or Deadline(options.connect_timeout, f"connecting to {show_url(url)}")
        opened = open_websocket(url, headers=headers, options=options, deadline=deadline)
        link = cls(opened, url, options, name)
        total_ms, times = opened.times.total_ms, attrs.asdict(opened.times)
        link._observers.trace("connected", total_ms / 1000, times)
        return link

    def __repr__(self) -> str:
        state = "open" if self.end is None else f"ended by the {self.end.by}, {self.end.code}"
        return f"<Link {self.name} to {self.url}, {state}>"

    # ---- reader thread

    def receive(self) -> memoryview | None:
        """
        Wait for the next complete message. Only the reader thread may call this method.

        Control frames are handled during the wait. See :meth:`refuse_text` for invalid UTF-8.

        Returns:
            The message, valid until the next call; None after the end of the link, when
            :attr:`end` is set.

        Raises:
            ClosedError: The link was opened in another process.
        """
        if self._fork_guard.in_child:
            self._fork_guard.require(f"the connection {self.name}")
        buffer, stream, ping_timeout = self._buffer, self._stream, self._options.ping_timeout
        try:
            while self.end is None:
                item = None if buffer.is_empty else buffer.pop()
                if item is None:
                    # Every received byte, not only a pong, shows that the server is alive.
                    room = buffer.room()
                    count = receive_unless_silent(stream, room, ping_timeout)
                    buffer.received(count)
                    self._bytes_in += count
                    if stream.owes_output:
                        self._outbox.wake_writer()
                elif item[0] >= frames.CLOSE:
                    self._handle_control(*item)
                else:
                    opcode, message = item
                    if not self._messages_in:
                        self._observers.trace("first_message", time.monotonic() - self._opened_at)
                    self._messages_in += 1
                    self._is_binary = opcode == frames.BINARY
                    self._binary_messages += self._is_binary
                    if self._observers.records:
                        self._observers.message("in", bytes(message))
                    return message
        except frames.FrameError as error:
            self._refuse(error.code, error)
        except (EOFError, OSError, ConnectionLost) as error:
            self._finish_by_network(error)
        except WokenUp:
            pass  # the thread that set the self-pipe has set the end
        # The cut is necessary if a signal handler interrupted the thread that ended the link.
        self._cut()
        return None

    def refuse_text(self, error: RemoteProtocolError) -> bool:
        """See :meth:`MessageLink.refuse_text`. The answer to the server has the code 1007."""
        if not self._is_binary:
            self._refuse(1007, error)
        return not self._is_binary

    def _refuse(self, code: int, error: RemoteProtocolError) -> None:
        end = LinkEnd(by="client", code=code, reason=str(error), error=error)
        self._finish(end, last=frames.close_payload(code, str(error)))

    def _handle_control(self, opcode: int, payload: memoryview) -> None:
        if opcode == frames.PING:
            self._outbox.put_pong(bytes(payload))
        elif opcode == frames.PONG:
            seconds = self._pings.answered(bytes(payload))
            if seconds is not None:
                self._observers.trace("ping", seconds)
        else:
            code, reason = frames.parse_close(payload)
            end = LinkEnd(by="server", code=code, reason=redact(reason), clean=True)
            if self._closing:
                end = LinkEnd(
                    by="client", code=self._closing[0], reason=self._closing[1], clean=True
                )
            self._finish(end, last=bytes(payload[:2]))

    # ---- writer thread

    def run_writer(self, on_timer: Callable[[], None] | None = None) -> None:
        """
        Send queued messages and pings until the link ends. Only the writer thread calls this.

        If a frame is not sent after ``options.send_timeout``, the link ends.

        Args:
            on_timer: Called on this thread at the time given to :meth:`set_timer`; must not block.

        Raises:
            ClosedError: The link was opened in another process.
        """
        self._fork_guard.require(f"the connection {self.name}")
        self._is_writing = True
        with contextlib.suppress(WokenUp, OutboxShut):
            self._write_all(on_timer)
        self._last_left.set()
        if self._close_by and not self._over.wait(self._close_by.remaining()):
            self._cut_closing()
        # This wait has no limit, because the reader ends the link after the last message.
        self._over.wait()

    def _write_all(self, on_timer: Callable[[], None] | None) -> None:
        # Pings are sent at least twice within ping_timeout, so that their pongs keep an idle link
        # open.
        interval = min(self._options.ping_interval, self._options.ping_timeout / 2)
        ping_at = time.monotonic() + interval
        while True:
            if on_timer is not None and time.monotonic() >= self._timer_at:
                self._timer_at = math.inf
                on_timer()
            wake_at = min(ping_at, self._timer_at)
            item = self._outbox.pop(max(0.0, wake_at - time.monotonic()))
            if item is None and time.monotonic() >= ping_at:
                ping_at = time.monotonic() + interval
                item = Outgoing(frames.PING, self._pings.make())
            self._write(item)

    def _write(self, item: Outgoing | None) -> None:
        """Send one frame; without a frame, flush the stream."""
        deadline = RunningDeadline(self._options.send_timeout, "sending a frame")
        try:
            if item is None:
                self._stream.flush(deadline)
                return
            if item.rest is not None:
                self._stream.send_rest(item.rest, deadline)
                self._outbox.sent(item)
                return
            frame = item.frame()
            self._stream.send_all(frame, deadline)
        except DeadlineExceeded as error:
            lost = ConnectionLost(
                f"the server accepted no data for {self._options.send_timeout:g} s; "
                "see send_timeout"
            )
            lost.__cause__ = error
            self._finish(LinkEnd(by="network", code=1006, reason=str(lost), error=lost))
            raise OutboxShut from None
        except OSError as error:
            # The reader still receives the messages that the server sent before closing.
            self._unsendable = error
            self._outbox.drop()
            raise OutboxShut from None
        self._bytes_out += len(frame)
        if item.opcode == frames.TEXT:
            self._messages_out += 1
            self._outbox.sent(item)
            if self._observers.records:
                self._observers.message("out", item.message())

    # ---- any thread

    def set_timer(self, when: float) -> None:
        """See :meth:`MessageLink.set_timer`. A stalled write can delay on_timer by send_timeout."""
        self._timer_at = when
        self._outbox.wake_writer()

    def send(
        self,
        message: bytes | bytearray | memoryview | str,
        *,
        timeout: float | None = None,
        needs_room: bool = True,
    ) -> None:
        """
        Queue one text message. Wait while ``options.max_queued_bytes`` are queued.

        Any thread may call this method. Messages of one thread are sent in order.

        Args:
            message: Text, or UTF-8 in a buffer. A buffer is copied unless it is ``bytes``.
            timeout: Seconds to wait for room; None means no limit.
            needs_room: Whether to wait for room. False is for small urgent messages.

        Raises:
            ConnectionLost: The server or the network ended the link.
            ClosedError: This client closed the link.
            DeadlineExceeded: There was no room in time; nothing was queued.
        """
        payload = message.encode() if isinstance(message, str) else bytes(message)
        self._put(payload, timeout, is_built=False, needs_room=needs_room)

    def send_frame(
        self, frame: bytes | bytearray | memoryview, *, timeout: float | None = None
    ) -> None:
        """
        Queue one text message that is a complete frame; see :meth:`send`.

        Args:
            frame: A frame with FIN and opcode 1, masked with a new key. The frame is copied unless
                it is ``bytes``.
            timeout: Seconds, as for :meth:`send`.
        """
        self._put(bytes(frame), timeout, is_built=True, needs_room=True)

    def _put(
        self, payload: bytes, timeout: float | None, *, is_built: bool, needs_room: bool
    ) -> None:
        if self._fork_guard.in_child:
            self._fork_guard.require(f"the connection {self.name}")
        if not (type(timeout) is float and timeout >= 0.0):
            checks.require_timeout(timeout)
        size, rest = len(payload), None
        # The observer is user code and must not run on this thread, which may hold locks.
        is_direct = needs_room and not self._observers.records and size <= _MAX_DIRECT_BYTES
        try:
            if not is_direct or not self._outbox.acquire_write_lock(size):
                message = Outgoing(frames.TEXT, payload, is_built)
                self._outbox.put(message, timeout, needs_room=needs_room)
                return
            try:
                frame = payload if is_built else build_frame(frames.TEXT, payload)
                rest = self._stream.send_now(frame)
                self._bytes_out += len(frame)
                self._messages_out += 1
            except OSError as error:
                # The reader continues to receive, as in _write.
                self._unsendable = error
                self._outbox.drop()
            unsent = None if rest is None else Outgoing(frames.TEXT, payload, is_built, rest)
            self._outbox.release_write_lock(size, unsent)
        except OutboxShut:
            raise unsent_error(self.name, self.end, self._closing) from self._cause()
        except BaseException:
            # The call was interrupted, such as by Ctrl-C, maybe after a part of a frame was sent.
            if self._outbox.abandon_write_lock():
                why = "interrupted while it was sending"
                self._finish(LinkEnd(by="client", code=1006, reason=why))
            # The message may be in the queue although the writer was not notified.
            self._outbox.wake_writer()
            raise

    def settle_input(self, *, drop: bool, timeout: float | None) -> None:
        """Return at once, since messages and audio arrive in the order in which they are sent."""

    def flush(self, *, timeout: float | None) -> None:
        """
        Wait until all queued messages were passed to the operating system.

        Args:
            timeout: Seconds; None means that only ``options.send_timeout`` applies.

        Raises:
            ConnectionLost: The link ended while messages were queued.
            ClosedError: This client ended the link while messages were queued.
            DeadlineExceeded: A message was still queued after *timeout* seconds.
        """
        self._fork_guard.require(f"the connection {self.name}")
        try:
            self._outbox.await_empty(timeout)
        except OutboxShut:
            raise unsent_error(self.name, self.end, self._closing) from self._cause()

    def close(self, code: int = 1000, reason: str = "", *, wait: bool = True) -> None:
        """
        Send CLOSE after the queued messages; wait up to ``close_timeout`` for the server's CLOSE.

        After this time the link ends in any case. Messages that arrive meanwhile are received. Any
        thread may call this method, even twice. A second call does not extend the time. The reader
        thread must pass ``wait=False``.

        Args:
            code: 1000 to 4999, without the codes that RFC 6455 forbids to send.
            reason: Up to 123 bytes of UTF-8; a longer reason is cut.
            wait: With False, the call returns at once, and the writer ends the link in time.
        """
        if self._fork_guard.in_child:
            return
        with self._lock:
            if self._closing is None and self.end is None:
                self._closing = (code, reason)
            if self._close_by is None:
                self._close_by = Deadline(self._options.close_timeout, "closing")
        self._outbox.put_close(frames.close_payload(code, reason))
        if self._is_writing and (not wait or self._over.wait(self._close_by.remaining())):
            return
        self._cut_closing()

    def abort(self, why: str = "") -> None:
        """End the link at once, without CLOSE. *why* is the reason in :attr:`end`."""
        if self._fork_guard.in_child:
            return
        self._finish(LinkEnd(by="client", code=1006, reason=why))
        self._cut()

    def release(self) -> None:
        """
        Close the socket, after the reader and the writer have returned.

        End the link if it has not ended. In a forked child, close only the child's copies of
        sockets.
        """
        self.abort("released")
        if not self._fork_guard.in_child:
            # A sender that still writes could write to a new file that has the same descriptor.
            self._outbox.await_write_lock()
        self._connection.close()

    def stats(self) -> LinkStats:
        """Return the current statistics. Any thread may call this method, even after the end."""
        return LinkStats(
            messages_in=self._messages_in,
            binary_messages=self._binary_messages,
            messages_out=self._messages_out,
            bytes_in=self._bytes_in,
            bytes_out=self._bytes_out,
            queued_bytes=self._outbox.queued_bytes,
            rtt_ms=self._pings.rtt_ms,
            rtt_min_ms=self._pings.rtt_min_ms,
            connect=self._opened.times,
            proxy=self._opened.proxy,
            tls_version=self._connection.tls_version,
        )

    # ---- the end

    def _finish_by_network(self, error: Exception) -> None:
        if self._closing:
            self._cut_closing()
        else:
            lost = error if isinstance(error, ConnectionLost) else lost_by(error)
            self._finish(LinkEnd(by="network", code=1006, reason=str(lost), error=lost))

    def _cut_closing(self) -> None:
        """End a link whose CLOSE the server did not answer in time."""
        code, reason = self._closing or (1000, "")
        self._finish(LinkEnd(by="client", code=code, reason=reason))
        self._cut()

    def _finish(self, end: LinkEnd, last: bytes | None = None) -> None:
        """
        Set the end of the link, unless it is set already.

        *last* is the payload of a CLOSE frame that the writer sends. With *last*, only the reader
        may call this method, which waits for the writer up to ``close_timeout``.
        """
        with self._lock:
            if self.end is not None:
                return
            self.end = end
        if last is None:
            self._outbox.drop()
        elif self._outbox.end_with(last) and self._is_writing:
            self._last_left.wait(Deadline(self._options.close_timeout, "closing").remaining())
        self._cut()

    def _cut(self) -> None:
        """Make both threads return, and shut the socket down."""
        with self._lock:
            if self._over.is_set():
                return
            self._connection.self_pipe.set()
            with contextlib.suppress(OSError):  # the server may have closed the connection
                self._connection.sock.shutdown(socket.SHUT_RDWR)
            self._over.set()
        self._outbox.drop()
        self._last_left.set()
        end = self.end
        assert end is not None
        self._options.logger.debug(
            "%s ended by the %s: %d %r", self.name, end.by, end.code, end.reason
        )
        self._observers.trace(
            "closed", time.monotonic() - self._opened_at, {"by": end.by, "code": end.code}
        )

    def _cause(self) -> Exception | None:
        return self._unsendable if self.end is None else self.end.error
