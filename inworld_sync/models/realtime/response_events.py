"""
Defines the events about responses: their items, text and speech, and calls of tools.

All events have the ids of their response and item, because two responses may overlap.
Sources: Inworld Realtime reference, server events; logs of clients; OpenAI Realtime reference for
MCP events.
"""

from __future__ import annotations

from typing import ClassVar

import attrs

from inworld_sync.models.realtime.base import RealtimeEvent
from inworld_sync.models.realtime.items import ContentPart, Item
from inworld_sync.models.realtime.responses import ResponseInfo
from inworld_sync.models.tts import CharacterTime, Phoneme, WordTime

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
        response_id: The id of the response.
        output_index: The item's place in the response.
    """

    response_id: str
    output_index: int = attrs.field(default=0, kw_only=True)


@attrs.frozen
class _ItemEvent(_OutputEvent):
    """An event about the item *item_id* of a response."""

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
    """A response has ended. Its status shows how it ended."""

    type: ClassVar[str] = "response.done"

    response: ResponseInfo


@attrs.frozen
class OutputItemAdded(_OutputEvent):
    """A response has begun an item."""

    type: ClassVar[str] = "response.output_item.added"

    item: Item


@attrs.frozen
class OutputItemDone(_OutputEvent):
    """An item of a response is complete."""

    type: ClassVar[str] = "response.output_item.done"

    item: Item


@attrs.frozen
class ContentPartAdded(_PartEvent):
    """A response has begun a part of a message."""

    type: ClassVar[str] = "response.content_part.added"

    part: ContentPart


@attrs.frozen
class ContentPartDone(_PartEvent):
    """A part of a message of a response is complete."""

    type: ClassVar[str] = "response.content_part.done"

    part: ContentPart


@attrs.frozen
class TextDelta(_PartEvent):
    """The next piece of a response's text."""

    type: ClassVar[str] = "response.output_text.delta"

    delta: str


@attrs.frozen
class TextDone(_PartEvent):
    """The text of a response's part is complete. *text* is the whole text."""

    type: ClassVar[str] = "response.output_text.done"

    text: str


@attrs.frozen
class AudioDelta(_PartEvent):
    """
    The next piece of a response's audio.

    Attributes:
        response_id: The id of the response.
        item_id: The id of the item.
        audio: Whole samples in the session's output format; empty if the message has only times.
        output_index: The item's place in the response.
        content_index: The part's place in the item.
        words: The words with their punctuation and times, in milliseconds from the start of the
            item's audio. The service sends the words if ``timestamp_type`` of :class:`TtsTuning` is
            set.
        characters: The characters with their times.
        phonemes: The phonemes with their times and visemes; ``word_index`` is an index into
            *words*.
        tokens: Words, punctuation and white space as the service sent them.
    """

    type: ClassVar[str] = "response.output_audio.delta"

    audio: bytes = attrs.field(repr=False)
    words: tuple[WordTime, ...] = attrs.field(default=(), kw_only=True)
    characters: tuple[CharacterTime, ...] = attrs.field(default=(), kw_only=True)
    phonemes: tuple[Phoneme, ...] = attrs.field(default=(), kw_only=True)
    tokens: tuple[str, ...] = attrs.field(default=(), kw_only=True)


@attrs.frozen
class AudioDone(_PartEvent):
    """The audio of a response's part is complete."""

    type: ClassVar[str] = "response.output_audio.done"


@attrs.frozen
class TranscriptDelta(_PartEvent):
    """The next piece of the transcript of a response's speech."""

    type: ClassVar[str] = "response.output_audio_transcript.delta"

    delta: str


@attrs.frozen
class TranscriptDone(_PartEvent):
    """The whole transcript of the speech in a response's part."""

    type: ClassVar[str] = "response.output_audio_transcript.done"

    transcript: str


@attrs.frozen
class FunctionArgumentsDelta(_ItemEvent):
    """The next piece of a function call's arguments."""

    type: ClassVar[str] = "response.function_call_arguments.delta"

    delta: str
    call_id: str | None = None


@attrs.frozen
class FunctionArgumentsDone(_ItemEvent):
    """
    The arguments of a function call are complete.

    Attributes:
        response_id: The id of the response.
        item_id: The call's item, which has the name and the call id if *name* and *call_id* are
            None here.
        arguments: A JSON object as text; ``""`` means no arguments.
        output_index: The item's place in the response.
        call_id: The id of the call. The output of the call must have the same id.
        name: The function's name.
    """

    type: ClassVar[str] = "response.function_call_arguments.done"

    arguments: str = ""
    call_id: str | None = None
    name: str | None = None


@attrs.frozen
class McpListStarted(RealtimeEvent):
    """The service requests the list of tools from an MCP server."""

    type: ClassVar[str] = "mcp_list_tools.in_progress"

    item_id: str | None = None


@attrs.frozen
class McpListCompleted(RealtimeEvent):
    """The service has got the list of an MCP server's tools. The list is in the item."""

    type: ClassVar[str] = "mcp_list_tools.completed"

    item_id: str | None = None


@attrs.frozen
class McpListFailed(RealtimeEvent):
    """The service could not get the list of tools from an MCP server."""

    type: ClassVar[str] = "mcp_list_tools.failed"

    item_id: str | None = None


@attrs.frozen
class McpArgumentsDelta(_ItemEvent):
    """The next piece of the arguments of an MCP call."""

    type: ClassVar[str] = "response.mcp_call_arguments.delta"

    delta: str


@attrs.frozen
class McpArgumentsDone(_ItemEvent):
    """The arguments of an MCP call are complete."""

    type: ClassVar[str] = "response.mcp_call_arguments.done"

    arguments: str = ""


@attrs.frozen
class McpCallStarted(RealtimeEvent):
    """The service calls a tool of an MCP server."""

    type: ClassVar[str] = "response.mcp_call.in_progress"

    item_id: str | None = None
    output_index: int = 0


@attrs.frozen
class McpCallCompleted(RealtimeEvent):
    """An MCP call is complete; the item has its output."""

    type: ClassVar[str] = "response.mcp_call.completed"

    item_id: str | None = None
    output_index: int = 0


@attrs.frozen
class McpCallFailed(RealtimeEvent):
    """An MCP call failed; the item has the error."""

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
    """The service has dropped the audio in its output buffer."""

    type: ClassVar[str] = "output_audio_buffer.cleared"

    response_id: str | None = None


@attrs.frozen
class BackchannelDelta(RealtimeEvent):
    """
    A piece of a backchannel, a sound of listening such as "uh-huh". Backchannels do not interrupt
    speech.

    Attributes:
        backchannel_id: The backchannel to which the piece belongs.
        audio: Whole samples of 16-bit little-endian mono PCM. The rate is always 24000 Hz, even if
            the session has another format.
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
