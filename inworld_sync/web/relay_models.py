"""Defines the data classes of a relay: its settings, its start, its end and its summary."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import attrs

from inworld_sync.errors import ConfigError
from inworld_sync.models.checks import require_finite, require_seconds
from inworld_sync.models.realtime import ConversationEntry, Message
from inworld_sync.web.relay_messages import Mode

__all__ = ["END_MESSAGES", "RelayEnd", "RelayOptions", "RelayStart", "RelaySummary"]

RelayEnd: TypeAlias = Literal[
    "browser_left",
    "hung_up",
    "drained",
    "max_duration",
    "idle",
    "wrong_origin",
    "user_limit",
    "no_capacity",
    "not_started",
    "wrong_messages",
    "stalled",
    "model_unavailable",
    "model_lost",
    "failed",
]

_REFUSED, _FAILED, _GOING_AWAY, _NORMAL = 1008, 1011, 1001, 1000

# The close code and the text for the page, for each end that is reported to the browser. The texts
# have no details of the server or of the account.
END_MESSAGES: Mapping[RelayEnd, tuple[int, str]] = MappingProxyType(
    {
        "hung_up": (_NORMAL, ""),
        "drained": (_GOING_AWAY, "The server restarts. The page will connect again."),
        "max_duration": (_REFUSED, "The conversation has reached its longest duration."),
        "idle": (_REFUSED, "The conversation has ended because neither side spoke for too long."),
        "wrong_origin": (_REFUSED, "This page may not open conversations here."),
        "user_limit": (_REFUSED, "You have too many conversations. Please try again later."),
        "no_capacity": (_REFUSED, "All places are in use. Please try again later."),
        "not_started": (_REFUSED, "The page did not start the conversation in time."),
        "wrong_messages": (_REFUSED, "The page has sent too many wrong messages."),
        "stalled": (_FAILED, "The page received nothing for too long."),
        "model_unavailable": (_FAILED, "The conversation could not be opened."),
        "model_lost": (_FAILED, "The conversation was lost."),
        "failed": (_FAILED, "The server has failed."),
    }
)

_LEAST_LEAD_MS = 100.0
_MOST_LEAD_MS = 10_000.0


def _seconds(_: object, field: attrs.Attribute[Any], value: float | None) -> None:
    if value is not None:
        require_seconds(field.name, value)


def _lead(_: object, field: attrs.Attribute[Any], value: float) -> None:
    require_finite(field.name, value)
    if not _LEAST_LEAD_MS <= value <= _MOST_LEAD_MS:
        raise ConfigError(
            f"{field.name} must be {_LEAST_LEAD_MS:g} to {_MOST_LEAD_MS:g} ms, got {value!r}"
        )


@attrs.frozen(kw_only=True)
class RelayOptions:
    """
    The settings of a relay. Any number of relays may use the same object.

    Attributes:
        max_duration: The conversation ends after this many seconds; None for no limit.
        idle_timeout: The conversation ends after this many seconds without speech of either side
            and without a typed message; None for no limit.
        stall_timeout: The conversation ends if the browser does not accept a message for this many
            seconds.
        start_timeout: The conversation ends if the page does not send its first message within this
            many seconds.
        lead_ms: Audio is sent at most this many milliseconds before it is played, 100 to 10000. A
            larger value prevents gaps on bad networks.
    """

    max_duration: float | None = attrs.field(default=3600.0, validator=_seconds)
    idle_timeout: float | None = attrs.field(default=300.0, validator=_seconds)
    stall_timeout: float = attrs.field(default=10.0, validator=_seconds)
    start_timeout: float = attrs.field(default=10.0, validator=_seconds)
    lead_ms: float = attrs.field(default=2000.0, validator=_lead)


@attrs.frozen
class RelayStart:
    """
    The start of a conversation by a page.

    Attributes:
        mode: ``open`` for an open microphone with the turn detection of the session, ``push`` for
            push-to-talk.
        user: The argument *user* of the relay.
    """

    mode: Mode
    user: str


@attrs.frozen(kw_only=True)
class RelaySummary:
    """
    A conversation that has ended.

    Attributes:
        end: Why the conversation ended:

            - ``browser_left``: The browser closed the socket, or the connection was lost.
            - ``hung_up``: The program called :meth:`Relay.close`, or closed the session.
            - ``drained``: The program called ``drain_relays``.
            - ``max_duration``, ``idle``: The ``max_duration`` or ``idle_timeout`` has passed.
            - ``wrong_origin``: The site of the page is not allowed, or the request has no
              ``Origin``.
            - ``user_limit``: The user has too many conversations, see :class:`UserLimit`.
            - ``no_capacity``: The account or the limiter allows no further session.
            - ``not_started``: The page sent no first message in time.
            - ``wrong_messages``: The page sent too many messages that are not of the protocol.
            - ``stalled``: The browser accepted no messages for too long.
            - ``model_unavailable``: The session could not be opened.
            - ``model_lost``: The session ended.
            - ``failed``: An unexpected error has occurred; see *error*.
        error: The error that ended the conversation; None for a normal end.
        user: The argument *user* of the relay.
        mode: The mode that the page chose; None if the page did not start the conversation.
        duration: The number of seconds from the call of ``run`` to the end.
        heard_ms: How many milliseconds of speech the user has heard, as the browser reported.
        interruptions: How often speech was interrupted before the user had heard its end.
        wrong_messages: How many messages of the browser were ignored because they are not of the
            protocol, are too long, or are text messages that arrived too fast.
        lost_input_ms: How many milliseconds of the user's audio were lost, because the audio could
            not be sent to the model, or because the audio arrived much faster than real time.
        conversation: The items of the session's conversation.
    """

    end: RelayEnd
    error: Exception | None = None
    user: str = ""
    mode: Mode | None = None
    duration: float = 0.0
    heard_ms: float = 0.0
    interruptions: int = 0
    wrong_messages: int = 0
    lost_input_ms: float = 0.0
    conversation: tuple[ConversationEntry, ...] = attrs.field(default=(), repr=False)

    @property
    def transcript(self) -> str:
        """The conversation as text, one line for each turn, such as ``user: Hello``."""
        return "\n".join(
            f"{entry.item.role}: {entry.item.text}"
            for entry in self.conversation
            if isinstance(entry.item, Message)
            and entry.item.role in ("user", "assistant")
            and entry.item.text
        )
