"""
Defines the faults that a test can request. A fault is an error of a network or of a service.

A fault is written ``name``, ``name:value``, ``name@after`` or ``name:value@after``. *after* is the
number of messages (or lines of a streamed response) that are sent correctly before the fault.
Commas join several faults: ``delay:0.05,drop@3``.
"""

from __future__ import annotations

import enum
import math
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from http import HTTPStatus

import attrs

from inworld_sync.emulator.stream import Stream
from inworld_sync.errors import ConfigError

__all__ = [
    "WEBRTC_KINDS",
    "Cut",
    "Fault",
    "FaultKind",
    "FaultQueue",
    "delay_or_cut",
    "fault_kinds",
    "parse_faults",
]


class FaultKind(str, enum.Enum):
    """The kinds of faults. Each comment describes the effect and the value."""

    # Before the first message.
    ACCEPT_DELAY = "accept_delay"  # seconds before the TLS handshake or the first read
    RESPONSE_DELAY = "response_delay"  # seconds before the response to the request or upgrade
    HTTP_STATUS = "http_status"  # this status instead of the response
    DROP_REQUEST = "drop_request"  # no response, the connection ends
    RESET_REQUEST = "reset_request"  # no response, the connection is reset
    CUT_UPLOAD = "cut_upload"  # the connection is reset after this many bytes of a request's body
    # With every message.
    DELAY = "delay"  # seconds before each message
    SLOW = "slow"  # bytes per second
    # Once, after some messages.
    DROP = "drop"  # the TCP connection ends without a CLOSE
    RESET = "reset"  # a TCP reset
    CLOSE = "close"  # a CLOSE with this code
    STALL = "stall"  # nothing more is sent, the connection stays open
    PAUSE = "pause"  # nothing is sent for this many seconds
    HALF_FRAME = "half_frame"  # half of the message's bytes is sent, then the connection ends
    BAD_JSON = "bad_json"  # the message with its end cut off
    BAD_UTF8 = "bad_utf8"  # text that is not UTF-8
    BINARY = "binary"  # the message in a binary frame
    FRAGMENTS = "fragments"  # the message in frames of this many bytes
    RESERVED_OPCODE = "reserved_opcode"  # a frame of an unknown kind
    MASKED = "masked"  # a masked frame, which a server must not send
    HUGE_FRAME = "huge_frame"  # a frame that announces this many bytes
    PING = "ping"  # a PING is sent before the message
    ERROR = "error"  # a top-level error of this code before the message; the connection stays open
    FATAL_ERROR = "fatal_error"  # a top-level error of this code and CLOSE 1000
    UNKNOWN_MESSAGE = "unknown_message"  # a message of an unknown kind before the message
    DUPLICATE = "duplicate"  # the message is sent twice
    LOSE = "lose"  # the message is not sent
    # Of a WebRTC call. The messages are the events on the data channel.
    BAD_SDP = "bad_sdp"  # the answer is not SDP
    ICE_FAILURE = "ice_failure"  # the addresses in the answer do not respond
    VANISH = "vanish"  # the peer stops after some messages, without a message about its end


def fault_kinds(names: str) -> frozenset[FaultKind]:
    """Return the kinds whose names are in a text, separated by spaces."""
    return frozenset(map(FaultKind, names.split()))


# These faults have an effect on WebRTC calls only.
WEBRTC_KINDS = fault_kinds("bad_sdp ice_failure vanish")
_EVERY_MESSAGE = fault_kinds("delay slow")
_BEFORE_MESSAGES = fault_kinds(
    "accept_delay response_delay http_status drop_request reset_request cut_upload bad_sdp "
    "ice_failure"
)
# The smallest and the largest value of each kind that needs a value.
_VALUES = {
    **dict.fromkeys(fault_kinds("accept_delay response_delay delay pause"), (1e-6, 86_400)),
    **dict.fromkeys(fault_kinds("error fatal_error"), (1, 2**31 - 1)),
    **dict.fromkeys(fault_kinds("slow fragments"), (1, 1e9)),
    FaultKind.CUT_UPLOAD: (1, 2**31 - 1),
    FaultKind.HUGE_FRAME: (1, 2**63 - 1),
    FaultKind.HTTP_STATUS: (200, 599),
    FaultKind.CLOSE: (1000, 4999),
}
# Codes below 3000 that a CLOSE may have. Source: the IANA registry of RFC 6455.
_CLOSE_CODES = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014)


