"""
Receives and sends the messages of one WebSocket connection, for the service that handles the
connection.

Threads: the connection's own thread runs the service. Only the reader thread receives, so pings
and CLOSE get their response while the service waits for an engine. Only the writer thread sends,
so a client that does not read delays neither the service nor another connection.

Locks: ``_state`` guards the sans-I/O protocol object, ``_lock`` guards the queue of the writer, and
the inbox has its own lock. A thread that holds ``_lock`` may acquire the lock of the inbox. No lock
is held while the stream waits.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import attrs
from websockets.exceptions import InvalidState
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from inworld_sync.emulator.credentials import Credential, Verdict
from inworld_sync.emulator.faults import Cut, Fault
from inworld_sync.emulator.frame_writer import FrameWriter
from inworld_sync.emulator.http import Request
from inworld_sync.emulator.inbox import Inbox, Received
from inworld_sync.emulator.settings import Settings
from inworld_sync.emulator.stream import Stream

__all__ = ["PeerGone", "WebSocketPeer"]

_logger = logging.getLogger("inworld_sync.emulator")
# The largest number of bytes of received messages that wait for the service, about four minutes of
# audio of a Realtime session. Beyond this limit the reader stops reading, and pings get no pong
# until there is room.
_MAX_WAITING_BYTES = 16 << 20
# A client that sends requests and never reads is disconnected when this many bytes of responses are
# queued.
_MAX_ANSWER_BYTES = 16 << 20
# The reader waits while more than this many control frames, such as pongs, are queued.
_MAX_CONTROL_FRAMES = 256


class PeerGone(ConnectionError):
    """The client has disconnected, or the connection is closing. The service must end."""


@attrs.frozen
class _Outgoing:
    """
    One entry of the writer's queue.

    Attributes:
        send: The function that sends the entry.
        size: The number of bytes of a message; 0 for control frames.
        due: The monotonic time before which the entry is not sent.
        is_control: Whether the entry is a control frame.
    """

    send: Callable[[], None]
    size: int = 0
    due: float = 0.0
    is_control: bool = False


class WebSocketPeer:
    """
    One client on a WebSocket, after the upgrade.

    Attributes:
        request: The upgrade request.
        credential: The credential that the client sent.
        verdict: Whether the credential is accepted. Each service decides when to refuse the client.
        settings: The settings of the server.
        received_at: The monotonic time of arrival of the last message that ``receive`` returned.

    Thread safety: ``receive`` and ``received_at`` belong to one thread; all other methods may be
    called from any thread.
    """

    def __init__(
        self,
        stream: Stream,
        protocol: ServerProtocol,
        *,
        request: Request,
        verdict: Verdict,
        settings: Settings,
        faults: Sequence[Fault],
        name: str,
    ) -> None:
        self.request = request
        self.credential = Credential.of(request)
        self.verdict = verdict
        self.settings = settings
        self.received_at = 0.0
        self._stream = stream
        self._protocol = protocol
        self._state = threading.Lock()
        self._lock = threading.Condition()
        self._queue: deque[_Outgoing] = deque()
        self._queued_bytes = 0
        self._control_frames = 0
        self._closing = False
        self._sent_eof = False
        self._ended = threading.Event()
        self._active_at = time.monotonic()
        self._inbox = Inbox(_MAX_WAITING_BYTES)
        self._partial_message = bytearray()
        self._is_text = True
        self._frame_writer = FrameWriter(stream, protocol, self._state, faults, self._ended)
        self._writer = threading.Thread(
            target=self._write, name=f"inworld-emulator-writer-{name}", daemon=True
        )
        self._reader = threading.Thread(
            target=self._read, name=f"inworld-emulator-reader-{name}", daemon=True
        )
        self._writer.start()
        try:
            self._reader.start()
        except RuntimeError:  # the system has no thread left
            self.abort()
            raise

    @property
    def is_open(self) -> bool:
        """Whether messages can still be sent."""
        return not self._closing and not self._ended.is_set()

    def receive(self, timeout: float | None = None) -> str | bytes | None:
        """
        Wait for the next whole message, which is str for text and bytes for binary.

        Returns:
            The message; None after the end of the connection. Messages that still wait when either
            side closes are dropped, because no response could be sent.

        Raises:
            TimeoutError: There was no message within *timeout* seconds.
        """
        message = self._inbox.pop(timeout)
        if message is None:
            return None
        self.received_at = message.at
        try:
            return message.data.decode() if message.is_text else message.data
        except UnicodeDecodeError:
            self.close(1007, "text is not UTF-8")
            return None

    def send(self, message: Mapping[str, object], *, wait: bool = True) -> None:
        """
        Queue one message.

        Args:
            message: A JSON object.
            wait: Whether to wait while more bytes than ``Settings.max_queued_bytes`` are queued.
                The connection's thread must not wait, because a client that sends everything before
                it reads would hang.

        Raises:
            PeerGone: The connection has ended.
        """
        text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
        data = text.encode(errors="replace")  # the client may have sent half of a surrogate pair
        limit = self.settings.max_queued_bytes if wait else _MAX_ANSWER_BYTES
        with self._lock:
            while wait and self._queued_bytes > limit and self.is_open:
                self._lock.wait()
            if not self.is_open:
                raise PeerGone("the connection has ended")
            if self._queued_bytes > limit:
                self.abort()
                raise PeerGone("the client does not read")
            self._queued_bytes += len(data)
            self._enqueue(partial(self._frame_writer.send, data), size=len(data))
        self._active_at = time.monotonic()

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Send a CLOSE after the queued messages. A later ``send`` raises PeerGone."""
        with self._lock:
            if self._closing:
                return
            self._closing = True
            self._enqueue(partial(self._frame_writer.close, code, reason))
        self._inbox.end()

    def abort(self) -> None:
        """End the connection without a CLOSE, and wake every waiting thread."""
        self._ended.set()
        self._inbox.end()
        self._stream.abort()
        with self._lock:
            self._lock.notify_all()

    def finish(self) -> None:
        """Close, wait for the client's CLOSE within the timeout, and stop both threads."""
        self.close()
        deadline = time.monotonic() + self.settings.close_timeout
        self._writer.join(self.settings.close_timeout)
        self._reader.join(max(0.0, deadline - time.monotonic()))
        if self._protocol.close_rcvd is not None:
            self._stream.finish()
        self.abort()
        self._writer.join(self.settings.close_timeout)
        self._reader.join(self.settings.close_timeout)

    def _read(self) -> None:
        """
        Receive until the client sends CLOSE or disconnects.

        The reader thread runs this method.
        """
        try:
            while self._process_received() and self._receive():
                pass
        except Exception:
            _logger.exception("reading from a WebSocket failed")
            self.abort()
        finally:
            self._inbox.end()

    def _process_received(self) -> bool:
        """Handle the received frames; return False after the client's CLOSE."""
        with self._state:
            events = self._protocol.events_received()
            # Control frames, which are pongs and the response to a CLOSE.
            answers = self._protocol.data_to_send()
            is_open = self._protocol.state is State.OPEN
        if answers:
            with self._lock:
                # A client that sends pings and never reads must not fill the memory.
                self._lock.wait_for(
                    lambda: self._control_frames <= _MAX_CONTROL_FRAMES or self._ended.is_set()
                )
                self._control_frames += len(answers)
                self._queue.extend(
                    _Outgoing(partial(self._send_raw, data), is_control=True) for data in answers
                )
                self._lock.notify_all()
        for event in events:
            if isinstance(event, Frame):
                self._add_frame(event)
        if not is_open:
            self._inbox.end()
        return self._protocol.close_rcvd is None

    def _add_frame(self, frame: Frame) -> None:
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            self._is_text = frame.opcode is Opcode.TEXT
        elif frame.opcode is not Opcode.CONT:
            return
        self._partial_message += frame.data
        if frame.fin:
            message = Received(bytes(self._partial_message), self._is_text)
            self._partial_message.clear()
            self._active_at = time.monotonic()
            self._inbox.put(message)

    def _receive(self) -> bool:
        """
        Pass the next bytes to the protocol; return False at the end of the stream.

        Close the connection if it has been idle for ``Settings.idle_timeout``.
        """
        try:
            # After this side has sent CLOSE, ``finish`` limits the wait for the client's CLOSE.
            data = self._stream.receive(None if self._closing else self._idle_left())
        except TimeoutError:
            if self._idle_left() <= 0 and not self._closing:
                self.close(self.settings.idle_close_code, "idle for too long")
            return True
        except OSError:
            data = b""
        with self._state:
            if data:
                self._protocol.receive_data(data)
            else:
                self._protocol.receive_eof()
        if not data:
            self.abort()
        return bool(data)

    def _idle_left(self) -> float:
        return max(0.0, self._active_at + self.settings.idle_timeout - time.monotonic())

    def _enqueue(self, send: Callable[[], None], size: int = 0) -> None:
        due = time.monotonic() + self.settings.latency_ms / 1000
        self._queue.append(_Outgoing(send, size, due))
        self._lock.notify_all()

    def _next(self) -> _Outgoing | None:
        with self._lock:
            self._lock.wait_for(lambda: self._queue or self._ended.is_set())
            if self._ended.is_set():
                return None
            item = self._queue.popleft()
            self._queued_bytes -= item.size
            self._control_frames -= item.is_control
            self._lock.notify_all()
            return item

    def _write(self) -> None:
        """Send the queued entries until a CLOSE is sent or the connection ends."""
        try:
            while not (self._frame_writer.is_closed or self._sent_eof):
                if (item := self._next()) is None:
                    return
                if self._ended.wait(max(0.0, item.due - time.monotonic())):
                    return
                # After the client's CLOSE, messages are dropped. The response to the CLOSE follows
                # in the queue.
                with contextlib.suppress(InvalidState):
                    item.send()
        except (OSError, Cut):
            self.abort()

    def _send_raw(self, data: bytes) -> None:
        """Send control frames. Empty data means the end of the stream."""
        if data:
            self._stream.send(data)
        else:
            self._sent_eof = True
            self._stream.finish()
