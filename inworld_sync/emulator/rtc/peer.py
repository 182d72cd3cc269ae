"""
Receives and sends the events of one WebRTC call, on its data channel.

Threads: the session's thread receives; any thread sends. The channel itself is used on the thread
of the event loop only.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from inworld_sync.emulator.faults import Fault, FaultKind, fault_kinds
from inworld_sync.emulator.inbox import Inbox, Received
from inworld_sync.emulator.peer import PeerGone

__all__ = ["Channel", "ChannelPeer"]

_logger = logging.getLogger("inworld_sync.emulator")
# At most this many bytes of received events and audio wait for the session. The limit is 170 s of
# audio.
_MAX_WAITING_BYTES = 16 << 20
# If a client does not read, it is disconnected when this many bytes of events are queued.
_MAX_QUEUED_BYTES = 16 << 20
_END_FAULTS = fault_kinds("drop reset close vanish")


class Channel(Protocol):
    """The data channel of the WebRTC library."""

    @property
    def readyState(self) -> str:  # noqa: N802 - the name of the library
        """``open`` if messages can be sent."""
        ...

    @property
    def bufferedAmount(self) -> int:  # noqa: N802 - the name of the library
        """The number of queued bytes."""
        ...

    def send(self, data: str) -> None:
        """Queue a message."""
        ...


class EndCall(Protocol):
    """Ends a call after its queued events. With *silently*, no message is sent to the client."""

    def __call__(self, *, silently: bool = False) -> None: ...


class ChannelPeer:
    """
    The client of one call.

    Args:
        loop: The event loop of the call.
        channel: The data channel, which is open.
        faults: The faults of the call.
        latency: The seconds by which each event is delayed.
        on_close: The function that ends the call. It is called on the loop.

    Thread safety: ``receive`` belongs to the session's thread, ``add_event`` and ``add_audio`` to
    the thread of the loop. All other methods may be called from any thread.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        channel: Channel,
        *,
        faults: Sequence[Fault],
        latency: float,
        on_close: EndCall,
    ) -> None:
        self._loop = loop
        self._channel = channel
        self._faults = faults
        self._latency = latency
        self._on_close = on_close
        self._inbox = Inbox(_MAX_WAITING_BYTES)
        self._delayed: deque[str] = deque()
        self._sent = 0
        self._closing = threading.Event()

    @property
    def is_open(self) -> bool:
        """Whether events can still be sent."""
        return not self._closing.is_set()

    def receive(self, timeout: float | None = None) -> str | bytes | None:
        """Wait for the next event, as text, or for audio, as bytes. See ``SessionPeer``."""
        message = self._inbox.pop(timeout)
        if message is None:
            return None
        return message.data.decode() if message.is_text else message.data

    def send(self, message: Mapping[str, object], *, wait: bool = True) -> None:
        """Queue an event without waiting. Raise PeerGone if the call has ended."""
        del wait
        if not self.is_open:
            raise PeerGone("the call has ended")
        text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
        self._on_loop(self._delay, text.encode(errors="replace").decode())

    def close(self) -> None:
        """End the call after the queued events."""
        if not self._closing.is_set():
            self._closing.set()
            self._on_loop(self._finish)
        self._inbox.end()

    def end(self) -> None:
        """Wake the session's thread, because the call has ended."""
        self._closing.set()
        self._inbox.end()

    def add_event(self, message: str | bytes) -> None:
        """Handle a message of the data channel."""
        # A binary message is not an event. An empty text replaces the message, and is refused
        # later.
        self._add(Received(message.encode() if isinstance(message, str) else b"", is_text=True))

    def add_audio(self, pcm: bytes) -> None:
        """Handle audio of the track."""
        self._add(Received(pcm, is_text=False))

    def _add(self, message: Received) -> None:
        if not self._inbox.put_at_once(message):
            self._on_close()

    def _on_loop(self, call: Callable[..., object], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:  # the loop is closed
            raise PeerGone("the call has ended") from None

    # On the loop.

    def _finish(self) -> None:
        self._loop.call_later(self._latency, self._on_close)

    def _delay(self, text: str) -> None:
        if not self._latency:
            self._send(text)
            return
        self._delayed.append(text)
        self._loop.call_later(self._latency, lambda: self._send(self._delayed.popleft()))

    def _send(self, text: str) -> None:
        due = {fault.kind for fault in self._faults if fault.is_due(self._sent)}
        self._sent += 1
        if due & _END_FAULTS:
            self._on_close(silently=FaultKind.VANISH in due)
            return
        texts = [text]
        if FaultKind.LOSE in due:
            texts = []
        elif FaultKind.BAD_JSON in due:
            texts = [text[:-2]]
        elif FaultKind.DUPLICATE in due:
            texts = [text, text]
        elif FaultKind.UNKNOWN_MESSAGE in due:
            texts = ['{"type":"something.new","answer":42}', text]
        for each in texts:
            self._write(each)

    def _write(self, text: str) -> None:
        channel = self._channel
        if channel.readyState != "open" or channel.bufferedAmount > _MAX_QUEUED_BYTES:
            self._on_close()
            return
        try:
            channel.send(text)
        except ValueError as error:  # the event is larger than the client accepts
            _logger.warning("a call ends, because an event cannot be sent: %s", error)
            self._on_close()
