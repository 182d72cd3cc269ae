"""
Reads a stream of server-sent events.

Source: WHATWG HTML standard, "Server-sent events". Unlike a browser, this reader refuses invalid
UTF-8, because a replaced character would change a text without an error. This reader also limits
the size of an event.
"""

from __future__ import annotations

import re

import attrs

from inworld_sync.errors import RemoteProtocolError

__all__ = ["EventReader", "ServerEvent"]

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


@attrs.frozen
class ServerEvent:
    r"""
    One event.

    Attributes:
        data: The lines of the event's data, joined by ``\n``.
        name: The type of the event; empty if the event has no type.
    """

    data: str
    name: str = ""


class EventReader:
    """
    Turns the bytes of a stream into events; the bytes may be cut anywhere.

    Args:
        max_event_bytes: The maximum size of all lines of one event.

    Thread safety: one thread at a time may use the object.
    """

    def __init__(self, max_event_bytes: int) -> None:
        self._max_event_bytes = max_event_bytes
        self._is_first_line = True
        self._after_cr = False
        self._line = bytearray()
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._name = b""

    def feed(self, data: bytes) -> list[ServerEvent]:
        """
        Add bytes of the stream. Return the events that these bytes complete.

        Raises:
            RemoteProtocolError: An event is too large or is not UTF-8.
        """
        if not data:
            return []
        if self._after_cr:
            # The carriage return has already ended the line. A line feed after it is the rest of
            # the same CRLF.
            data = data.removeprefix(b"\n")
        self._after_cr = data.endswith(b"\r")
        *ends, rest = _LINE_END.split(data)
        events: list[ServerEvent] = []
        for end in ends:
            self._extend(end)
            if (event := self._end_line()) is not None:
                events.append(event)
        self._extend(rest)
        return events

    def finish(self) -> ServerEvent | None:
        """Return the last event if the stream ended without an empty line after this event."""
        self._end_line()
        return self._end_event()

    def _extend(self, data: bytes) -> None:
        self._line += data
        if len(self._line) + self._data_bytes > self._max_event_bytes:
            raise RemoteProtocolError(
                f"expected events of at most {self._max_event_bytes} bytes, the service sent a "
                "larger one; see max_message_bytes"
            )

    def _end_line(self) -> ServerEvent | None:
        line = bytes(self._line)
        self._line.clear()
        if self._is_first_line:
            self._is_first_line = False
            line = line.removeprefix(_BOM)
        if not line:
            return self._end_event()
        # A comment begins with the colon, so its field has no name.
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
            self._data_bytes += len(value) + 1
        elif field == b"event":
            self._name = value
        return None

    def _end_event(self) -> ServerEvent | None:
        data, name = self._data, self._name
        self._data, self._name, self._data_bytes = [], b"", 0
        if not data:
            return None
        try:
            return ServerEvent(b"\n".join(data).decode(), name.decode())
        except UnicodeDecodeError as error:
            raise RemoteProtocolError(
                f"expected an event in UTF-8, got the byte 0x{error.object[error.start]:02x} at "
                f"{error.start}"
            ) from None
