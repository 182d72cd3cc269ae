"""
Reads WebSocket frames and messages from received bytes.

This module uses no I/O, clock or lock. Section 5 of RFC 6455 has the rules.
"""

from __future__ import annotations

import struct

from inworld_sync.audio.masking import mask
from inworld_sync.errors import RemoteProtocolError

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "FIN",
    "PING",
    "PONG",
    "TEXT",
    "FrameError",
    "MessageBuffer",
    "close_payload",
    "parse_close",
    "unmask",
]

FIN = 0x80
CONTINUATION, TEXT, BINARY = 0x0, 0x1, 0x2
CLOSE, PING, PONG = 0x8, 0x9, 0xA

_OPCODES = frozenset({CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG})
_RESERVED_BITS = 0x70
_MASKED = 0x80
_MAX_CONTROL_BYTES = 125

# The buffer starts small, because most connections receive little. On a busy connection, the buffer
# grows to 1 MiB, which halves the cost of receiving. A larger message gets a larger buffer, which
# is freed after the message.
_FIRST_BYTES = 64 * 1024
_USUAL_BYTES = 1024 * 1024

# If less space than this is free at the end of the buffer, the bytes are moved to the start.
_LEAST_ROOM_BYTES = 16 * 1024


class FrameError(RemoteProtocolError):
    """
    The server sent a frame that RFC 6455 forbids.

    Attributes:
        code: The code for the CLOSE frame that answers the wrong frame (RFC 6455, section 7.4.1).
    """

    def __init__(self, message: str, code: int = 1002) -> None:
        super().__init__(message)
        self.code = code


class MessageBuffer:
    """
    Buffers received bytes, and returns the messages and control frames in them.

    Attributes:
        needs_bytes: Whether more bytes must be received before :meth:`pop` can return anything.

    Args:
        max_message_bytes: The size of the longest message to accept.
        received: The bytes that were received together with the response to the upgrade.
    """

    def __init__(self, max_message_bytes: int, received: bytes = b"") -> None:
        self._max = max_message_bytes
        # The fragments of a message that is not complete, and the opcode of the first fragment.
        self._fragments: bytearray | None = None
        self._fragments_opcode = TEXT
        self._buffer = bytearray(max(_FIRST_BYTES, len(received)))
        self._buffer[: len(received)] = received
        self._view = memoryview(self._buffer)
        self._start = 0
        self._stop = len(received)
        self._needed = 2
        self.needs_bytes = not received

    def pop(self, received_bytes: int = 0) -> tuple[int, memoryview] | None:
        """
        If the next message or control frame is complete, remove it and return it.

        Args:
            received_bytes: How many bytes were received into :meth:`room` since the last call.

        Returns:
            The opcode (TEXT, BINARY, PING, PONG or CLOSE) and the payload, which is valid until
            the next call of :meth:`room`; or None if more bytes are needed.

        Raises:
            FrameError: The server broke a rule of RFC 6455, or a text message is not UTF-8. Errors
                in a header are found before the payload is received.
        """
        # This code is one function, because the caches of the CPU are cold after a wait. Then the
        # call of a second function would take longer than the work of that function.
        if received_bytes:
            self._stop += received_bytes
            size = len(self._buffer)
            if self._stop == size < _USUAL_BYTES and received_bytes > size // 2:
                self._resize(4 * size)
        self.needs_bytes = True
        while True:
            start, buffer, fragments = self._start, self._buffer, self._fragments
            held = self._stop - start
            if held < 2:
                self._needed = 2
                return None
            first, size = buffer[start], buffer[start + 1]
            header = 2
            if size >= 126:
                if size & _MASKED:
                    raise FrameError("the server masked a frame, which only a client may do")
                header = 4 if size == 126 else 10
                if held < header:
                    self._needed = header
                    return None
                size = int.from_bytes(buffer[start + 2 : start + header], "big")
            opcode, message_bytes = first & 0x0F, size
            if first != FIN | TEXT or fragments is not None:
                _check_first_byte(first, size, has_fragments=fragments is not None)
                if fragments is not None and opcode < CLOSE:
                    message_bytes += len(fragments)
            if message_bytes > self._max:
                raise FrameError(
                    f"a message may have at most {self._max} bytes, the server sent a message of "
                    f"{message_bytes} bytes or more; see max_message_bytes",
                    1009,
                )
            if held < header + size:
                self._needed = header + size
                return None
            self._start = stop = start + header + size
            payload = self._view[start + header : stop]
            if opcode < CLOSE and (not first & FIN or fragments is not None):
                self._add_fragment(opcode, payload)
                if not first & FIN:
                    continue
                opcode, payload = self._join_fragments()
            self.needs_bytes = stop == self._stop
            return opcode, payload

    def _add_fragment(self, opcode: int, payload: memoryview) -> None:
        if self._fragments is None:
            self._fragments = bytearray()
            self._fragments_opcode = opcode
        self._fragments += payload

    def _join_fragments(self) -> tuple[int, memoryview]:
        message, self._fragments = memoryview(self._fragments or b""), None
        return self._fragments_opcode, message

    def room(self) -> memoryview:
        """Return free space to receive into. Payloads that :meth:`pop` returned become invalid."""
        held = self._stop - self._start
        size = len(self._buffer)
        if not held:
            self._start = self._stop = 0
            if size > _USUAL_BYTES:
                self._resize(_FIRST_BYTES)
        elif self._needed > size:
            self._resize(max(self._needed, min(4 * size, _USUAL_BYTES)))
        elif self._start + self._needed > size or size - self._stop < _LEAST_ROOM_BYTES:
            self._view[:held] = self._view[self._start : self._stop]
            self._start, self._stop = 0, held
        return self._view[self._stop :]

    def _resize(self, size: int) -> None:
        held = self._view[self._start : self._stop]
        buffer = bytearray(size)
        buffer[: len(held)] = held
        self._start, self._stop = 0, len(held)
        self._buffer, self._view = buffer, memoryview(buffer)


