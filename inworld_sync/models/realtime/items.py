"""
What a conversation consists of: items, and the parts of a message.

Two spellings of the service are one here: ``text`` and ``output_text``, ``audio`` and
``output_audio``.
Source: Inworld Realtime reference, ``conversation.item.create``; MCP items as the common
realtime protocol has them.
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
        audio: Base64 text of 16-bit PCM; None in what the service sends.
        transcript: What was said, once that is known.
    """

    type: ClassVar[str] = "input_audio"

    audio: str | None = optional(checks.string, repr=False)
    transcript: str | None = optional(checks.string)

    @classmethod
    def from_pcm(cls, pcm: bytes | bytearray | memoryview) -> InputAudio:
        """Make one of 16-bit little-endian mono PCM at the session's rate."""
        return cls(base64.b64encode(pcm).decode("ascii"))


def _image_url(_: object, field: attrs.Attribute[str], value: object) -> None:
    if not isinstance(value, str) or not value.startswith(("https://", "http://", "data:")):
        raise ConfigError(
            f"{field.name} must start with https:// or data:, use InputImage.from_bytes for a file"
        )


@attrs.frozen
class InputImage(Setting):
    """
    A picture for the model.

    Attributes:
        image_url: ``https://`` or ``data:`` with the picture in base64.
        detail: How closely the model looks.
    """

    type: ClassVar[str] = "input_image"

    image_url: str = attrs.field(validator=_image_url, repr=lambda url: repr(url[:40]))
    detail: Literal["auto", "low", "high"] | None = optional(checks.one_of(("auto", "low", "high")))

    @classmethod
    def from_bytes(cls, data: bytes, media_type: str = "image/png") -> InputImage:
        """Make one of the bytes of an image file."""
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
        transcript: What is said.
        audio: Base64 text; None where the service leaves it out, as it does in events.
    """

    type: ClassVar[str] = "audio"

    transcript: str | None = optional(checks.string)
    audio: str | None = optional(checks.string, repr=False)


@attrs.frozen
class UnknownPart:
    """A part of a kind that this version does not know, as it came."""

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
    Something that was said or written.

    Attributes:
        role: By whom.
        content: Its parts, in order.
        id: The item's id; this side may choose it, else the service does.
        status: ``completed``, ``in_progress`` or ``incomplete``.
    """

    type: ClassVar[str] = "message"

    role: Role = attrs.field(validator=checks.one_of(get_args(Role)))
    content: tuple[ContentPart, ...] = attrs.field(default=(), converter=_content)
    id: str | None = optional(checks.string)
    status: str | None = optional(checks.string)

    @classmethod
    def user(cls, *content: str | ContentPart, id: str | None = None) -> Message:  # noqa: A002
        """What a user says; a bare text is text."""
        return cls(role="user", content=_parts(content, InputText), id=id)

    @classmethod
    def system(cls, *content: str | ContentPart, id: str | None = None) -> Message:  # noqa: A002
        """Make an instruction for the model within a conversation."""
        return cls(role="system", content=_parts(content, InputText), id=id)

    @classmethod
    def assistant(cls, *content: str | ContentPart, id: str | None = None) -> Message:  # noqa: A002
        """What the assistant is to have said, for a conversation that goes on from before."""
        return cls(role="assistant", content=_parts(content, OutputText), id=id)

    @property
    def text(self) -> str:
        """What was written and said, all parts in one."""
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
    The model asks for a function of this side.

    Attributes:
        call_id: What the output must name.
        name: The function's; ``""`` where the service has not yet said it.
        arguments: A JSON object as text; ``""`` means none.
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
    What a function gave.

    Attributes:
        call_id: That of the :class:`FunctionCall`.
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
    """The tools that a server of tools has, each as the server describes it."""

    type: ClassVar[str] = "mcp_list_tools"

    server_label: str
    tools: tuple[Mapping[str, object], ...] = ()
    id: str | None = None


@attrs.frozen(kw_only=True)
class McpCall(Extensible):
    """
    The service called a server of tools.

    Attributes:
        server_label: Which server.
        name: Which tool.
        arguments: A JSON object as text.
        output: What the tool gave.
        error: What went wrong, as the service sent it; None if nothing did.
        approval_request_id: The request that allowed it.
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
    """The service asks whether it may call a tool; answer with :class:`McpApprovalResponse`."""

    type: ClassVar[str] = "mcp_approval_request"

    server_label: str
    name: str
    arguments: str = ""
    id: str | None = None


@attrs.frozen(kw_only=True)
class McpApprovalResponse(Setting):
    """Whether a call that the service asked about may be made, and why."""

    type: ClassVar[str] = "mcp_approval_response"

    approval_request_id: str = attrs.field(validator=checks.text)
    approve: bool = attrs.field(validator=checks.flag)
    reason: str | None = optional(checks.string)
    id: str | None = optional(checks.string)


@attrs.frozen
class UnknownItem:
    """An item of a kind that this version does not know, as it came."""

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
    """An item of the conversation, named in the input of a response."""

    type: ClassVar[str] = "item_reference"

    id: str = attrs.field(validator=checks.text)


@attrs.frozen
class ConversationEntry:
    """
    An item of the conversation.

    Attributes:
        item: The item, with all text that has arrived so far.
        is_done: Whether it is complete.
        truncated_ms: Where the service cut its audio, None if it did not. The text here is still
            the whole text, including what was not heard.
    """

    item: Item
    is_done: bool = False
    truncated_ms: int | None = None
