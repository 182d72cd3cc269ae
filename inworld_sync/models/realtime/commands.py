"""
The commands to the service: one class for each message.

Every command may carry an id of this side's choice, which the service names in an error about it.
Source: Inworld Realtime reference, client events.
"""

from __future__ import annotations

from typing import ClassVar, get_args

import attrs

from inworld_sync.errors import ConfigError
from inworld_sync.models import checks
from inworld_sync.models.checks import optional
from inworld_sync.models.realtime.items import Item
from inworld_sync.models.realtime.responses import ResponseConfig
from inworld_sync.models.realtime.session import Session

__all__ = [
    "AppendInputAudio",
    "CancelResponse",
    "ClearInputAudio",
    "ClearOutputAudio",
    "Command",
    "CommitInputAudio",
    "CreateItem",
    "CreateResponse",
    "DeleteItem",
    "RetrieveItem",
    "TruncateItem",
    "UpdateSession",
]


def _base64(_: object, field: attrs.Attribute[str], value: object) -> None:
    if not isinstance(value, str):
        raise ConfigError(f"{field.name} must be base64 text, got {type(value).__name__}")


def _item(_: object, field: attrs.Attribute[Item], value: object) -> None:
    if not isinstance(value, get_args(Item)):
        raise ConfigError(f"{field.name} must be such as Message.user('Hi'), got {value!r}")


@attrs.frozen
class Command:
    """
    A message to the service.

    Attributes:
        event_id: This side's name for the message, or None.
    """

    type: ClassVar[str]

    event_id: str | None = attrs.field(default=None, validator=checks.string, kw_only=True)


@attrs.frozen
class UpdateSession(Command):
    """Change the session; the service accepts or refuses it as a whole."""

    type: ClassVar[str] = "session.update"

    session: Session = attrs.field(validator=checks.instance(Session))


@attrs.frozen
class AppendInputAudio(Command):
    """
    Send audio; the service sends no answer.

    Attributes:
        audio: Base64 text of samples in the session's input format; 100 to 200 ms are advised.
    """

    type: ClassVar[str] = "input_audio_buffer.append"

    audio: str = attrs.field(repr=False, validator=_base64)


@attrs.frozen
class CommitInputAudio(Command):
    """End the user's turn by hand; needed only while turn detection is off."""

    type: ClassVar[str] = "input_audio_buffer.commit"


@attrs.frozen
class ClearInputAudio(Command):
    """Drop the audio that is not committed."""

    type: ClassVar[str] = "input_audio_buffer.clear"


@attrs.frozen
class ClearOutputAudio(Command):
    """Drop the audio in the service's output buffer."""

    type: ClassVar[str] = "output_audio_buffer.clear"


@attrs.frozen
class CreateItem(Command):
    """
    Put an item into the conversation.

    Attributes:
        item: The item.
        previous_item_id: The item that it follows; None means the last, ``root`` the very start.
    """

    type: ClassVar[str] = "conversation.item.create"

    item: Item = attrs.field(validator=_item)
    previous_item_id: str | None = optional(checks.string)


@attrs.frozen
class TruncateItem(Command):
    """
    Cut what the assistant said to what was heard.

    Attributes:
        item_id: The assistant's message.
        content_index: Which part of it is the audio.
        audio_end_ms: Where it is cut, in milliseconds from its start; in a G.711 session on a
            24 kHz timebase, so a third of the real time.
    """

    type: ClassVar[str] = "conversation.item.truncate"

    item_id: str = attrs.field(validator=checks.text)
    content_index: int = attrs.field(validator=checks.whole(0))
    audio_end_ms: int = attrs.field(validator=checks.whole(0, unit=" ms"))


@attrs.frozen
class DeleteItem(Command):
    """Delete an item from the conversation."""

    type: ClassVar[str] = "conversation.item.delete"

    item_id: str = attrs.field(validator=checks.text)


@attrs.frozen
class RetrieveItem(Command):
    """Ask for an item as the service holds it."""

    type: ClassVar[str] = "conversation.item.retrieve"

    item_id: str = attrs.field(validator=checks.text)


@attrs.frozen
class CreateResponse(Command):
    """Request a response; settings that are None are the session's."""

    type: ClassVar[str] = "response.create"

    response: ResponseConfig | None = optional(checks.instance(ResponseConfig))


@attrs.frozen
class CancelResponse(Command):
    """Cancel a response; None means the one in progress."""

    type: ClassVar[str] = "response.cancel"

    response_id: str | None = optional(checks.string)
