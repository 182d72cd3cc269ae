"""
WebSocket frames: taking them out of received bytes, and what stands in them.

No I/O, no clock, no lock. Source of the rules: RFC 6455, section 5.
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
    "Fragments",
    "FrameBuffer",
    "FrameError",
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

# The buffer begins small, since most links are quiet, and grows to what halves the cost of a busy
# one; a message that is larger still gets a buffer of its own, which is dropped after it.
_FIRST_BYTES = 64 * 1024
_USUAL_BYTES = 1024 * 1024

# Less free room than this at the end is not worth a read.
_LEAST_ROOM_BYTES = 16 * 1024


class FrameError(RemoteProtocolError):
    """
    The peer broke the rules of frames.

    Attributes:
        code: The close code to tell it (RFC 6455, section 7.4.1).
    """

    def __init__(self, message: str, code: int = 1002) -> None:
        super().__init__(message)
        self.code = code


class Fragments:
    """The message whose fragments are coming, if there is one."""

    def __init__(self) -> None:
        self._joined: bytearray | None = None

    @property
    def is_open(self) -> bool:
        """Whether a message is under way."""
        return self._joined is not None

    @property
    def size_bytes(self) -> int:
        """How much of it has come."""
        return 0 if self._joined is None else len(self._joined)

    def join(self, first: int, payload: memoryview) -> memoryview | None:
        """
        Add a data frame; give the message that it ends, if it ends one.

        Raises:
            FrameError: It belongs to another message than the one under way.
        """
        if (first & 0x0F == CONTINUATION) is (self._joined is None):
            raise FrameError("the server mixed up the fragments of two messages")
        if self._joined is None:
            self._joined = bytearray()
        self._joined += payload
        if not first & FIN:
            return None
        whole, self._joined = memoryview(self._joined), None
        return whole


class FrameBuffer:
    """
    Received bytes, and the frames in them.

    Args:
        max_message_bytes: The longest payload to accept.
        received: What came before, together with the answer to the upgrade.
    """

    def __init__(self, max_message_bytes: int, received: bytes = b"") -> None:
        self._max = max_message_bytes
        self._buffer = bytearray(max(_FIRST_BYTES, len(received)))
        self._buffer[: len(received)] = received
        self._view = memoryview(self._buffer)
        self._start = 0
        self._stop = len(received)
        self._needed = 2

    def frame(self, message_bytes: int = 0) -> tuple[int, memoryview] | None:
        """
        Take out the next frame if all of it is here.

        Args:
            message_bytes: How much of a fragmented message went before, for the limit.

        Returns:
            The frame's first byte (FIN and opcode) and its payload, which is valid until
            :meth:`room` is called; or None when more bytes are needed.

        Raises:
            FrameError: The peer broke a rule, found out from the header alone.
        """
        start = self._start
        held = self._stop - start
        if held < 2:
            self._needed = 2
            return None
        buffer = self._buffer
        first, size = buffer[start], buffer[start + 1]
        header = 2
        if size >= 126:
            if size & _MASKED:
                raise FrameError("the server masked a frame, which only clients may")
            header = 4 if size == 126 else 10
            if held < header:
                self._needed = header
                return None
            size = int.from_bytes(buffer[start + 2 : start + header], "big")
        if first != FIN | TEXT:
            _check_first_byte(first, size)
        if message_bytes + size > self._max:
            raise FrameError(
                f"a message of at most {self._max} bytes was expected, "
                f"the server announced {message_bytes + size}; see max_message_bytes",
                1009,
            )
        if held < header + size:
            self._needed = header + size
            return None
        self._start = stop = start + header + size
        return first, self._view[start + header : stop]

    def room(self) -> memoryview:
        """Give the free part to receive into; ends the life of payloads given before."""
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

    def received(self, count: int) -> None:
        """Take note that *count* bytes were placed in :meth:`room`."""
        self._stop += count
        size = len(self._buffer)
        if self._stop == size < _USUAL_BYTES and count > size // 2:
            self._resize(4 * size)

    def _resize(self, size: int) -> None:
        held = self._view[self._start : self._stop]
        buffer = bytearray(size)
        buffer[: len(held)] = held
        self._start, self._stop = 0, len(held)
        self._buffer, self._view = buffer, memoryview(buffer)


def _check_first_byte(first: int, size: int) -> None:
    opcode = first & 0x0F
    if first & _RESERVED_BITS:
        raise FrameError("the server set a reserved bit, though no extension was agreed")
    if opcode not in _OPCODES:
        raise FrameError(f"the server sent a frame of the unknown kind {opcode:#x}")
    if opcode == BINARY:
        raise FrameError("the server sent a binary message where only text is known", 1003)
    if opcode >= CLOSE:
        if not first & FIN:
            raise FrameError("the server fragmented a control frame")
        if size > _MAX_CONTROL_BYTES:
            raise FrameError(f"a control frame holds at most 125 bytes, the server sent {size}")


def unmask(frame: bytes) -> bytes:
    """Give the payload of one whole masked frame."""
    begin = {126: 4, 127: 10}.get(frame[1] & 0x7F, 2)
    return mask(frame[begin + 4 :], frame[begin : begin + 4])


def close_payload(code: int, reason: str) -> bytes:
    """Make the payload of a CLOSE frame; a reason that is too long is cut at a character."""
    text = reason.encode()[: _MAX_CONTROL_BYTES - 2].decode(errors="ignore")
    return struct.pack("!H", code) + text.encode()


def parse_close(payload: memoryview) -> tuple[int, str]:
    """
    Read the payload of a CLOSE frame; an empty one is 1005 (RFC 6455, section 7.1.5).

    Raises:
        FrameError: The code may not be sent, or the reason is not UTF-8.
    """
    if not payload:
        return 1005, ""
    if len(payload) == 1:
        raise FrameError("a close code has 2 bytes, the server sent 1")
    code = int.from_bytes(payload[:2], "big")
    # RFC 6455, section 7.4: below 1000 unused; 1004 to 1006 and 1015 are never on the wire.
    if not 1000 <= code < 5000 or code in {1004, 1005, 1006, 1015}:
        raise FrameError(f"the server closed with code {code}, which may not be sent")
    try:
        return code, str(payload[2:], "utf-8")
    except UnicodeDecodeError as error:
        raise FrameError("the reason of the server's close is not UTF-8", 1007) from error
