"""
Defines the items of a conversation, and the parts of a message.

The service has two names for some parts: ``text`` and ``output_text``, ``audio`` and
``output_audio``. Here each pair has one class.
Sources: Inworld Realtime reference, ``conversation.item.create``; the common realtime protocol for
MCP items.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import ClassVar, Literal, TypeAlias, get_args

import attrs

from inworld_sync.errors import ConfigError
from inworld_sync.models import checks
from inworld_sync.models.checks import optional
from inworld_sync.models.realtime.base import Extensible, Setting

__all__ = [
    "ContentPart",
    "ConversationEntry",
    "FunctionCall",
    "FunctionCallOutput",
    "InputAudio",
    "InputImage",
    "InputText",
    "Item",
    "ItemReference",
    "McpApprovalRequest",
    "McpApprovalResponse",
    "McpCall",
    "McpToolList",
    "Message",
    "OutputAudio",
    "OutputText",
    "Role",
    "UnknownItem",
    "UnknownPart",
]

Role: TypeAlias = Literal["user", "assistant", "system", "tool"]


@attrs.frozen
class InputText(Setting):
    """Text of a user or of the system."""

    type: ClassVar[str] = "input_text"

    text: str = attrs.field(validator=checks.string)


@attrs.frozen
class InputAudio(Setting):
    """
    Speech of a user.

    Attributes:
        audio: 16-bit PCM as base64 text; None in items from the service.
        transcript: The transcript; None until it is known.
    """

    type: ClassVar[str] = "input_audio"

    audio: str | None = optional(checks.string, repr=False)
    transcript: str | None = optional(checks.string)

    @classmethod
    def from_pcm(cls, pcm: bytes | bytearray | memoryview) -> InputAudio:
        """Make a part from 16-bit little-endian mono PCM at the session's sample rate."""
        return cls(base64.b64encode(pcm).decode("ascii"))


def _image_url(_: object, field: attrs.Attribute[str], value: object) -> None:
    if not isinstance(value, str) or not value.startswith(("https://", "http://", "data:")):
        raise ConfigError(
            f"{field.name} must start with https:// or data:; for a file, use InputImage.from_bytes"
        )


@attrs.frozen
class InputImage(Setting):
    """
    A picture for the model.

    Attributes:
        image_url: A URL with ``https://``, or with ``data:`` and the picture in base64.
        detail: The resolution at which the model sees the picture.
    """

    type: ClassVar[str] = "input_image"

    image_url: str = attrs.field(validator=_image_url, repr=lambda url: repr(url[:40]))
    detail: Literal["auto", "low", "high"] | None = optional(checks.one_of(("auto", "low", "high")))

    @classmethod
    def from_bytes(cls, data: bytes, media_type: str = "image/png") -> InputImage:
        """Make a part from the bytes of an image file."""
        return cls(f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}")


@attrs.frozen
class OutputText(Setting):
    """Text of the assistant."""

    type: ClassVar[str] = "text"

    text: str = attrs.field(default="", validator=checks.string)


@attrs.frozen
class OutputAudio(Setting):
    """
    Speech of the assistant.

    Attributes:
        transcript: The spoken text.
        audio: The audio as base64 text; None if the service leaves out the audio, as in events.
    """

    type: ClassVar[str] = "audio"

    transcript: str | None = optional(checks.string)
    audio: str | None = optional(checks.string, repr=False)


@attrs.frozen
class UnknownPart:
    """A part of a kind that this version does not know; *raw* is its JSON object."""

    type: str
    raw: Mapping[str, object]


ContentPart: TypeAlias = (
    InputText | InputAudio | InputImage | OutputText | OutputAudio | UnknownPart
)


def _content(value: Iterable[ContentPart]) -> tuple[ContentPart, ...]:
    found = tuple(value)
    for part in found:
        if not isinstance(part, get_args(ContentPart)):
            raise ConfigError(f"content must be parts such as InputText, got {part!r}")
    return found


@attrs.frozen(kw_only=True)
class Message(Setting):
    """
    A spoken or written message.

    Attributes:
        role: ``user``, ``assistant``, ``system`` or ``tool``.
        content: The parts of the message, in order.
        id: The item's id; None lets the service choose the id.
        status: ``completed``, ``in_progress`` or ``incomplete``.
    """

    type: ClassVar[str] = "message"

    role: Role = attrs.field(validator=checks.one_of(get_args(Role)))
    content: tuple[ContentPart, ...] = attrs.field(default=(), converter=_content)
    id: str | None = optional(checks.string)
    status: str | None = optional(checks.string)

    @classmethod
    def user(cls, *content: str | ContentPart, id: str | None = None) -> Message:  # noqa: A002
        """Make a message of the user. A string becomes a part with this text."""
        return cls(role="user", content=_parts(content, InputText), id=id)

    @classmethod
    def system(cls, *content: str | ContentPart, id: str | None = None) -> Message:  # noqa: A002
        """Make a message with instructions for the model within a conversation."""
        return cls(role="system", content=_parts(content, InputText), id=id)

    @classmethod
    def assistant(cls, *content: str | ContentPart, id: str | None = None) -> Message:  # noqa: A002
        """Make a message of the assistant, to restore an earlier conversation."""
        return cls(role="assistant", content=_parts(content, OutputText), id=id)

    @property
    def text(self) -> str:
        """The texts and transcripts of all parts, joined."""
        texts = (
            part.transcript if isinstance(part, (InputAudio, OutputAudio)) else part.text
            for part in self.content
            if isinstance(part, (InputAudio, InputText, OutputAudio, OutputText))
        )
        return "".join(text or "" for text in texts)


