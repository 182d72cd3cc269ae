"""
Simulates a phone call in real time: a caller who speaks, hears, presses keys and hangs up.

Time passes in steps of 20 ms. In each step, 20 ms of the caller's audio are sent and 20 ms of the
program's audio are played. Before a message of the program takes effect, all steps up to the
present time are done. So a busy machine does not change how much was heard before the message.

Threads: ``inworld-phone`` sends all messages of the carrier.

Lock rule: ``_changed`` guards all fields. No message is sent while ``_changed`` is held.
"""

from __future__ import annotations

import itertools
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol

from inworld_sync.audio import g711
from inworld_sync.audio.resample import Resampler
from inworld_sync.emulator.phone.carriers import CARRIERS, CallFacts, Kind, Message, Order
from inworld_sync.emulator.phone.links import InProcessSocket, TcpLink, WebSocketLink
from inworld_sync.errors import ConfigError, DeadlineExceeded
from inworld_sync.locks import Condition

__all__ = ["SimulatedCall"]

_FRAME_SECONDS = 0.02
_FRAME_MS = 20
_JOIN_SECONDS = 30.0
_ids = itertools.count(1)


class _Link(Protocol):
    def deliver(self, message: Message) -> None: ...
    def end(self) -> None: ...


class SimulatedCall:
    """
    A phone call, on the side of the carrier and of the caller.

    Leaving a ``with`` block hangs up. For a program in this process, pass :attr:`socket` to the
    class of the carrier. For a server, call :meth:`connect`.

    Args:
        carrier: ``twilio``, ``telnyx``, ``asterisk`` (``chan_websocket``) or ``audiosocket``.
        encoding: ``mulaw``, ``alaw``, ``pcm`` for 16-bit samples, or another name, which the
            carrier sends unchanged. AudioSocket always has ``pcm``.
        sample_rate_hz: Samples per second.
        call_id: The id of the call; None generates one.
        parameters: The custom parameters of the stream.

    Attributes:
        socket: A socket of this process with ``receive``, ``send`` and ``close``.
        carrier, encoding, call_id: The arguments.
        messages: All messages of the program, unchanged.
        clears: How often the program has emptied the carrier's queue of audio.
        most_queued_ms: The largest duration of queued audio so far.
        error: The error in the first wrong message of the program; None if all messages are right.
        is_over: Whether the program or the caller has ended the call.

    Thread safety: every method may be called from any thread.
    """

    def __init__(
        self,
        carrier: Kind = "twilio",
        *,
        encoding: str = "mulaw",
        sample_rate_hz: int = 8000,
        call_id: str | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> None:
        if carrier not in CARRIERS:
            raise ConfigError(f"carrier must be one of {', '.join(CARRIERS)}, got {carrier!r}")
        if carrier == "audiosocket":
            encoding = "pcm"
        self.carrier, self.encoding, self._rate_hz = carrier, encoding, sample_rate_hz
        self.call_id = call_id or (str(uuid.uuid4()) if carrier == "audiosocket" else _new_id())
        facts = CallFacts(
            call_id=self.call_id,
            stream_id=f"MZ{next(_ids):032d}",
            encoding=encoding,
            sample_rate_hz=sample_rate_hz,
            parameters=parameters or {},
        )
        self._messages = CARRIERS[carrier](facts)
        self._sample_bytes = 2 if encoding == "pcm" else 1
        self._frame_bytes = sample_rate_hz * _FRAME_MS // 1000 * self._sample_bytes
        self._changed = Condition()
        self._said = bytearray()
        self._queue: deque[bytes | str] = deque()
        self._heard = bytearray()
        self._line = bytearray()
        # The frame of the present step, and all frames that were sent.
        self._saying = b""
        self._spoken = bytearray()
        self._steps = 0
        self._began = 0.0
        self._is_paused = False
        # The marks that are reached in the present step, and the messages to send.
        self._reached: list[str] = []
        self._outgoing: deque[Message] = deque()
        self.messages: list[Message] = []
        self.clears = 0
        self.most_queued_ms = 0.0
        self.is_over = False
        self.error: Exception | None = None
        self.socket = InProcessSocket(self._receive)
        self._link: _Link = self.socket
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin the call with a program in this process. The program uses :attr:`socket`."""
        self._outgoing.extend(self._messages.opening())
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="inworld-phone", daemon=True)
        self._thread.start()

    def connect(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        """
        Begin the call with a server.

        Args:
            url: The address of the server's WebSocket, or ``tcp://HOST:PORT`` for AudioSocket.
            headers: Headers of the upgrade request, such as a signature.
        """
        if url.startswith("tcp://"):
            host, _, port = url.removeprefix("tcp://").rpartition(":")
            self._link = TcpLink(host, int(port), self._receive)
        else:
            self._link = WebSocketLink(url, headers or {}, self._receive)
        self.start()

    def __enter__(self) -> SimulatedCall:
        return self

    def __exit__(self, *_: object) -> None:
        self.hang_up()

    # The caller.

    def say(self, pcm: bytes | memoryview, sample_rate_hz: int) -> None:
        """Speak 16-bit little-endian PCM, after all speech that is in the queue."""
        resampler = Resampler(sample_rate_hz, self._rate_hz)
        audio = self._encode(resampler.feed(bytes(pcm)) + resampler.finish())
        with self._changed:
            self._said += audio

    def press(self, digits: str) -> None:
        """Press the keys *digits* of the phone."""
        with self._changed:
            self._outgoing.extend(map(self._messages.key, digits))
            self._changed.notify_all()

    def hang_up(self) -> None:
        """End the call; may be called twice."""
        self._end(is_ours=True)
        if self._thread is None:
            self._link.end()
        elif self._thread is not threading.current_thread():
            self._thread.join(_JOIN_SECONDS)

    def pause(self) -> None:
        """Stop sending and playing, as a carrier whose network has failed."""
        with self._changed:
            self._is_paused = True

    # The audio that the caller has heard.

    @property
    def heard(self) -> bytes:
        """
        The audio of the program that was played, without the silence between the pieces.

        The audio has the encoding of the call.
        """
        with self._changed:
            self._advance()
            return bytes(self._heard)

    @property
    def line(self) -> bytes:
        """The audio that was heard since the start of the call, with silence, as 16-bit PCM."""
        with self._changed:
            return bytes(self._line)

    @property
    def spoken(self) -> bytes:
        """The audio that the caller has sent since the start of the call, as 16-bit PCM."""
        with self._changed:
            return bytes(self._spoken)

    @property
    def heard_ms(self) -> float:
        """The duration of :attr:`heard`."""
        return len(self.heard) / self._sample_bytes * 1000.0 / self._rate_hz

    @property
    def queued_ms(self) -> float:
        """The duration of the program's audio that is not played yet."""
        with self._changed:
            return self._queued_bytes() / self._sample_bytes * 1000.0 / self._rate_hz

    def wait(self, is_reached: Callable[[SimulatedCall], object], timeout: float = 30.0) -> None:
        """
        Wait until a condition is true. The condition is checked every 20 ms.

        Raises:
            DeadlineExceeded: The condition did not become true within *timeout* seconds.
            Exception: The program has sent a message that the carrier refuses.
        """
        deadline = time.monotonic() + timeout
        while not is_reached(self):
            if self.error is not None:
                raise self.error
            if time.monotonic() > deadline:
                raise DeadlineExceeded(
                    f"the condition was not reached after {timeout:g} s: {self.heard_ms:.0f} ms "
                    f"were heard, the call is {'over' if self.is_over else 'in progress'}"
                )
            with self._changed:
                self._changed.wait(_FRAME_SECONDS)

    # The program's messages.

    def _receive(self, message: Message | None) -> None:
        if message is None:
            self._end(is_ours=False)
            return
        with self._changed:
            self._advance()
            self.messages.append(message)
            try:
                order = self._messages.read(message)
            except Exception as error:  # noqa: BLE001 - the message may be anything
                self.error = self.error or error
                order = Order("other")
            self._apply(order)
            self._changed.notify_all()
        if order.kind == "hang_up":
            self._end(is_ours=False)

    def _end(self, *, is_ours: bool) -> None:
        with self._changed:
            if self.is_over:
                return
            self._advance()
            stop = self._messages.stop()
            if is_ours and stop is not None and not self._is_paused:
                self._outgoing.append(stop)
            self.is_over = True
            self._changed.notify_all()

    # The methods below are called with ``_changed`` held.

    def _apply(self, order: Order) -> None:
        if order.kind == "audio":
            self._queue.append(order.audio)
            queued_ms = self._queued_bytes() / self._sample_bytes * 1000.0 / self._rate_hz
            self.most_queued_ms = max(self.most_queued_ms, queued_ms)
        elif order.kind == "mark" and self._queue:
            self._queue.append(order.name)
        elif order.kind == "mark":
            self._reached.append(order.name)
        elif order.kind == "clear":
            self.clears += 1
            waiting = [each for each in self._queue if isinstance(each, str)]
            self._outgoing.extend(map(self._messages.mark, self._reached + waiting))
            self._reached.clear()
            self._queue.clear()
        elif order.kind == "status":
            frames = -(-self._queued_bytes() // self._frame_bytes)
            self._outgoing.append(self._messages.status(frames))

    def _queued_bytes(self) -> int:
        return sum(len(each) for each in self._queue if isinstance(each, bytes))

    def _advance(self) -> None:
        """Do all steps up to now."""
        while (
            self._thread is not None
            and not (self.is_over or self._is_paused)
            and time.monotonic() >= self._began + self._steps * _FRAME_SECONDS
        ):
            self._steps += 1
            self._step()

    def _step(self) -> None:
        self._outgoing.extend(map(self._messages.mark, self._reached))
        self._reached.clear()
        said = bytes(self._said[: self._frame_bytes])
        del self._said[: self._frame_bytes]
        said += self._encode(bytes((self._frame_bytes - len(said)) // self._sample_bytes * 2))
        # A carrier sends a frame when its 20 ms have passed.
        if self._saying:
            self._spoken += self._decode(self._saying)
            self._outgoing.append(self._messages.media(self._saying, self._steps - 1))
        self._saying = said
        played = b""
        while self._queue and (len(played) < self._frame_bytes or isinstance(self._queue[0], str)):
            first = self._queue.popleft()
            if isinstance(first, str):
                self._reached.append(first)
                continue
            missing = self._frame_bytes - len(played)
            played += first[:missing]
            if first[missing:]:
                self._queue.appendleft(first[missing:])
        self._heard += played
        pcm = self._decode(played)
        self._line += pcm + bytes(self._rate_hz * _FRAME_MS // 1000 * 2 - len(pcm))

    # The thread.

    def _run(self) -> None:
        while True:
            with self._changed:
                self._advance()
                is_over = self.is_over
                messages = list(self._outgoing)
                self._outgoing.clear()
                if not messages and not is_over:
                    due = self._began + self._steps * _FRAME_SECONDS
                    self._changed.wait(min(max(due - time.monotonic(), 0.001), _FRAME_SECONDS))
            for message in messages:
                self._link.deliver(message)
            if is_over:
                self._link.end()
                return

    def _encode(self, pcm: bytes) -> bytes:
        if self.encoding == "alaw":
            return g711.encode_alaw(pcm)
        return pcm if self.encoding == "pcm" else g711.encode_ulaw(pcm)

    def _decode(self, audio: bytes) -> bytes:
        if self.encoding == "alaw":
            return g711.decode_alaw(audio)
        return audio if self.encoding == "pcm" else g711.decode_ulaw(audio)


def _new_id() -> str:
    return "CA" + uuid.uuid4().hex
