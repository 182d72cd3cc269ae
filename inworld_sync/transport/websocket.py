"""
One WebSocket connection that two threads drive: a reader and a writer.

This file starts no thread. Its rules:

- The reader alone calls :meth:`Link.receive`, the writer alone :meth:`Link.run_writer`; every
  other method may be called from any thread.
- Only the thread that holds the outbox's write lock writes to the stream: the writer, or a sender
  that acquired it while the writer had nothing to do. A sender never waits for the network.
- ``_lock`` guards ``end`` and ``_closing``, and the cut; it is held for a few statements that
  cannot wait, never while a user's code is called. The outbox and the stream have locks of their
  own, of which TLS's is the innermost; none is held while another of the three is taken.
- A frame leaves whole or the link is dead: nothing is ever written after a part of a frame.
- ``end`` is set once. After it nothing is queued; the writer sends at most one CLOSE frame more.
- The cut comes last: it sets the self-pipe, and both threads leave at once.
"""

from __future__ import annotations

import contextlib
import math
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import attrs

from inworld_sync.audio.frame import build_frame
from inworld_sync.errors import ConnectionLost, DeadlineExceeded, redact
from inworld_sync.models.options import Options
from inworld_sync.transport import frames
from inworld_sync.transport.deadline import Deadline
from inworld_sync.transport.fork_guard import ForkGuard
from inworld_sync.transport.link_stats import LinkEnd, LinkStats, Pings, lost_by, refusal
from inworld_sync.transport.observers import Observers
from inworld_sync.transport.outbox import Outbox, OutboxShut, Outgoing
from inworld_sync.transport.rejection import request_id_of
from inworld_sync.transport.self_pipe import WokenUp
from inworld_sync.transport.silence import receive_unless_silent
from inworld_sync.transport.urls import show_url

if TYPE_CHECKING:
    from inworld_sync.transport.connect import Opened

__all__ = ["Link", "LinkEnd", "LinkStats"]

_TEXT_FRAME = frames.FIN | frames.TEXT

# What TLS takes at once; a longer message is the writer's.
_WRITTEN_AT_ONCE = 48 * 1024