def _parts(
    content: Iterable[str | ContentPart], kind: type[InputText | OutputText]
) -> tuple[ContentPart, ...]:
    return tuple(kind(part) if isinstance(part, str) else part for part in content)


@attrs.frozen(kw_only=True)
class FunctionCall(Setting):
    """
    The model calls a function of the program.

    Attributes:
        call_id: The id of the call. The output of the call must have the same id.
        name: The function's name; ``""`` until the service has sent it.
        arguments: A JSON object as text; ``""`` means no arguments.
        id: The item's id.
        status: ``completed``, ``in_progress`` or ``incomplete``.
    """

    type: ClassVar[str] = "function_call"

    call_id: str = attrs.field(validator=checks.string)
    name: str = attrs.field(default="", validator=checks.string)
    arguments: str = attrs.field(default="", validator=checks.string)
    id: str | None = optional(checks.string)
    status: str | None = optional(checks.string)


@attrs.frozen(kw_only=True)
class FunctionCallOutput(Setting):
    """
    The output of a function call.

    Attributes:
        call_id: The ``call_id`` of the :class:`FunctionCall`.
        output: Text for the model, often JSON.
        id: The item's id.
        status: ``completed``, ``in_progress`` or ``incomplete``.
    """

    type: ClassVar[str] = "function_call_output"

    call_id: str = attrs.field(validator=checks.text)
    output: str = attrs.field(validator=checks.string)
    id: str | None = optional(checks.string)
    status: str | None = optional(checks.string)


@attrs.frozen(kw_only=True)
class McpToolList(Extensible):
    """The tools of an MCP server, each as the server describes it."""

    type: ClassVar[str] = "mcp_list_tools"

    server_label: str
    tools: tuple[Mapping[str, object], ...] = ()
    id: str | None = None


@attrs.frozen(kw_only=True)
class McpCall(Extensible):
    """
    A call of the service to a tool of an MCP server.

    Attributes:
        server_label: The label of the server.
        name: The name of the tool.
        arguments: A JSON object as text.
        output: The output of the tool.
        error: The error of the call as the service sent it; None if there was none.
        approval_request_id: The approval request that allowed the call.
        id: The item's id.
        status: ``completed``, ``in_progress`` or ``incomplete``.
    """

    type: ClassVar[str] = "mcp_call"

    server_label: str
    name: str
    arguments: str = ""
    output: str | None = None
    error: object = None
    approval_request_id: str | None = None
    id: str | None = None
    status: str | None = None


@attrs.frozen(kw_only=True)
class McpApprovalRequest(Extensible):
    """The service asks for approval to call a tool. Answer with an :class:`McpApprovalResponse`."""

    type: ClassVar[str] = "mcp_approval_request"

    server_label: str
    name: str
    arguments: str = ""
    id: str | None = None


@attrs.frozen(kw_only=True)
class McpApprovalResponse(Setting):
    """The answer to an approval request: whether the call is allowed, and an optional reason."""

    type: ClassVar[str] = "mcp_approval_response"

    approval_request_id: str = attrs.field(validator=checks.text)
    approve: bool = attrs.field(validator=checks.flag)
    reason: str | None = optional(checks.string)
    id: str | None = optional(checks.string)


@attrs.frozen
class UnknownItem:
    """An item of a kind that this version does not know; *raw* is its JSON object."""

    type: str
    raw: Mapping[str, object]
    id: str | None = None


Item: TypeAlias = (
    Message
    | FunctionCall
    | FunctionCallOutput
    | McpToolList
    | McpCall
    | McpApprovalRequest
    | McpApprovalResponse
    | UnknownItem
)


@attrs.frozen
class ItemReference:
    """A reference to an item of the conversation, for the input of a response."""

    type: ClassVar[str] = "item_reference"

    id: str = attrs.field(validator=checks.text)


@attrs.frozen
class ConversationEntry:
    """
    An item of the conversation.

    Attributes:
        item: The item, with all text that has arrived so far.
        is_done: Whether the item is complete.
        truncated_ms: Where the item's audio was truncated, in milliseconds from its start; None if
            it was not truncated. The text of the item still has the part that was not heard.
    """

    item: Item
    is_done: bool = False
    truncated_ms: int | None = None
