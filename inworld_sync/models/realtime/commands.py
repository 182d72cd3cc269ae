"""
Defines the commands to the service, one class for each message.

A command may have an event id. If the command fails, the service's error has the same id.
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
        raise ConfigError(f"{field.name} must be an item such as Message.user('Hi'), got {value!r}")


@attrs.frozen
class Command:
    """
    A message to the service.

    Attributes:
        event_id: Any id for the command. An error of the service about the command has the same id.
    """

    type: ClassVar[str]

    event_id: str | None = attrs.field(default=None, validator=checks.string, kw_only=True)


@attrs.frozen
class UpdateSession(Command):
    """Change settings of the session. The service accepts or refuses all settings together."""

    type: ClassVar[str] = "session.update"

    session: Session = attrs.field(validator=checks.instance(Session))


@attrs.frozen
class AppendInputAudio(Command):
    """
    Send audio of the user. The service does not answer.

    Attributes:
        audio: Samples in the session's input format, as base64 text. The service recommends 100 to
            200 ms of audio.
    """

    type: ClassVar[str] = "input_audio_buffer.append"

    audio: str = attrs.field(repr=False, validator=_base64)


@attrs.frozen
class CommitInputAudio(Command):
    """End the user's turn. This is needed only if the session has :class:`ManualTurns`."""

    type: ClassVar[str] = "input_audio_buffer.commit"


@attrs.frozen
class ClearInputAudio(Command):
    """Drop the user's audio that is not committed."""

    type: ClassVar[str] = "input_audio_buffer.clear"


@attrs.frozen
class ClearOutputAudio(Command):
    """Drop the audio in the service's output buffer."""

    type: ClassVar[str] = "output_audio_buffer.clear"


@attrs.frozen
class CreateItem(Command):
    """
    Add an item to the conversation.

    Attributes:
        item: The item to add.
        previous_item_id: The id of the item before the new item. None adds the item at the end, and
            ``root`` adds it at the beginning.
    """

    type: ClassVar[str] = "conversation.item.create"

    item: Item = attrs.field(validator=_item)
    previous_item_id: str | None = optional(checks.string)


@attrs.frozen
class TruncateItem(Command):
    """
    Truncate an assistant's message to the part that was heard.

    Attributes:
        item_id: The id of the assistant's message.
        content_index: The index of the message's audio part.
        audio_end_ms: The end of the heard part, in milliseconds from the start of the audio. In a
            G.711 session the service counts at 24000 Hz, so send a third of the real time.
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
    """Request an item as the service has it."""

    type: ClassVar[str] = "conversation.item.retrieve"

    item_id: str = attrs.field(validator=checks.text)


@attrs.frozen
class CreateResponse(Command):
    """Request a response. For a setting that is None, the session's setting is used."""

    type: ClassVar[str] = "response.create"

    response: ResponseConfig | None = optional(checks.instance(ResponseConfig))


@attrs.frozen
class CancelResponse(Command):
    """Cancel a response; None means the response in progress."""

    type: ClassVar[str] = "response.cancel"

    response_id: str | None = optional(checks.string)
