"""
Serves Asterisk's AudioSocket: a TCP server to which Asterisk connects for each call.

A frame has a type (1 byte), a length (2 bytes, big-endian) and a payload. AudioSocket has no marks
and no command that empties a queue: Asterisk plays each frame at once. So each frame is sent only
shortly before it is due, and the elapsed time shows how much was heard.

Threads: ``inworld-audiosocket`` accepts connections, and one thread ``inworld-audiosocket-call``
runs each call.

Sources: Asterisk, "AudioSocket"; asterisk#1492 for the types of higher rates.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import struct
import threading
import time
import uuid
from collections.abc import Callable

from inworld_sync.errors import ConfigError, RemoteProtocolError
from inworld_sync.locks import Event, make_lock
from inworld_sync.telephony.bridge import Bridge
from inworld_sync.telephony.calls import (
    CallAudio,
    CallControl,
    CallStart,
    CallStopped,
    CallSummary,
    CarrierFault,
    CarrierMessage,
    Connect,
    KeyPressed,
    WrongFormat,
)
from inworld_sync.telephony.codec import KEYS
from inworld_sync.telephony.formats import CallFormat
from inworld_sync.telephony.options import CallOptions
from inworld_sync.telephony.output import Pacing
from inworld_sync.transport.deadline import LONGEST_WAIT_SECONDS
from inworld_sync.transport.framework_socket import Message

__all__ = ["AudioSocketCodec", "AudioSocketServer", "FrameSocket"]

_HANGUP, _UUID, _KEY, _SLIN, _ERROR = 0x00, 0x01, 0x03, 0x10, 0xFF
_RATES_HZ = {
    0x10: 8000,
    0x11: 12000,
    0x12: 16000,
    0x13: 24000,
    0x14: 32000,
    0x15: 44100,
    0x16: 48000,
    0x17: 96000,
    0x18: 192000,
}
_FRAMES_A_SECOND = 50
_HEAD = struct.Struct("!BH")
_UUID_BYTES = 16

_SEND_SECONDS = 10.0
_FIRST_SECONDS = 5.0
_ACCEPT_SECONDS = 0.5
_JOIN_SECONDS = 5.0
_BACKLOG = 64

# How much audio is sent before it is due. Sent audio cannot be taken back, so an interruption takes
# effect after this delay.
_LEAD_MS = 40
_DELAY_MS = 40


class FrameSocket:
    """
    Reads and writes whole frames on a TCP connection.

    Args:
        connection: The connection; this object closes it.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.settimeout(_SEND_SECONDS)
        self._received = bytearray()

    def receive(self, timeout: float) -> bytes:
        """
        Return the next frame; b"" at the end of the connection.

        Raises:
            TimeoutError: No complete frame was received for *timeout* seconds.
        """
        until = time.monotonic() + timeout
        while (frame := self._frame()) is None:
            if not _is_readable(self._socket, max(until - time.monotonic(), 0.0)):
                raise TimeoutError
            data = self._socket.recv(65536)
            if not data:
                return b""
            self._received += data
        return frame

    def send(self, data: str | bytes) -> None:
        """Send a frame."""
        assert isinstance(data, bytes)
        self._socket.sendall(data)

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _frame(self) -> bytes | None:
        if len(self._received) < _HEAD.size:
            return None
        _, length = _HEAD.unpack_from(self._received)
        size_bytes = _HEAD.size + length
        if len(self._received) < size_bytes:
            return None
        frame = bytes(self._received[:size_bytes])
        del self._received[:size_bytes]
        return frame


def _is_readable(connection: socket.socket, timeout: float) -> bool:
    # Windows has no poll. On other systems, select cannot wait for a descriptor above 1023.
    with getattr(selectors, "PollSelector", selectors.SelectSelector)() as selector:
        selector.register(connection, selectors.EVENT_READ)
        return bool(selector.select(timeout))


