"""
Events about responses: their items, text and speech, and calls of tools.

Everything carries the ids of what it belongs to, for two responses may overlap.
Source: Inworld Realtime reference, server events, and clients that log them; MCP events as the
field's common realtime protocol has them.
"""

from __future__ import annotations

from typing import ClassVar

import attrs

from inworld_sync.models.realtime.base import RealtimeEvent
from inworld_sync.models.realtime.items import ContentPart, Item
from inworld_sync.models.realtime.responses import ResponseInfo

__all__ = [
    "AudioDelta",
    "AudioDone",
    "BackchannelDelta",
    "BackchannelDone",
    "BackchannelSkipped",
    "ContentPartAdded",
    "ContentPartDone",
    "FunctionArgumentsDelta",
    "FunctionArgumentsDone",
    "McpArgumentsDelta",
    "McpArgumentsDone",
    "McpCallCompleted",
    "McpCallFailed",
    "McpCallStarted",
    "McpListCompleted",
    "McpListFailed",
    "McpListStarted",
    "OutputAudioCleared",
    "OutputAudioStarted",
    "OutputAudioStopped",
    "OutputItemAdded",
    "OutputItemDone",
    "ResponseCreated",
    "ResponseDone",
    "TextDelta",
    "TextDone",
    "TranscriptDelta",
    "TranscriptDone",
]


@attrs.frozen
class _OutputEvent(RealtimeEvent):
    """
    An event about the output of a response.

    Attributes:
        response_id: The response.
        output_index: The item's place in the response.
    """

    response_id: str
    output_index: int = attrs.field(default=0, kw_only=True)


@attrs.frozen
class _ItemEvent(_OutputEvent):
    """An event about an item of a response, named by *item_id*."""

    item_id: str


@attrs.frozen
class _PartEvent(_ItemEvent):
    """An event about a part of an item; *content_index* is the part's place in the item."""

    content_index: int = attrs.field(default=0, kw_only=True)


@attrs.frozen
class ResponseCreated(RealtimeEvent):
    """A response has begun."""

    type: ClassVar[str] = "response.created"

    response: ResponseInfo


@attrs.frozen
class ResponseDone(RealtimeEvent):
    """A response has ended, well or not; see its status."""

    type: ClassVar[str] = "response.done"

    response: ResponseInfo


@attrs.frozen
class OutputItemAdded(_OutputEvent):
    """A response makes an item."""

    type: ClassVar[str] = "response.output_item.added"

    item: Item


@attrs.frozen
class OutputItemDone(_OutputEvent):
    """A response has made an item."""

    type: ClassVar[str] = "response.output_item.done"

    item: Item


@attrs.frozen
class ContentPartAdded(_PartEvent):
    """A response makes a part of a message."""

    type: ClassVar[str] = "response.content_part.added"

    part: ContentPart


@attrs.frozen
class ContentPartDone(_PartEvent):
    """A response has made a part of a message."""

    type: ClassVar[str] = "response.content_part.done"

    part: ContentPart


@attrs.frozen
class TextDelta(_PartEvent):
    """A piece of a response's text, to be added to the pieces before."""

    type: ClassVar[str] = "response.output_text.delta"

    delta: str


@attrs.frozen
class TextDone(_PartEvent):
    """A response's text is whole."""

    type: ClassVar[str] = "response.output_text.done"

    text: str


@attrs.frozen
class AudioDelta(_PartEvent):
    """
    A piece of a response's speech, to be played after the pieces before.

    Attributes:
        response_id: The response.
        item_id: Its item.
        audio: Whole samples in the session's output format.
        output_index: The item's place in the response.
        content_index: The part's place in the item.
    """

    type: ClassVar[str] = "response.output_audio.delta"

    audio: bytes = attrs.field(repr=False)


@attrs.frozen
class AudioDone(_PartEvent):
    """A response's speech is whole."""

    type: ClassVar[str] = "response.output_audio.done"


@attrs.frozen
class TranscriptDelta(_PartEvent):
    """A piece of what a response says aloud, to be added to the pieces before."""

    type: ClassVar[str] = "response.output_audio_transcript.delta"

    delta: str


@attrs.frozen
class TranscriptDone(_PartEvent):
    """All that a response says aloud."""

    type: ClassVar[str] = "response.output_audio_transcript.done"

    transcript: str


