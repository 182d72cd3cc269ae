"""
Turns messages into frames, applies the faults of the connection, and sends the frames.

Most of this module concerns faults.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence

from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol

from inworld_sync.emulator.faults import Cut, Fault, FaultKind, delay_or_cut, fault_kinds
from inworld_sync.emulator.status import status
from inworld_sync.emulator.stream import Stream

__all__ = ["FrameWriter", "send_slowly"]

_ODD_FRAMES = {
    FaultKind.RESERVED_OPCODE: b"\x83\x03abc",
    FaultKind.BAD_UTF8: b"\x81\x02\xc3\x28",
    FaultKind.MASKED: b"\x81\x82\x00\x00\x00\x00{}",
    FaultKind.PING: b"\x89\x05fault",
}
_SLOW_STEP_BYTES = 64


def send_slowly(
    stream: Stream, data: bytes, bytes_per_second: float, ended: threading.Event
) -> None:
    """Send *data* in small steps at a constant rate. Stop when *ended* is set."""
    for at in range(0, len(data), _SLOW_STEP_BYTES):
        step = data[at : at + _SLOW_STEP_BYTES]
        stream.send(step)
        if ended.wait(len(step) / bytes_per_second):
            return


class FrameWriter:
    """
    Sends the messages of one WebSocket.

    Attributes:
        is_closed: Whether a CLOSE has been sent.

    Thread safety: only the writer thread of the connection uses this object.
    """

    def __init__(
        self,
        stream: Stream,
        protocol: ServerProtocol,
        state: threading.Lock,
        faults: Sequence[Fault],
        ended: threading.Event,
    ) -> None:
        self.is_closed = False
        self._stream = stream
        self._protocol = protocol
        self._state = state
        self._faults = tuple(faults)
        self._ended = ended
        self._sent = 0
        self._bytes_per_second = 0.0

    def send(self, message: bytes) -> None:
        """
        Send one message, with the faults that affect it.

        Raises:
            Cut: A fault has ended the TCP connection, so that no CLOSE can follow.
        """
        due = [fault for fault in self._faults if fault.is_due(self._sent)]
        self._sent += 1
        for fault in due:
            delay_or_cut(fault, self._stream, self._ended)
            self._strike(fault, message)
            if self.is_closed:
                return
        if not any(fault.kind in _INSTEAD for fault in due):
            self._frame(message)

    def close(self, code: int, reason: str) -> None:
        """Send a CLOSE. The client's CLOSE then ends the connection."""
        with self._state:
            self._protocol.send_close(code, reason)
            self.is_closed = True
            frames = b"".join(self._protocol.data_to_send())
        self._stream.send(frames)

    def _frames_of(self, message: bytes, *, binary: bool = False) -> bytes:
        with self._state:
            if binary:
                self._protocol.send_binary(message)
            else:
                self._protocol.send_text(message)
            return b"".join(self._protocol.data_to_send())

    def _frame(self, message: bytes, *, binary: bool = False) -> None:
        self._raw(self._frames_of(message, binary=binary))

    def _raw(self, data: bytes) -> None:
        if self._bytes_per_second:
            send_slowly(self._stream, data, self._bytes_per_second, self._ended)
        else:
            self._stream.send(data)

    def _strike(self, fault: Fault, message: bytes) -> None:
        kind, value = fault.kind, fault.value
        if kind is FaultKind.SLOW:
            self._bytes_per_second = value
        elif kind is FaultKind.HALF_FRAME:
            frames = self._frames_of(message)
            self._stream.send(frames[: len(frames) // 2])
            raise Cut
        elif kind is FaultKind.CLOSE:
            self.close(int(value), "fault")
        elif kind is FaultKind.FATAL_ERROR:
            self._frame(_error(int(value)))
            self.close(1000, "")
        else:
            self._odd_frame(fault, message)

    def _odd_frame(self, fault: Fault, message: bytes) -> None:
        kind, size = fault.kind, int(fault.value)
        texts = {
            FaultKind.BAD_JSON: message[:-2],
            FaultKind.DUPLICATE: message,
            FaultKind.ERROR: _error(size),
            FaultKind.UNKNOWN_MESSAGE: b'{"result":{"somethingNew":{"answer":42}}}',
        }
        if kind in texts:
            self._frame(texts[kind])
        elif kind in _ODD_FRAMES:
            self._raw(_ODD_FRAMES[kind])
        elif kind is FaultKind.BINARY:
            self._frame(message, binary=True)
        elif kind is FaultKind.HUGE_FRAME:
            self._raw(b"\x81\x7f" + size.to_bytes(8, "big"))
        elif kind is FaultKind.FRAGMENTS:
            self._fragments(message, size)

    def _fragments(self, message: bytes, size: int) -> None:
        pieces = [message[at : at + size] for at in range(0, len(message), size)]
        for index, piece in enumerate(pieces):
            opcode = Opcode.TEXT if index == 0 else Opcode.CONT
            frame = Frame(opcode, piece, fin=index == len(pieces) - 1)
            self._raw(frame.serialize(mask=False))


# Faults whose frame replaces the message.
_INSTEAD = fault_kinds("bad_json binary bad_utf8 reserved_opcode masked huge_frame fragments lose")


def _error(code: int) -> bytes:
    return json.dumps({"error": status(code, "fault")}).encode()
