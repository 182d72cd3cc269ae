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
class OutputItemAdded(RealtimeEvent):
    """A response makes an item."""

    type: ClassVar[str] = "response.output_item.added"

    response_id: str
    item: Item
    output_index: int = 0


@attrs.frozen
class OutputItemDone(RealtimeEvent):
    """A response has made an item."""

    type: ClassVar[str] = "response.output_item.done"

    response_id: str
    item: Item
    output_index: int = 0


@attrs.frozen
class ContentPartAdded(RealtimeEvent):
    """A response makes a part of a message."""

    type: ClassVar[str] = "response.content_part.added"

    response_id: str
    item_id: str
    part: ContentPart
    output_index: int = 0
    content_index: int = 0


@attrs.frozen
class ContentPartDone(RealtimeEvent):
    """A response has made a part of a message."""

    type: ClassVar[str] = "response.content_part.done"

    response_id: str
    item_id: str
    part: ContentPart
    output_index: int = 0
    content_index: int = 0


@attrs.frozen
class TextDelta(RealtimeEvent):
    """A piece of a response's text, to be added to the pieces before."""

    type: ClassVar[str] = "response.output_text.delta"

    response_id: str
    item_id: str
    delta: str
    output_index: int = 0
    content_index: int = 0


@attrs.frozen
class TextDone(RealtimeEvent):
    """A response's text is whole."""

    type: ClassVar[str] = "response.output_text.done"

    response_id: str
    item_id: str
    text: str
    output_index: int = 0
    content_index: int = 0


@attrs.frozen
class AudioDelta(RealtimeEvent):
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

    response_id: str
    item_id: str
    audio: bytes = attrs.field(repr=False)
    output_index: int = 0
    content_index: int = 0


@attrs.frozen
class AudioDone(RealtimeEvent):
    """A response's speech is whole."""

    type: ClassVar[str] = "response.output_audio.done"

    response_id: str
    item_id: str
    output_index: int = 0
    content_index: int = 0


@attrs.frozen
class TranscriptDelta(RealtimeEvent):
    """A piece of what a response says aloud, to be added to the pieces before."""

    type: ClassVar[str] = "response.output_audio_transcript.delta"

    response_id: str
    item_id: str
    delta: str
    output_index: int = 0
    content_index: int = 0


@attrs.frozen
class TranscriptDone(RealtimeEvent):
    """All that a response says aloud."""

    type: ClassVar[str] = "response.output_audio_transcript.done"

    response_id: str
    item_id: str
    transcript: str
    output_index: int = 0
    content_index: int = 0


@attrs.frozen
class FunctionArgumentsDelta(RealtimeEvent):
    """A piece of a call's arguments."""

    type: ClassVar[str] = "response.function_call_arguments.delta"

    response_id: str
    item_id: str
    delta: str
    output_index: int = 0
    call_id: str | None = None


@attrs.frozen
class FunctionArgumentsDone(RealtimeEvent):
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

    response_id: str
    item_id: str
    arguments: str = ""
    output_index: int = 0
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
class McpArgumentsDelta(RealtimeEvent):
    """A piece of the arguments of a call to a server of tools."""

    type: ClassVar[str] = "response.mcp_call_arguments.delta"

    response_id: str
    item_id: str
    delta: str
    output_index: int = 0


@attrs.frozen
class McpArgumentsDone(RealtimeEvent):
    """The arguments of a call to a server of tools are whole."""

    type: ClassVar[str] = "response.mcp_call_arguments.done"

    response_id: str
    item_id: str
    arguments: str = ""
    output_index: int = 0


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
        audio: Whole samples of 16-bit little-endian mono PCM at 24000 Hz, whatever the session's
            format is.
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