@attrs.frozen
class FunctionArgumentsDelta(_ItemEvent):
    """A piece of a call's arguments."""

    type: ClassVar[str] = "response.function_call_arguments.delta"

    delta: str
    call_id: str | None = None


@attrs.frozen
class FunctionArgumentsDone(_ItemEvent):
    """
    A call's arguments are whole.

    Attributes:
        response_id: The response.
        item_id: The call's item, which has its name and call id where they are None here.
        arguments: A JSON object as text; ``""`` means none.
        output_index: The item's place in the response.
        call_id: What the output must name.
        name: The function's.
    """

    type: ClassVar[str] = "response.function_call_arguments.done"

    arguments: str = ""
    call_id: str | None = None
    name: str | None = None


@attrs.frozen
class McpListStarted(RealtimeEvent):
    """The service asks a server of tools what it has."""

    type: ClassVar[str] = "mcp_list_tools.in_progress"

    item_id: str | None = None


@attrs.frozen
class McpListCompleted(RealtimeEvent):
    """The service knows the tools of a server; the item lists them."""

    type: ClassVar[str] = "mcp_list_tools.completed"

    item_id: str | None = None


@attrs.frozen
class McpListFailed(RealtimeEvent):
    """A server of tools did not say what it has."""

    type: ClassVar[str] = "mcp_list_tools.failed"

    item_id: str | None = None


@attrs.frozen
class McpArgumentsDelta(_ItemEvent):
    """A piece of the arguments of a call to a server of tools."""

    type: ClassVar[str] = "response.mcp_call_arguments.delta"

    delta: str


@attrs.frozen
class McpArgumentsDone(_ItemEvent):
    """The arguments of a call to a server of tools are whole."""

    type: ClassVar[str] = "response.mcp_call_arguments.done"

    arguments: str = ""


@attrs.frozen
class McpCallStarted(RealtimeEvent):
    """The service calls a server of tools."""

    type: ClassVar[str] = "response.mcp_call.in_progress"

    item_id: str | None = None
    output_index: int = 0


@attrs.frozen
class McpCallCompleted(RealtimeEvent):
    """A server of tools has answered; the item has its output."""

    type: ClassVar[str] = "response.mcp_call.completed"

    item_id: str | None = None
    output_index: int = 0


@attrs.frozen
class McpCallFailed(RealtimeEvent):
    """A call to a server of tools failed; the item says why."""

    type: ClassVar[str] = "response.mcp_call.failed"

    item_id: str | None = None
    output_index: int = 0


@attrs.frozen
class OutputAudioStarted(RealtimeEvent):
    """The service begins to send a response's audio from its output buffer."""

    type: ClassVar[str] = "output_audio_buffer.started"

    response_id: str | None = None


@attrs.frozen
class OutputAudioStopped(RealtimeEvent):
    """The service has sent all audio of a response from its output buffer."""

    type: ClassVar[str] = "output_audio_buffer.stopped"

    response_id: str | None = None


@attrs.frozen
class OutputAudioCleared(RealtimeEvent):
    """The service dropped the audio in its output buffer."""

    type: ClassVar[str] = "output_audio_buffer.cleared"

    response_id: str | None = None


@attrs.frozen
class BackchannelDelta(RealtimeEvent):
    """
    A piece of a backchannel, a sound of listening such as "uh-huh"; it interrupts nothing.

    Attributes:
        backchannel_id: The backchannel that it belongs to.
        audio: Whole samples of 16-bit little-endian mono PCM, always at 24000 Hz: the format of
            the session does not apply.
    """

    type: ClassVar[str] = "response.backchannel.audio.delta"

    backchannel_id: str
    audio: bytes = attrs.field(repr=False)


@attrs.frozen
class BackchannelDone(RealtimeEvent):
    """A backchannel is complete; *phrase* is its text."""

    type: ClassVar[str] = "response.backchannel.audio.done"

    backchannel_id: str
    phrase: str | None = None


@attrs.frozen
class BackchannelSkipped(RealtimeEvent):
    """A backchannel was not made, for a reason such as ``deadline_missed``."""

    type: ClassVar[str] = "response.backchannel.skipped"

    backchannel_id: str | None = None
    reason: str | None = None
