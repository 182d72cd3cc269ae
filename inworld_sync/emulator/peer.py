"""
One WebSocket connection as a service sees it: messages in, messages out.

Threads: the connection's own thread runs the service and reads; a writer thread alone sends, so a
client that does not read holds up neither the service's reading nor another connection.

Locks: ``_state`` guards the sans-I/O protocol object; ``_lock`` guards the queue of the writer.
Neither is held while the other is taken, nor while the stream waits.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence

import attrs
from websockets.exceptions import InvalidState
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from inworld_sync.emulator.credentials import Credential
from inworld_sync.emulator.faults import Fault
from inworld_sync.emulator.http import Request
from inworld_sync.emulator.outlet import Outlet
from inworld_sync.emulator.settings import Settings
from inworld_sync.emulator.stream import Stream

__all__ = ["PeerGone", "WebSocketPeer"]

# A client that sends requests and never reads the answers is cut at this many bytes of answers.
_MAX_ANSWER_BYTES = 64 << 20


class PeerGone(ConnectionError):
    """The client has left, or the connection is being closed; the service's thread ends."""


@attrs.frozen
class _Message:
    """A message, and the time from which on it may be sent."""

    data: bytes
    due: float


@attrs.frozen
class _Close:
    """The end, in turn."""

    code: int
    reason: str
    due: float


