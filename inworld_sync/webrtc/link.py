"""
Implements the WebRTC connection of a realtime session, with the interface of a WebSocket's link.

Threads: the connection has a reader and a writer, as for a WebSocket. A third thread runs the event
loop (``loop.py``). On this thread, the peer calls the methods of ``peer.Events``, which the link
implements.

Lock rule: ``_changed`` guards all fields. No other lock is acquired and no code of the user runs
while ``_changed`` is held.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence

from inworld_sync.errors import (
    ConnectError,
    ConnectionLost,
    DeadlineExceeded,
    LocalProtocolError,
    ProtocolError,
    RemoteProtocolError,
    TransportError,
)
from inworld_sync.locks import Condition
from inworld_sync.models import checks
from inworld_sync.models.options import Options
from inworld_sync.transport.credential import Header
from inworld_sync.transport.deadline import LONGEST_WAIT_SECONDS, Deadline
from inworld_sync.transport.fork_guard import ForkGuard
from inworld_sync.transport.http import HttpClient
from inworld_sync.transport.link_stats import ConnectTimes, LinkEnd, LinkStats, unsent_error
from inworld_sync.transport.observers import Observers
from inworld_sync.webrtc.loop import LoopThread
from inworld_sync.webrtc.peer import Peer
from inworld_sync.webrtc.signaling import IceServer, OfferForm, fetch_ice_servers, send_offer
from inworld_sync.webrtc.track_speech import TrackSpeech

__all__ = ["WebRtcLink"]

# A data channel is closed without a code. RFC 6455 uses this number for an end without a code.
_NO_CODE = 1005

# If unread messages need more memory than this, the link ends.
_MAX_WAITING_BYTES = 64 * 1024 * 1024

# How many seconds the close of the aiortc objects may take, and how many the end of the loop.
_CLOSE_SECONDS = 2.0
_JOIN_SECONDS = 4.0

# The time between two checks whether all messages were sent.
_FLUSH_SECONDS = 0.01


class WebRtcLink:
    """
    A WebRTC connection. :class:`MessageLink` describes its threads and methods.

    The service's audio arrives as messages, see :class:`TrackSpeech`. The user's audio, 16-bit mono
    PCM of 48 kHz, is sent with :meth:`send_frame`.

    Args:
        name: The name of the connection, unique in the process.
        http: Exchanges the offer and the answer.
        ice_servers: STUN and TURN servers.
    """

    def __init__(self, name: str, http: HttpClient, ice_servers: Sequence[IceServer]) -> None:
        options: Options = http.options
        self.name = name
        self.request_id: str | None = None
        self.end: LinkEnd | None = None
        self.on_refused: Callable[[], None] = lambda: None
        self._options = options
        self._observers = Observers(options, name)
        self._fork_guard = ForkGuard()
        self._changed = Condition()
        self._speech = TrackSpeech()
        # Messages for the reader; the flag is True if the message is made from audio.
        self._inbox: deque[tuple[str, bool]] = deque()
        self._inbox_bytes = 0
        self._is_handling = False  # whether the reader handles a message
        self._outbox: deque[tuple[str, int]] = deque()
        self._outbox_bytes = 0
        self._to_observe: deque[str] = deque()
        self._is_open = False
        # How the link ends, after the reader has read the messages before the end.
        self._ending: LinkEnd | None = None
        self._closing: tuple[int, str] | None = None
        self._is_shutting_down = False
        self._timer_at = math.inf
        self._messages_in = self._messages_out = self._bytes_in = self._bytes_out = 0
        self._opened_at = time.monotonic()
        self._peer = Peer(self, http.place.host, ice_servers, options.ping_timeout, options.logger)
        self._loop = LoopThread(name, options.logger)

    @classmethod
    def open(
        cls,
        name: str,
        http: HttpClient,
        header: Header,
        *,
        form: OfferForm,
        session: Mapping[str, object],
        ice_servers: Sequence[IceServer] | None,
        deadline: Deadline,
    ) -> WebRtcLink:
        """
        Connect, and wait until the data channel is open.

        Args:
            name: The name of the connection.
            http: Exchanges the offer and the answer.
            header: The credential.
            form: How the offer is sent.
            session: The settings of the session for the offer.
            ice_servers: STUN and TURN servers; with None, the servers that the service names.
            deadline: The deadline for all steps.

        Raises:
            ServiceError: The service refuses the offer.
            RemoteProtocolError: The answer is invalid or does not fit the offer.
            ConnectError: No path to the service works.
            DeadlineExceeded: The connection was not open in time.
        """
        if ice_servers is None:
            ice_servers = fetch_ice_servers(http, header, deadline)
        link = cls(name, http, ice_servers)
        try:
            link._connect(http, header, form, session, deadline)
        except BaseException:
            link.release()
            raise
        return link

    def __repr__(self) -> str:
        state = "open" if self.end is None else f"ended by the {self.end.by}, {self.end.code}"
        return f"<WebRtcLink {self.name}, {state}>"

    def _connect(
        self,
        http: HttpClient,
        header: Header,
        form: OfferForm,
        session: Mapping[str, object],
        deadline: Deadline,
    ) -> None:
        begun = time.monotonic()
        self._loop.begin()
        with self._explained():
            offer = self._loop.run(self._peer.offer(), deadline)
        gathered = time.monotonic()
        answer = send_offer(http, header, form, offer, session, deadline)
        answered = time.monotonic()
        self.request_id = answer.call_id
        with self._explained():
            self._loop.run(self._peer.accept(answer.sdp), deadline)
            self._await_open(deadline)
        self._opened_at = time.monotonic()
        facts = {
            "gather_ms": (gathered - begun) * 1000,
            "answer_ms": (answered - gathered) * 1000,
            "ice_ms": (self._opened_at - answered) * 1000,
        }
        self._observers.trace("connected", self._opened_at - begun, facts)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Add the state of the connection to the error of a deadline that has passed."""
        try:
            yield
        except DeadlineExceeded as error:
            raise DeadlineExceeded(f"{error}: {self._peer.state}") from error

    def _await_open(self, deadline: Deadline) -> None:
        with self._changed:
            while not self._is_open:
                if self._ending is not None:
                    raise self._ending.error or ConnectError("the service closed the connection")
                deadline.check()
                self._changed.wait(deadline.at_most(LONGEST_WAIT_SECONDS))

    # ---- reader thread

    def receive(self) -> memoryview | None:
        """Wait for the next message; see :class:`MessageLink`."""
        self._fork_guard.require(f"the connection {self.name}")
        with self._changed:
            self._is_handling = False
            while not self._inbox and self._ending is None:
                self._changed.wait(LONGEST_WAIT_SECONDS)
            if not self._inbox or self.end is not None:
                self._set_end()
                return None
            self._is_handling = True
            text, is_audio = self._inbox.popleft()
            self._inbox_bytes -= len(text)
            is_first = not is_audio and not self._messages_in
            self._messages_in += not is_audio
        if is_first:
            self._observers.trace("first_message", time.monotonic() - self._opened_at)
        message = text.encode("utf-8", "replace")
        if self._observers.records and not is_audio:
            self._observers.message("in", message)
        return memoryview(message)

    # ---- writer thread

    def run_writer(self, on_timer: Callable[[], None] | None = None) -> None:
        """Call *on_timer* and the observer until the end; see :class:`MessageLink`."""
        self._fork_guard.require(f"the connection {self.name}")
        while True:
            with self._changed:
                while not self._has_work:
                    wait = min(self._timer_at - time.monotonic(), LONGEST_WAIT_SECONDS)
                    self._changed.wait(max(0.0, wait))
                messages = list(self._to_observe)
                self._to_observe.clear()
                is_due = time.monotonic() >= self._timer_at
                if is_due:
                    self._timer_at = math.inf
                is_over = self.end is not None
            for text in messages:
                self._observers.message("out", text.encode("utf-8", "replace"))
            if is_over:
                break
            if is_due and on_timer is not None:
                on_timer()
        end = self.end
        assert end is not None
        self._options.logger.debug(
            "%s ended by the %s: %d %r", self.name, end.by, end.code, end.reason
        )
        seconds = time.monotonic() - self._opened_at
        self._observers.trace("closed", seconds, {"by": end.by, "code": end.code})

    @property
    def _has_work(self) -> bool:
        is_due = time.monotonic() >= self._timer_at
        return bool(self._to_observe) or is_due or self.end is not None

    # ---- any thread

    def refuse_text(self, error: RemoteProtocolError) -> bool:  # noqa: ARG002
        """Return False: the link does not end, since aiortc has already decoded the text."""
        return False

    def set_timer(self, when: float) -> None:
        """Make the writer call *on_timer* at the time *when*; see :class:`MessageLink`."""
        with self._changed:
            self._timer_at = when
            self._changed.notify_all()

    def send(self, message: str, *, timeout: float | None = None, needs_room: bool = True) -> None:
        """
        Queue one message; see :class:`MessageLink`.

        Raises:
            LocalProtocolError: The message is longer than the service accepts over WebRTC.
        """
        self._fork_guard.require(f"the connection {self.name}")
        checks.require_timeout(timeout)
        size_bytes = len(message.encode("utf-8", "replace"))
        if size_bytes > self._peer.max_message_bytes:
            raise LocalProtocolError(
                f"a message has {size_bytes} bytes, and the service accepts at most "
                f"{self._peer.max_message_bytes} bytes over WebRTC: send less in one message, or "
                "use iw.realtime.connect()"
            )
        deadline = Deadline(timeout, "sending a message")
        self._speech.handle_command(message)
        with self._changed:
            self._require_open()
            while needs_room and self._outbox_bytes > self._options.max_queued_bytes:
                if deadline.expired:
                    raise DeadlineExceeded(
                        f"the connection {self.name} had no room for a message in time"
                    )
                self._changed.wait(deadline.at_most(LONGEST_WAIT_SECONDS))
                self._require_open()
            self._outbox.append((message, size_bytes))
            self._outbox_bytes += size_bytes
        self._loop.call(self.channel_has_room)

    def send_frame(self, frame: bytes, *, timeout: float | None = None) -> None:
        """Queue 16-bit mono PCM of 48 kHz; see :class:`MessageLink`."""
        self._fork_guard.require(f"the connection {self.name}")
        if not self._peer.outgoing.put(frame, Deadline(timeout, "sending audio")):
            raise unsent_error(self.name, self._ending, self._closing)

    def settle_input(self, *, drop: bool, timeout: float | None) -> None:
        """Wait until the service has the audio; see :class:`MessageLink`."""
        self._fork_guard.require(f"the connection {self.name}")
        self._peer.outgoing.settle(drop=drop, deadline=Deadline(timeout, "sending audio"))

    def close(self, code: int = 1000, reason: str = "", *, wait: bool = True) -> None:
        """Send the queued messages, and end the link; see :class:`MessageLink`."""
        if self._fork_guard.in_child:
            return
        with self._changed:
            is_first = self._closing is None
            self._closing = self._closing or (code, reason)
        if is_first:
            self._loop.start(self._close_soon())
        if wait:
            seconds = self._options.close_timeout + _FLUSH_SECONDS
            with self._changed:
                if self._changed.wait_for(lambda: self._ending is not None, seconds):
                    return
            self.abort("closed")

    def abort(self, why: str = "") -> None:
        """End the link at once; see :class:`MessageLink`."""
        if not self._fork_guard.in_child:
            self._finish(LinkEnd(by="client", code=1006, reason=why))

    def release(self) -> None:
        """End the loop and its thread; see :class:`MessageLink`."""
        if self._fork_guard.in_child:
            return
        self.abort("released")
        if not self._loop.join(_JOIN_SECONDS):
            self._options.logger.error(
                "%s: the event loop has not ended in %g s", self.name, _JOIN_SECONDS
            )

    def has_unread(self) -> bool:
        """Return whether messages have arrived that the reader has not handled yet."""
        with self._changed:
            return self._is_handling or bool(self._inbox)

    def stats(self) -> LinkStats:
        """Return the current statistics. Audio is not counted."""
        return LinkStats(
            messages_in=self._messages_in,
            binary_messages=0,
            messages_out=self._messages_out,
            bytes_in=self._bytes_in,
            bytes_out=self._bytes_out,
            queued_bytes=self._outbox_bytes,
            rtt_ms=None,
            rtt_min_ms=None,
            connect=ConnectTimes(),
            proxy=None,
            tls_version=None,
        )

    def _require_open(self) -> None:
        if self._ending is not None or self._closing is not None:
            raise unsent_error(self.name, self._ending, self._closing) from (
                None if self._ending is None else self._ending.error
            )

    # ---- the loop

    def channel_opened(self) -> None:
        """Allow messages to be sent, because the data channel is open."""
        with self._changed:
            self._is_open = True
            self._changed.notify_all()
        self.channel_has_room()

    def channel_has_room(self) -> None:
        """Pass queued messages to the data channel while the channel has room."""
        while self._outbox:
            text, size_bytes = self._outbox[0]
            if not self._peer.send(text):
                return
            with self._changed:
                self._outbox.popleft()
                self._outbox_bytes -= size_bytes
                self._messages_out += 1
                self._bytes_out += size_bytes
                if self._observers.records:
                    self._to_observe.append(text)
                self._changed.notify_all()

    def message_arrived(self, text: str) -> None:
        """Handle a message of the service."""
        self._bytes_in += len(text)
        if len(text) > self._options.max_message_bytes:
            limit = self._options.max_message_bytes
            self._fail(
                RemoteProtocolError(
                    f"a message has {len(text)} characters, the limit is {limit}; see "
                    "max_message_bytes"
                )
            )
            return
        found = self._speech.handle_message(text, time.monotonic())
        self._deliver([(each, False) for each in found])

    def audio_arrived(self, pcm: bytes, delay_seconds: float) -> None:
        """Handle 20 ms of the service's audio."""
        found = self._speech.handle_audio(pcm, time.monotonic(), delay_seconds)
        if found:
            self._deliver([(each, _is_audio(each)) for each in found])

    def peer_ended(self, error: ConnectionLost | ConnectError | None) -> None:
        """Handle an end of the connection that this side did not begin."""
        self._deliver([(each, False) for each in self._speech.flush()])
        if error is not None:
            self._finish(LinkEnd(by="network", code=1006, reason=str(error), error=error))
        else:
            reason = "the service closed the WebRTC connection"
            self._finish(LinkEnd(by="server", code=_NO_CODE, reason=reason, clean=True))

    def _deliver(self, messages: list[tuple[str, bool]]) -> None:
        with self._changed:
            self._inbox += messages
            self._inbox_bytes += sum(len(text) for text, _ in messages)
            waiting_bytes = self._inbox_bytes + self._speech.held_characters
            is_full = waiting_bytes > _MAX_WAITING_BYTES
            self._changed.notify_all()
        if is_full:
            self._fail(
                ConnectionLost(
                    f"more than {_MAX_WAITING_BYTES // 2**20} MiB of messages and audio wait: a "
                    "consumer of the session does not read its events, or the service does not end "
                    "its responses"
                )
            )

    def _fail(self, error: TransportError | ProtocolError) -> None:
        self._finish(LinkEnd(by="client", code=1009, reason=str(error), error=error))

    async def _close_soon(self) -> None:
        until = time.monotonic() + self._options.close_timeout
        while (self._outbox or self._peer.unsent_bytes) and time.monotonic() < until:
            await asyncio.sleep(_FLUSH_SECONDS)
        code, reason = self._closing or (1000, "")
        self._finish(LinkEnd(by="client", code=code, reason=reason, clean=True))

    # ---- the end

    def _finish(self, end: LinkEnd) -> None:
        """Set how the link ends, unless this is already set, and free the aiortc objects."""
        with self._changed:
            if self._closing is not None and end.by != "client":
                code, reason = self._closing
                end = LinkEnd(by="client", code=code, reason=reason, clean=end.clean)
            self._ending = self._ending or end
            if self._ending.by == "client":
                # No thread will read the waiting messages.
                self._inbox.clear()
                self._set_end()
            is_first, self._is_shutting_down = not self._is_shutting_down, True
            self._changed.notify_all()
        self._peer.outgoing.end()
        if is_first:
            self._loop.start(self._shut_down())

    def _set_end(self) -> None:
        if self.end is None:
            self.end = self._ending
            self._changed.notify_all()

    async def _shut_down(self) -> None:
        try:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._peer.close(), _CLOSE_SECONDS)
        except Exception:
            self._options.logger.exception("%s: closing WebRTC failed", self.name)
        finally:
            self._loop.stop()


def _is_audio(text: str) -> bool:
    return text.startswith('{"type": "response.output_audio.delta"') and '"delta": ""' not in text