class Cut(Exception):
    """A fault has ended the connection, or the connection ended during the delay of a fault."""


@attrs.frozen
class Fault:
    """
    One fault of one connection.

    Attributes:
        kind: The kind of the fault.
        value: Seconds, a code, a status or a size, depending on the kind; 0 if the kind has no
            value.
        after: The number of messages that are sent correctly before the fault.
    """

    kind: FaultKind = attrs.field(converter=FaultKind)
    value: float = 0.0
    after: int = 0

    def __attrs_post_init__(self) -> None:
        name, value = self.kind.value, self.value
        if self.after < 0:
            raise ConfigError(f"the fault {name} needs @0 or more, got @{self.after}")
        if self.kind not in _VALUES:
            return
        low, high = _VALUES[self.kind]
        if not math.isfinite(value) or not low <= value <= high:
            raise ConfigError(
                f"the fault {name} needs a value of {low:g} to {high:g}, got {value:g}"
            )
        is_unknown = {
            FaultKind.HTTP_STATUS: value not in list(HTTPStatus),
            FaultKind.CLOSE: value < 3000 and value not in _CLOSE_CODES,
        }
        if is_unknown.get(self.kind) or (low >= 200 and value != int(value)):
            raise ConfigError(f"the fault {name} needs a code that exists, got {value:g}")

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Read ``name[:value][@after]``. Raise ConfigError if the text is not a fault."""
        rest, _, after = text.strip().partition("@")
        name, _, value = rest.partition(":")
        try:
            return cls(FaultKind(name), float(value or 0), int(after or 0))
        except ValueError as error:
            if isinstance(error, ConfigError):
                raise
            known = ", ".join(kind.value for kind in FaultKind)
            raise ConfigError(f"{text!r} is not a fault; the known faults are {known}") from None

    def is_due(self, sent: int) -> bool:
        """Whether the fault affects the next message if *sent* messages were sent earlier."""
        if self.kind in _BEFORE_MESSAGES:
            return False
        return self.kind in _EVERY_MESSAGE or sent == self.after


def delay_or_cut(fault: Fault, stream: Stream, ended: threading.Event) -> None:
    """
    Apply a fault that HTTP and WebSocket share; do nothing for other kinds.

    Args:
        fault: The fault.
        stream: The connection.
        ended: An event that is set when the connection ends. A delay ends when the event is set.

    Raises:
        Cut: The connection must end.
    """
    kind = fault.kind
    if kind in (FaultKind.DELAY, FaultKind.PAUSE):
        if ended.wait(fault.value):
            raise Cut
    elif kind is FaultKind.STALL:
        ended.wait()
        raise Cut
    elif kind in (FaultKind.DROP, FaultKind.RESET):
        if kind is FaultKind.RESET:
            stream.reset()
        raise Cut


def parse_faults(text: str) -> tuple[Fault, ...]:
    """Read faults that are joined with commas."""
    return tuple(Fault.parse(part) for part in text.split(",") if part.strip())


class FaultQueue:
    """
    The faults of the next connections, in the order in which the connections are accepted.

    Thread safety: any thread may use this object; one lock guards the queue.
    """

    def __init__(self, faults: Iterable[str | Fault | Sequence[Fault]] = ()) -> None:
        if isinstance(faults, str):
            raise ConfigError(
                f"faults must be a list with an entry for each connection, such as [{faults!r}]"
            )
        self._lock = threading.Lock()
        self._queue: deque[tuple[Fault, ...]] = deque()
        for entry in faults:
            self.add(entry)

    def add(self, entry: str | Fault | Sequence[Fault]) -> None:
        """
        Add the faults of one more connection.

        Args:
            entry: The faults as text, one fault, or a sequence of faults. An empty text or sequence
                means a connection without faults.

        Raises:
            ConfigError: The text is not a fault.
        """
        if isinstance(entry, str):
            faults = parse_faults(entry)
        elif isinstance(entry, Fault):
            faults = (entry,)
        else:
            faults = tuple(entry)
        with self._lock:
            self._queue.append(faults)

    def pop(self) -> tuple[Fault, ...]:
        """Remove and return the faults of the next connection."""
        with self._lock:
            return self._queue.popleft() if self._queue else ()

    def clear(self) -> None:
        """Remove the faults of all later connections."""
        with self._lock:
            self._queue.clear()