class Link:
    """
    A WebSocket connection for text messages.

    One thread loops over :meth:`receive`, another is in :meth:`run_writer`; when both have left,
    :meth:`release` frees the socket. A forked child cannot use a link that it inherited.

    Attributes:
        name: Its name, unique in the process; threads, traces and recordings bear it.
        url: Where it leads, without secrets.
        response_headers: The server's, by lower-case name.
        request_id: The service's id for the connection, or None.
        end: How it ended; None while it is open.
    """

    def __init__(self, opened: Opened, url: str, options: Options, name: str) -> None:
        self.name = name
        self.url = show_url(url)
        self.response_headers: Mapping[str, str] = opened.upgraded.headers
        self.request_id = request_id_of(opened.upgraded.headers)
        self.end: LinkEnd | None = None
        self._opened = opened
        self._options = options
        self._stream = opened.stream
        self._observers = Observers(options, name)
        self._fork_guard = ForkGuard()
        self._opened_at = time.monotonic()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._last_left = threading.Event()
        self._outbox = Outbox(options.max_queued_bytes)
        self._is_writing = False
        self._timer_at = math.inf
        self._closing: tuple[int, str] | None = None
        self._close_by: Deadline | None = None
        self._unsendable: OSError | None = None
        self._buffer = frames.FrameBuffer(options.max_message_bytes, opened.upgraded.received)
        self._fragments = frames.Fragments()
        self._messages_in = self._messages_out = 0
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
        Connect: name lookup, TCP, proxy, TLS and upgrade.

        Args:
            url: ``wss://`` or ``ws://``; ``https://`` and ``http://`` mean the same two.
            headers: For the upgrade, after those of *options*.
            options: Certificates, proxy, limits and times.
            name: For threads, traces and recordings.
            deadline: For all steps together; None makes one of ``options.connect_timeout``.

        Raises:
            ConnectError: A step failed.
            DeadlineExceeded: The deadline passed; the message names the step.
            ServiceError: The server refuses the upgrade.
            ConfigError: The URL, the proxy or a header makes no sense.
        """
        # TLS, proxies and websocket-client cost some 25 ms to import; a first connect can bear it.
        from inworld_sync.transport.connect import open_websocket

        deadline = deadline or Deadline(options.connect_timeout, f"connecting to {show_url(url)}")
        opened = open_websocket(url, headers=headers, options=options, deadline=deadline)
        link = cls(opened, url, options, name)
        times = attrs.asdict(opened.times)
        link._observers.trace("connected", opened.times.total_ms / 1000, times)
        return link

    def __repr__(self) -> str:
        state = "open" if self.end is None else f"ended by the {self.end.by}, {self.end.code}"
        return f"<Link {self.name} to {self.url}, {state}>"

    # ---- the reader's side

    def receive(self) -> memoryview | None:
        """
        Wait for the next whole text message; the reader thread only.

        Pings are answered, pongs timed and fragments joined on the way; that the bytes are UTF-8
        is left to whoever parses them.

        Returns:
            The message, valid until the next call; None once the link is over, with :attr:`end`
            set.

        Raises:
            ClosedError: The link was opened in another process.
        """
        self._fork_guard.require(f"the connection {self.name}")
        try:
            while self.end is None:
                frame = self._buffer.frame(self._fragments.size_bytes)
                if frame is None:
                    self._fill()
                elif (message := self._handle_frame(*frame)) is not None:
                    return message
        except frames.FrameError as error:
            end = LinkEnd(by="client", code=error.code, reason=str(error), error=error)
            self._finish(end, last=frames.close_payload(error.code, str(error)))
        except (EOFError, OSError, ConnectionLost) as error:
            self._finish_by_network(error)
        except WokenUp:
            pass  # the thread that set the self-pipe has set the end
        return None

    def _handle_frame(self, first: int, payload: memoryview) -> memoryview | None:
        """Handle one frame; return the message that it completes, if it completes one."""
        if first != _TEXT_FRAME or self._fragments.is_open:
            opcode = first & 0x0F
            if opcode >= frames.CLOSE:
                self._take_control(opcode, payload)
                return None
            whole = self._fragments.join(first, payload)
            if whole is None:
                return None
            payload = whole
        if not self._messages_in:
            self._observers.trace("first_message", time.monotonic() - self._opened_at)
        self._messages_in += 1
        if self._observers.records:
            self._observers.message("in", bytes(payload))
        return payload

    def _fill(self) -> None:
        room = self._buffer.room()
        # Any byte ends the wait, so it measures silence, and only while the link is read.
        count = receive_unless_silent(self._stream, room, self._options.ping_timeout)
        self._buffer.received(count)
        self._bytes_in += count
        if self._stream.owes_output:
            self._outbox.wake_writer()

    def _take_control(self, opcode: int, payload: memoryview) -> None:
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

    # ---- the writer's side

    def run_writer(self, on_timer: Callable[[], None] | None = None) -> None:
        """
        Send what is queued, and pings, until the link is over; the writer thread only.

        A frame that has not left after ``options.send_timeout`` ends the link.

        Args:
            on_timer: Called on this thread at the time of :meth:`set_timer`; must not block.

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
        # No limit: what was not this side's close, the reader ends, once it has read all there is.
        self._over.wait()

    def _write_all(self, on_timer: Callable[[], None] | None) -> None:
        # Twice within ping_timeout at least, or a quiet link would look dead.
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
        """Send one frame, or without one the stream's own output."""
        deadline = Deadline(self._options.send_timeout, "sending a frame")
        try:
            if item is None:
                self._stream.flush(deadline)
                return
            if item.rest is not None:
                self._stream.send_rest(item.rest, deadline)
                self._outbox.sent(item)
                return
            frame = item.payload if item.is_built else build_frame(item.opcode, item.payload)
            self._stream.send_all(frame, deadline)
        except DeadlineExceeded as error:
            lost = ConnectionLost(
                f"the server took no data for {self._options.send_timeout:g} s; see send_timeout"
            )
            lost.__cause__ = error
            self._finish(LinkEnd(by="network", code=1006, reason=str(lost), error=lost))
            raise OutboxShut from None
        except OSError as error:
            # The reader goes on: what the server said before it hung up is still to be read.
            self._unsendable = error
            self._outbox.drop()
            raise OutboxShut from None
        self._bytes_out += len(frame)
        if item.opcode == frames.TEXT:
            self._messages_out += 1
            self._outbox.sent(item)
            if self._observers.records:
                plain = frames.unmask(item.payload) if item.is_built else item.payload
                self._observers.message("out", plain)

    def _write_now(self, item: Outgoing) -> None:
        """Send what the network accepts without blocking; needs the write lock."""
        rest = None
        try:
            frame = item.payload if item.is_built else build_frame(item.opcode, item.payload)
            rest = self._stream.send_now(frame)
            self._bytes_out += len(frame)
            self._messages_out += 1
        except OSError as error:
            # As for the writer: the reader goes on.
            self._unsendable = error
            self._outbox.drop()
        self._outbox.release_write_lock(item, rest)

    # ---- any thread

    def set_timer(self, when: float) -> None:
        """
        Have the writer call its *on_timer* once; a stalled write delays it by ``send_timeout``.

        Args:
            when: Of ``time.monotonic()``, in seconds; replaces the time that was set before.
        """
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
        Queue one text message; wait while ``options.max_queued_bytes`` are waiting already.

        Any thread may call it; messages of one thread leave in order.

        Args:
            message: UTF-8 or text; copied unless it is ``bytes``.
            timeout: Seconds to wait for room; None waits until there is some or the link ends.
            needs_room: False queues it at once, for the few small messages that must not wait.

        Raises:
            ConnectionLost: The link is over, by the server or the network.
            ClosedError: This side closed the link.
            DeadlineExceeded: There was no room in time; nothing was queued.
        """
        payload = message.encode() if isinstance(message, str) else bytes(message)
        self._put(Outgoing(frames.TEXT, payload), timeout, needs_room=needs_room)

    def send_frame(
        self, frame: bytes | bytearray | memoryview, *, timeout: float | None = None
    ) -> None:
        """
        Queue one text message that is a whole masked frame already; else as :meth:`send`.

        Args:
            frame: FIN, opcode 1, masked with a fresh key; copied unless it is ``bytes``.
            timeout: As for :meth:`send`.
        """
        self._put(Outgoing(frames.TEXT, bytes(frame), is_built=True), timeout)

    def _put(self, item: Outgoing, timeout: float | None, *, needs_room: bool = True) -> None:
        self._fork_guard.require(f"the connection {self.name}")
        # An observer is user code, and one that may not wait may hold a lock.
        acquires = (
            needs_room and not self._observers.records and len(item.payload) <= _WRITTEN_AT_ONCE
        )
        try:
            if self._outbox.put(item, timeout, needs_room=needs_room, acquires=acquires):
                self._write_now(item)
        except OutboxShut:
            raise refusal(self.name, self.end, self._closing is not None) from self._cause()
        except BaseException:
            # Interrupted, perhaps between two parts of a frame.
            if self._outbox.abandon_write_lock():
                why = "interrupted while it was sending"
                self._finish(LinkEnd(by="client", code=1006, reason=why))
            raise

    def flush(self, *, timeout: float | None) -> None:
        """
        Wait until everything that was queued has been handed to the network.

        Args:
            timeout: Seconds, or None for no limit but that of ``options.send_timeout``.

        Raises:
            ConnectionLost: The link ended before.
            ClosedError: This side cut the link before.
            DeadlineExceeded: Something was still waiting after *timeout* seconds.
        """
        self._fork_guard.require(f"the connection {self.name}")
        try:
            self._outbox.await_empty(timeout)
        except OutboxShut:
            raise refusal(self.name, self.end, self._closing is not None) from self._cause()

    def close(self, code: int = 1000, reason: str = "", *, wait: bool = True) -> None:
        """
        Say CLOSE after what is queued, and wait for the server's, at most ``close_timeout``.

        Then the link is over in any case. Messages that come meanwhile are still received.
        Any thread may call it again, without more time; the reader's thread must not *wait*.

        Args:
            code: 1000 to 4999, of those that may be sent.
            reason: At most 123 bytes of UTF-8; what is more is cut.
            wait: False returns at once; the writer then ends the link after ``close_timeout``, or
                after ``send_timeout`` if it is stalled.
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
        """
        End the link at once, without CLOSE; any thread may call it, and again.

        Args:
            why: Kept as the reason of :attr:`end`.
        """
        if self._fork_guard.in_child:
            return
        self._finish(LinkEnd(by="client", code=1006, reason=why))
        self._cut()

    def release(self) -> None:
        """
        Free the socket, after the reader and the writer have left.

        Ends the link if it is not over. In a forked child it frees the child's copies only.
        """
        self.abort("released")
        if not self._fork_guard.in_child:
            # Else a sender could write to whatever gets the socket's number next.
            self._outbox.await_write_lock()
        self._opened.sock.close()
        self._opened.self_pipe.close()

    def stats(self) -> LinkStats:
        """Give the figures of this moment; any thread, and after the end too."""
        return LinkStats(
            messages_in=self._messages_in,
            messages_out=self._messages_out,
            bytes_in=self._bytes_in,
            bytes_out=self._bytes_out,
            queued_bytes=self._outbox.queued_bytes,
            rtt_ms=self._pings.rtt_ms,
            rtt_min_ms=self._pings.rtt_min_ms,
            connect=self._opened.times,
            proxy=self._opened.proxy,
            tls_version=self._opened.tls_version,
        )

    # ---- the end

    def _finish_by_network(self, error: Exception) -> None:
        if self._closing:
            self._cut_closing()
        else:
            lost = error if isinstance(error, ConnectionLost) else lost_by(error)
            self._finish(LinkEnd(by="network", code=1006, reason=str(lost), error=lost))

    def _cut_closing(self) -> None:
        """End a close that the server did not answer."""
        code, reason = self._closing or (1000, "")
        self._finish(LinkEnd(by="client", code=code, reason=reason))
        self._cut()

    def _finish(self, end: LinkEnd, last: bytes | None = None) -> None:
        """
        Make *end* the link's end, unless it has one.

        With *last* (the reader only) it waits ``close_timeout`` while the writer sends CLOSE.
        """
        with self._lock:
            if self.end is not None:
                return
            self.end = end
        if last is None:
            self._outbox.drop()
        elif self._outbox.end_with(last) and self._is_writing:
            self._last_left.wait(self._options.close_timeout)
        self._cut()

    def _cut(self) -> None:
        """Let both threads leave, and tell the peer's TCP."""
        with self._lock:
            if self._over.is_set():
                return
            self._over.set()
            self._opened.self_pipe.set()
            with contextlib.suppress(OSError):  # the peer may have gone first
                self._opened.sock.shutdown(socket.SHUT_RDWR)
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