class AudioSocketCodec:
    """
    The frames of one call; see :class:`~inworld_sync.telephony.codec.Codec`.

    Args:
        call_id: The UUID of the call.
        sample_rate_hz: The rate of the audio. With None, the first frame gives the rate.
    """

    name = "AudioSocket"
    closing_ends_call = True
    pacing = Pacing(
        lead_ms=_LEAD_MS,
        start_ms=60,
        delay_ms=_DELAY_MS,
        pads_tails=True,
        reports="none",
        can_clear=False,
    )

    def __init__(self, call_id: str, sample_rate_hz: int | None = None) -> None:
        self._call_id = call_id
        self._wanted_hz = sample_rate_hz
        # The type of the call's audio frames; None before the first audio frame.
        self._kind: int | None = None

    def read(self, message: Message) -> CarrierMessage | None:
        """Read a frame."""
        if isinstance(message, str) or len(message) < _HEAD.size:
            raise RemoteProtocolError("a frame of AudioSocket must have 3 bytes or more")
        kind, payload = message[0], message[_HEAD.size :]
        if kind in _RATES_HZ:
            return self._start(kind, payload) if self._kind is None else self._audio(kind, payload)
        if kind == _KEY:
            digit = payload[:1].decode("ascii", "replace").upper()
            return KeyPressed(digit) if digit in KEYS else None
        if kind == _HANGUP:
            return CallStopped()
        if kind == _ERROR:
            return CarrierFault(f"Asterisk reports error {payload.hex() or 'without a number'}")
        raise RemoteProtocolError(f"a frame of AudioSocket has the unexpected type 0x{kind:02x}")

    def begin(self) -> Message | None:
        """Return None: Asterisk has already answered the call."""
        return None

    def media(self, audio: bytes) -> Message:
        """Return a frame of audio."""
        return _HEAD.pack(_SLIN if self._kind is None else self._kind, len(audio)) + audio

    def report(self, name: str) -> Message | None:  # noqa: ARG002 - there are no reports
        """Return None."""
        return None

    def clear(self) -> Message | None:
        """Return None: there is no queue."""
        return None

    def hang_up(self) -> Message | None:
        """Return the frame that ends the call."""
        return _HEAD.pack(_HANGUP, 0)

    def _start(self, kind: int, payload: bytes) -> CarrierMessage:
        """
        Read the first frame, whose length gives the rate. The 20 ms of audio of the frame are
        dropped.

        The type does not give the rate: before asterisk#1492, the type is 0x10 for every codec, and
        an early version of that change used 0x11 for 16 kHz.
        """
        rate_hz = len(payload) // 2 * _FRAMES_A_SECOND
        is_known = len(payload) % 2 == 0 and rate_hz in _RATES_HZ.values()
        if not is_known or self._wanted_hz not in (None, rate_hz):
            wanted = "of a known rate" if self._wanted_hz is None else f"at {self._wanted_hz} Hz"
            return WrongFormat(
                f"the first frame has {len(payload)} bytes, which is not 20 ms of 16-bit audio "
                f"{wanted} (160 bytes are mu-law or A-law): write c(slin) or c(slin16) in the "
                "dialplan"
            )
        self._kind = kind
        call_format = CallFormat("pcm", rate_hz)
        return CallStart(self._call_id, self._call_id, call_format, call_format)

    def _audio(self, kind: int, payload: bytes) -> CarrierMessage:
        if kind != self._kind or len(payload) % 2:
            return WrongFormat(
                f"the call has frames of type 0x{self._kind:02x}, got one of type 0x{kind:02x} "
                f"with {len(payload)} bytes"
            )
        return CallAudio(payload)


