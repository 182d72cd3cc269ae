"""
Defines the settings of a response, and the service's description of a response.

Source: Inworld Realtime reference, ``response.create`` and ``response.done``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, get_args

import attrs

from inworld_sync.errors import ConfigError
from inworld_sync.models import checks
from inworld_sync.models.checks import optional
from inworld_sync.models.realtime.base import Extensible
from inworld_sync.models.realtime.items import Item, ItemReference
from inworld_sync.models.realtime.session import _ResponseSettings

__all__ = ["ErrorInfo", "ResponseConfig", "ResponseInfo", "StatusDetails", "TokenDetails", "Usage"]


def _input(value: Iterable[Item | ItemReference] | None) -> tuple[Item | ItemReference, ...] | None:
    if value is None:
        return None
    found = tuple(value)
    for each in found:
        if not isinstance(each, (*get_args(Item), ItemReference)):
            raise ConfigError(f"input takes items such as Message.user('Hi'), got {each!r}")
    return found


@attrs.frozen(kw_only=True)
class ResponseConfig(_ResponseSettings):
    """
    The settings of one response; None means the session's setting.

    Attributes:
        conversation: ``none`` for an out-of-band response, whose items are not added to the
            conversation.
        input: The items that the model gets instead of the conversation; an empty list means no
            items.
        instructions: Instructions that replace the instructions of the session.
        output_modalities: The kinds of output: ``audio``, ``text`` or both.
        voice: The id of the voice.
        temperature: The randomness of the model, 0 to 2.
        max_output_tokens: The maximum number of tokens of the response, 1 to 4096, or ``inf``.
        tools: The tools that the model may call.
        tool_choice: Whether the model calls tools: ``auto``, ``none``, ``required``, or the tool
            that must be called.
        metadata: Strings that the service returns with the response.
    """

    conversation: Literal["auto", "none"] | None = optional(checks.one_of(("auto", "none")))
    input: tuple[Item | ItemReference, ...] | None = attrs.field(default=None, converter=_input)
    metadata: Mapping[str, str] | None = optional(checks.string_map)


@attrs.frozen(kw_only=True)
class ErrorInfo(Extensible):
    """
    An error of the service.

    Attributes:
        message: The service's text about the error.
        type: The type, such as ``invalid_request_error`` (the session continues) or
            ``server_error``.
        code: The code, such as ``response_cancel_not_active``; None if the service sends none.
        param: The field that the error is about.
        event_id: The event id of the command that the error is about.
    """

    message: str = ""
    type: str = ""
    code: str | None = None
    param: str | None = None
    event_id: str | None = None


@attrs.frozen(kw_only=True)
class StatusDetails(Extensible):
    """The reason for the status of a response."""

    type: str = ""
    reason: str = ""
    error: ErrorInfo | None = None


@attrs.frozen(kw_only=True)
class TokenDetails(Extensible):
    """The numbers of tokens by kind."""

    text_tokens: int = 0
    audio_tokens: int = 0
    image_tokens: int = 0
    cached_tokens: int = 0


@attrs.frozen(kw_only=True)
class Usage(Extensible):
    """The numbers of tokens that a response used."""

    total_tokens: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    input_token_details: TokenDetails | None = None
    output_token_details: TokenDetails | None = None


@attrs.frozen(kw_only=True)
class ResponseInfo(Extensible):
    """
    The service's description of a response.

    Attributes:
        id: The service's id of the response.
        status: ``in_progress``, ``completed``, ``cancelled``, ``failed`` or ``incomplete``.
        status_details: The reason for the status; None for most responses.
        output: The items of the response.
        usage: The numbers of used tokens; None before the end of the response, or if the service
            leaves the numbers out.
        metadata: The metadata of the request, and fields that the service adds.
    """

    id: str
    status: str = ""
    status_details: StatusDetails | None = None
    output: tuple[Item, ...] = ()
    usage: Usage | None = None
    metadata: Mapping[str, object] = attrs.field(factory=dict)
