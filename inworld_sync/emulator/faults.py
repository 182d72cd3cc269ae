"""
Faults on purpose: what a network or a service may do wrong, as data.

A fault is written ``name``, ``name:value``, ``name@after`` or ``name:value@after``; *after* counts
the messages (or lines of a streamed response) that go out well before it.  Several are joined with
commas: ``delay:0.05,drop@3``.
"""

from __future__ import annotations

import enum
import threading
from collections import deque
from collections.abc import Iterable, Sequence

import attrs

from inworld_sync.errors import ConfigError

__all__ = ["Fault", "FaultKind", "FaultQueue", "parse_faults"]


class FaultKind(str, enum.Enum):
    """What goes wrong; the comment says what the value means."""

    # Before the first message.
    ACCEPT_DELAY = "accept_delay"  # seconds before the TLS handshake or the first read
    RESPONSE_DELAY = "response_delay"  # seconds before the answer to the request or upgrade
    HTTP_STATUS = "http_status"  # this status instead of an answer
    DROP_REQUEST = "drop_request"  # no answer, the connection ends
    RESET_REQUEST = "reset_request"  # no answer, the connection is reset
    # With every message.
    DELAY = "delay"  # seconds before each message
    SLOW = "slow"  # bytes a second
    # Once, after some messages.
    DROP = "drop"  # the TCP connection ends without a CLOSE
    RESET = "reset"  # a TCP reset
    CLOSE = "close"  # a CLOSE with this code
    STALL = "stall"  # nothing is sent any more, the connection stays
    PAUSE = "pause"  # seconds of silence, then on
    HALF_FRAME = "half_frame"  # half of the message's bytes, then the connection ends
    BAD_JSON = "bad_json"  # the message with its end cut off
    BAD_UTF8 = "bad_utf8"  # text that is not UTF-8
    BINARY = "binary"  # the message in a binary frame
    FRAGMENTS = "fragments"  # the message in frames of this many bytes
    RESERVED_OPCODE = "reserved_opcode"  # a frame of an unknown kind
    MASKED = "masked"  # a masked frame, which a server must not send
    HUGE_FRAME = "huge_frame"  # a frame that announces this many bytes
    PING = "ping"  # a PING first
    ERROR = "error"  # a top-level error of this code first; the connection stays
    FATAL_ERROR = "fatal_error"  # a top-level error of this code and CLOSE 1000
    UNKNOWN_MESSAGE = "unknown_message"  # a message of an unknown kind first
    DUPLICATE = "duplicate"  # the message twice
    LOSE = "lose"  # the message not at all


_EVERY_MESSAGE = frozenset({FaultKind.DELAY, FaultKind.SLOW})
_BEFORE_MESSAGES = frozenset(
    {
        FaultKind.ACCEPT_DELAY,
        FaultKind.RESPONSE_DELAY,
        FaultKind.HTTP_STATUS,
        FaultKind.DROP_REQUEST,
        FaultKind.RESET_REQUEST,
    }
)
_NEED_VALUE = frozenset(
    {
        FaultKind.ACCEPT_DELAY,
        FaultKind.RESPONSE_DELAY,
        FaultKind.HTTP_STATUS,
        FaultKind.DELAY,
        FaultKind.SLOW,
        FaultKind.CLOSE,
        FaultKind.PAUSE,
        FaultKind.FRAGMENTS,
        FaultKind.HUGE_FRAME,
        FaultKind.ERROR,
        FaultKind.FATAL_ERROR,
    }
)


@attrs.frozen
class Fault:
    """
    One thing that goes wrong.

    Attributes:
        kind: What.
        value: Seconds, a code, a status or a size, as the kind says; 0 where it has none.
        after: How many messages go out well before it.
    """

    kind: FaultKind = attrs.field(converter=FaultKind)
    value: float = 0.0
    after: int = 0

    def __attrs_post_init__(self) -> None:
        if self.kind in _NEED_VALUE and not self.value > 0:
            raise ConfigError(f"the fault {self.kind.value} needs a value above 0")

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Read ``name[:value][@after]``; raise ConfigError when it is no fault."""
        rest, _, after = text.strip().partition("@")
        name, _, value = rest.partition(":")
        try:
            return cls(FaultKind(name), float(value or 0), int(after or 0))
        except ValueError as error:
            if isinstance(error, ConfigError):
                raise
            known = ", ".join(kind.value for kind in FaultKind)
            raise ConfigError(f"{text!r} is not a fault; known ones: {known}") from None

    def is_due(self, sent: int) -> bool:
        """Whether it strikes the message that *sent* others went out before."""
        if self.kind in _BEFORE_MESSAGES:
            return False
        return self.kind in _EVERY_MESSAGE or sent == self.after


def parse_faults(text: str) -> tuple[Fault, ...]:
    """Read faults joined with commas."""
    return tuple(Fault.parse(part) for part in text.split(",") if part.strip())


class FaultQueue:
    """
    What the next connections will suffer, in the order in which they arrive.

    Thread safety: may be used from any thread; one lock around the queue.
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
        """Let one more connection suffer; an empty text or sequence lets it pass unharmed."""
        if isinstance(entry, str):
            faults = parse_faults(entry)
        elif isinstance(entry, Fault):
            faults = (entry,)
        else:
            faults = tuple(entry)
        with self._lock:
            self._queue.append(faults)

    def pop(self) -> tuple[Fault, ...]:
        """Return what the next connection suffers."""
        with self._lock:
            return self._queue.popleft() if self._queue else ()

    def clear(self) -> None:
        """Forget what was planned."""
        with self._lock:
            self._queue.clear()