class AudioSocketServer:
    """
    A TCP server for the AudioSocket of Asterisk; each call runs on its own thread.

    AudioSocket has neither authentication nor TLS. So the server listens on the loopback interface
    unless you give another host, and *on_call* should accept only UUIDs that your dialplan has
    made.

    Args:
        connect: Opens the session of a call; gets the :class:`CallStart`, whose ``call_id`` is the
            UUID.
        host: The address to listen on.
        port: The port; 0 chooses a free port.
        on_call: Gets the UUID of a call, and returns whether to accept it. None accepts all calls.
        on_end: Gets the :class:`CallSummary` of each call.
        sample_rate_hz: The sample rate in Hz, which is 8000 for the dialplan's application
            ``AudioSocket``. A call with another rate ends. With None, the first frame of each call
            gives the rate.
        options: The settings of all calls, or a function that gets a UUID and returns settings.
        control: Your own commands to Asterisk; needed for transfers.
        logger: Receives the log of the calls.

    Raises:
        ConfigError: An argument is wrong.
        OSError: The port is in use.

    Thread safety: every method may be called from any thread.

    Attributes:
        port: The port on which the server listens.
    """

    def __init__(
        self,
        connect: Connect,
        *,
        host: str = "127.0.0.1",
        port: int = 9092,
        on_call: Callable[[str], bool] | None = None,
        on_end: Callable[[CallSummary], object] | None = None,
        sample_rate_hz: int | None = 8000,
        options: CallOptions | Callable[[str], CallOptions] | None = None,
        control: CallControl | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        if sample_rate_hz is not None and sample_rate_hz not in _RATES_HZ.values():
            rates = ", ".join(map(str, _RATES_HZ.values()))
            raise ConfigError(f"sample_rate_hz must be one of {rates}, got {sample_rate_hz!r}")
        self._connect, self._options, self._control = connect, options, control
        self._on_call, self._on_end, self._rate_hz = on_call, on_end, sample_rate_hz
        self._logger = logger or logging.getLogger("inworld_sync")
        self._lock = make_lock()
        self._calls: dict[threading.Thread, FrameSocket] = {}
        self._bridges: dict[threading.Thread, Bridge] = {}
        self._is_over = Event()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(
            target=self._accept, name="inworld-audiosocket", daemon=True
        )
        self._thread.start()

    def serve_forever(self) -> None:
        """Wait until :meth:`close` is called, or until Ctrl-C."""
        while not self._is_over.wait(LONGEST_WAIT_SECONDS):
            pass

    def close(self) -> None:
        """Accept no more calls, and end the calls in progress. May be called twice."""
        self._is_over.set()
        self._thread.join(_JOIN_SECONDS)
        with self._lock:
            calls, bridges = dict(self._calls), dict(self._bridges)
        for thread, connection in calls.items():
            if thread in bridges:
                bridges[thread].hang_up(after_speech=False)
            else:
                connection.close()
        for thread, connection in calls.items():
            # A handler of a call may close the server.
            if thread is not threading.current_thread():
                thread.join(_JOIN_SECONDS)
            connection.close()

    def __enter__(self) -> AudioSocketServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        with self._listener:
            while not self._is_over.is_set():
                if not _is_readable(self._listener, _ACCEPT_SECONDS):
                    continue
                try:
                    connection, _ = self._listener.accept()
                    self._begin(connection)
                # RuntimeError: the system cannot start another thread.
                except (OSError, RuntimeError) as error:
                    self._logger.warning("AudioSocket: a call could not be accepted: %s", error)
                    self._is_over.wait(_ACCEPT_SECONDS)

    def _begin(self, connection: socket.socket) -> None:
        with contextlib.ExitStack() as undo:
            undo.callback(connection.close)
            frames = FrameSocket(connection)
            thread = threading.Thread(
                target=self._run, args=(frames,), name="inworld-audiosocket-call", daemon=True
            )
            with self._lock:
                thread.start()
                self._calls[thread] = frames
            undo.pop_all()

    def _run(self, connection: FrameSocket) -> None:
        try:
            call_id = self._call_id(connection)
            if call_id is not None:
                bridge = self._bridge(connection, call_id)
                with self._lock:
                    self._bridges[threading.current_thread()] = bridge
                if self._is_over.is_set():
                    return
                summary = bridge.run()
                if self._on_end is not None:
                    self._on_end(summary)
        except Exception:
            self._logger.exception("AudioSocket: a call failed")
        finally:
            connection.close()
            with self._lock:
                self._calls.pop(threading.current_thread(), None)
                self._bridges.pop(threading.current_thread(), None)

    def _bridge(self, connection: FrameSocket, call_id: str) -> Bridge:
        return Bridge(
            connection,
            self._connect,
            AudioSocketCodec(call_id, self._rate_hz),
            options=self._options(call_id) if callable(self._options) else self._options,
            control=self._control,
            logger=self._logger,
        )

    def _call_id(self, connection: FrameSocket) -> str | None:
        """Return the UUID of a call that is accepted; None if the call is refused."""
        try:
            frame = connection.receive(_FIRST_SECONDS)
        except (TimeoutError, OSError):
            frame = b""
        if frame[:1] != bytes([_UUID]) or len(frame) != _HEAD.size + _UUID_BYTES:
            self._logger.warning("AudioSocket: a connection did not begin with a UUID")
            return None
        call_id = str(uuid.UUID(bytes=frame[_HEAD.size :]))
        if self._on_call is not None and not self._on_call(call_id):
            self._logger.warning("AudioSocket: the call %s was refused", call_id)
            return None
        return call_id