def _check_first_byte(first: int, size: int, *, has_fragments: bool) -> None:
    opcode = first & 0x0F
    if first & _RESERVED_BITS:
        raise FrameError("the server set a reserved bit, but no extension was negotiated")
    if opcode not in _OPCODES:
        raise FrameError(f"the server sent a frame with the unknown opcode {opcode:#x}")
    if opcode >= CLOSE:
        if not first & FIN:
            raise FrameError("the server fragmented a control frame")
        if size > _MAX_CONTROL_BYTES:
            raise FrameError(f"a control frame may have at most 125 bytes, the server sent {size}")
    elif (opcode == CONTINUATION) is not has_fragments:
        raise FrameError("the server mixed the fragments of two messages")


def unmask(frame: bytes) -> bytes:
    """Return the payload of one complete masked frame."""
    begin = {126: 4, 127: 10}.get(frame[1] & 0x7F, 2)
    return mask(frame[begin + 4 :], frame[begin : begin + 4])


def close_payload(code: int, reason: str) -> bytes:
    """Return the payload of a CLOSE frame. A reason over 123 bytes is cut between characters."""
    text = reason.encode()[: _MAX_CONTROL_BYTES - 2].decode(errors="ignore")
    return struct.pack("!H", code) + text.encode()


def parse_close(payload: memoryview) -> tuple[int, str]:
    """
    Return the code and the reason of a CLOSE frame.

    If the frame has no code, the code is 1005 (RFC 6455, section 7.1.5).

    Raises:
        FrameError: RFC 6455 forbids sending the code, or the reason is not UTF-8.
    """
    if not payload:
        return 1005, ""
    if len(payload) == 1:
        raise FrameError("a close code has 2 bytes, the server sent 1 byte")
    code = int.from_bytes(payload[:2], "big")
    # RFC 6455, section 7.4: codes below 1000 are not used; 1004 to 1006 and 1015 are not sent.
    if not 1000 <= code < 5000 or code in {1004, 1005, 1006, 1015}:
        raise FrameError(f"the server closed with code {code}, which must not be sent")
    try:
        return code, str(payload[2:], "utf-8")
    except UnicodeDecodeError as error:
        raise FrameError("the reason in the server's CLOSE frame is not UTF-8", 1007) from error