class WebSocketPeer:
    """
    One client on a WebSocket, after the upgrade.

    Attributes:
        request: The upgrade request.
        credential: What the client showed; a service judges it when its protocol says so.
        settings: The server's.

    Thread safety: ``messages`` belongs to one thread; everything else may be used from any.
    """

    def __init__(
        self,
        stream: Stream,
        protocol: ServerProtocol,
        *,
        request: Request,
        settings: Settings,
        faults: Sequence[Fault],
        name: str,
    ) -> None:
        self.request = request
        self.credential = Credential.of(request)
        self.settings = settings
        self._stream = stream
        self._protocol = protocol
        self._state = threading.Lock()
        self._lock = threading.Condition()
        self._queue: deque[_Message | _Close | bytes] = deque()
        self._queued_bytes = 0
        self._closing = False
        self._ended = threading.Event()
        self._stopping = threading.Event()
        self._active_at = time.monotonic()
        self._outlet = Outlet(stream, protocol, self._state, faults, self._ended)
        self._writer = threading.Thread(
            target=self._write, name=f"inworld-emulator-writer-{name}", daemon=True
        )
        self._writer.start()

    @property
    def is_open(self) -> bool:
        """Whether messages can still be sent."""
        return not self._closing and not self._ended.is_set()

    def messages(self) -> Iterator[str | bytes]:
        """
        Yield whole messages until the connection is over: str for text, bytes for binary.

        A connection that stays idle for ``Settings.idle_timeout`` is closed here.
        """
        parts: list[bytes] = []
        kind = Opcode.TEXT
        while True:
            for frame in self._frames():
                if frame.opcode is not Opcode.CONT:
                    kind = frame.opcode
                parts.append(bytes(frame.data))
                if frame.fin:
                    message, parts = b"".join(parts), []
                    self._active_at = time.monotonic()
                    if kind is Opcode.BINARY:
                        yield message
                        continue
                    try:
                        text = message.decode()
                    except UnicodeDecodeError:
                        self.close(1007, "text is not UTF-8")
                        return
                    yield text
            if not self._read_more():
                return

    def send(self, message: Mapping[str, object], *, wait: bool = True) -> None:
        """
        Queue one message.

        Args:
            message: A JSON object.
            wait: Wait while more than ``Settings.max_queued_bytes`` are queued. The thread that
                reads must not wait, or a client that sends all before it reads would hang.

        Raises:
            PeerGone: The connection is over.
        """
        text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
        data = text.encode(errors="replace")  # a client may have sent half a surrogate pair
        limit = self.settings.max_queued_bytes if wait else _MAX_ANSWER_BYTES
        with self._lock:
            while wait and self._queued_bytes > limit and self.is_open:
                self._lock.wait()
            if not self.is_open:
                raise PeerGone("the connection is over")
            if self._queued_bytes > limit:
                self._end()
                raise PeerGone("the client does not read")
            self._queue.append(_Message(data, self._due()))
            self._queued_bytes += len(data)
            self._lock.notify_all()
        self._active_at = time.monotonic()

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Queue a CLOSE behind what is queued; later messages raise PeerGone."""
        with self._lock:
            if self._closing:
                return
            self._closing = True
            self._queue.append(_Close(code, reason, self._due()))
            self._lock.notify_all()
        self._stopping.set()

    def pause(self, seconds: float) -> None:
        """Wait, but no longer than the connection lasts; raise PeerGone at its end."""
        if self._stopping.wait(seconds):
            raise PeerGone("the connection is over")

    def abort(self) -> None:
        """End the connection without a CLOSE; wakes every waiting thread."""
        self._end()

    def finish(self) -> None:
        """Close, wait for the client's CLOSE within the timeout, and stop the writer."""
        self.close()
        deadline = time.monotonic() + self.settings.close_timeout
        self._writer.join(self.settings.close_timeout)
        while self._protocol.close_rcvd is None and not self._ended.is_set():
            try:
                data = self._stream.receive(max(0.0, deadline - time.monotonic()))
            except OSError:
                break
            if not data:
                break
            with self._state:
                self._protocol.receive_data(data)
                self._protocol.events_received()
        if self._protocol.close_rcvd is not None:
            self._stream.finish()
        self._end()
        self._writer.join(self.settings.close_timeout)

    def _frames(self) -> Iterator[Frame]:
        with self._state:
            events = self._protocol.events_received()
        for event in events:
            if isinstance(event, Frame) and event.opcode in (
                Opcode.TEXT,
                Opcode.BINARY,
                Opcode.CONT,
            ):
                yield event

    def _read_more(self) -> bool:
        """Feed the protocol; return False once no more messages can come."""
        if self._ended.is_set() or self._protocol.state is not State.OPEN:
            return False
        try:
            data = self._stream.receive(self._idle_left())
        except TimeoutError:
            if self._idle_left() > 0:
                return True
            self.close(self.settings.idle_close_code, "idle for too long")
            return False
        except OSError:
            data = b""
        with self._state:
            if data:
                self._protocol.receive_data(data)
            else:
                self._protocol.receive_eof()
            # What the protocol itself says: pongs, the answer to a CLOSE, and nothing at all for
            # the end of the stream.
            answers = self._protocol.data_to_send()
        if answers:
            with self._lock:
                self._queue.extend(answers)
                self._lock.notify_all()
        if not data:
            self._end()
        return bool(data)

    def _idle_left(self) -> float:
        return max(0.0, self._active_at + self.settings.idle_timeout - time.monotonic())

    def _end(self) -> None:
        self._ended.set()
        self._stopping.set()
        self._stream.abort()
        with self._lock:
            self._lock.notify_all()

    def _due(self) -> float:
        return time.monotonic() + self.settings.latency_ms / 1000

    def _next(self) -> _Message | _Close | bytes | None:
        with self._lock:
            while not self._queue and not self._ended.is_set():
                self._lock.wait()
            if self._ended.is_set():
                return None
            item = self._queue.popleft()
            if isinstance(item, _Message):
                self._queued_bytes -= len(item.data)
                self._lock.notify_all()
            return item

    def _write(self) -> None:
        """Send what is queued until a CLOSE has gone out or the connection is over."""
        try:
            while (item := self._next()) is not None and self._write_one(item):
                pass
        except OSError:
            self._end()
        finally:
            if self._outlet.is_cut:
                self._end()

    def _write_one(self, item: _Message | _Close | bytes) -> bool:
        """Send one item; return whether another may follow."""
        if isinstance(item, bytes):
            if not item:
                self._stream.finish()
                return False
            self._stream.send(item)
            return True
        if self._ended.wait(max(0.0, item.due - time.monotonic())):
            return False
        try:
            if isinstance(item, _Close):
                self._outlet.close(item.code, item.reason)
                return False
            return self._outlet.send(item.data)
        except InvalidState:
            # The client has sent CLOSE: what waits for it is dropped, the answer comes behind it.
            return not isinstance(item, _Close)
