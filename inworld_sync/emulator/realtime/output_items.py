"""
Writes the items of one response, which are a spoken or written message and calls of tools.

Source for the order of events: Inworld Realtime reference, the lifecycle of a response.
"""

from __future__ import annotations

import re
import threading
import time
from typing import Protocol

from inworld_sync.emulator.realtime.audio_path import AudioPath
from inworld_sync.emulator.realtime.conversation import Conversation, Item, SpokenText, new_item
from inworld_sync.emulator.realtime.events import EventSender, new_id
from inworld_sync.emulator.realtime.mcp_client import McpFailed, McpServer
from inworld_sync.emulator.realtime.mcp_tools import McpTools
from inworld_sync.emulator.realtime.replies import ToolCall
from inworld_sync.emulator.realtime.response_options import ResponseOptions
from inworld_sync.emulator.realtime.settings import RealtimeSettings
from inworld_sync.emulator.shared_state import SharedState
from inworld_sync.emulator.tts.speech import AudioPiece, speak
from inworld_sync.emulator.tts.timestamps import snake_case, timestamp_info

__all__ = [
    "Cancelled",
    "MessageWriter",
    "ResponseOutput",
    "ResponseView",
    "write_call",
    "write_mcp_call",
]

_SENTENCE_END = re.compile(r"[.!?…。！？]+[\"'”’)\]]*(?=\s)")
# The arguments of a call are sent in pieces of this many characters.
_ARGUMENT_PIECE = 12


class Cancelled(Exception):
    """The response was cancelled, or its connection has ended."""


class ResponseView(Protocol):
    """The parts of a session that its responses use."""

    shared: SharedState
    events: EventSender
    conversation: Conversation
    settings: RealtimeSettings
    audio: AudioPath
    mcp: McpTools


class ResponseOutput:
    """
    Sends the events of one response and collects its items.

    Attributes:
        items: The finished items, in order.
        spoken_seconds: Seconds of audio that were sent.
        cancelled: An event that is set when the response is cancelled.
    """

    def __init__(self, session: ResponseView, response_id: str, options: ResponseOptions) -> None:
        self.session = session
        self.response_id = response_id
        self.options = options
        self.items: list[Item] = []
        self.spoken_seconds = 0.0
        self.cancelled = threading.Event()
        self._count = 0
        self._speaking_since: float | None = None

    def open(self, item: Item, *, hides_previous: bool = False) -> int:
        """Send the event about a new item, and return the index of the item."""
        index, self._count = self._count, self._count + 1
        self.send("response.output_item.added", output_index=index, item=item)
        if self.options.in_conversation:
            self.session.conversation.add(item, hides_previous=hides_previous)
        return index

    def close(self, index: int, item: Item) -> None:
        """Send the event about an item that is done."""
        self.items.append(item)
        if self.options.in_conversation:
            self.session.conversation.finish(item)
        self.send("response.output_item.done", output_index=index, item=item)

    def send(self, kind: str, **fields: object) -> None:
        """Send an event of this response."""
        self.session.events.send(kind, response_id=self.response_id, **fields)

    def check(self) -> None:
        """Raise Cancelled if the response was cancelled."""
        if self.cancelled.is_set():
            raise Cancelled

    def keep_pace(self, seconds: float) -> None:
        """Count audio that was sent, and wait as ``Settings.pace`` requires."""
        now = time.monotonic()
        if self._speaking_since is None:
            self._speaking_since = now
        self.spoken_seconds += seconds
        pace = self.session.shared.settings.pace
        if pace:
            due = self._speaking_since + self.spoken_seconds / pace
            self.cancelled.wait(max(0.0, due - now))


class MessageWriter:
    """
    Writes or speaks one message of the assistant as its text is generated.

    Text is sent at once. Audio follows sentence by sentence.
    """

    def __init__(self, output: ResponseOutput) -> None:
        self._output = output
        self._settings = output.session.settings
        self._speaks = output.options.speaks
        self._text = ""
        self._spoken_characters = 0
        self._words: list[tuple[int, float]] = []
        self._seconds = 0.0
        self._item = new_item("message", status="in_progress", role="assistant", content=[])
        index = self._index = output.open(self._item)
        self._place = {"item_id": self._item["id"], "output_index": index, "content_index": 0}
        self._send("response.content_part.added", part=self._part())
        if self._speaks:
            output.session.audio.begin(output.response_id)

    def write(self, text: str) -> None:
        """Add text; raise Cancelled if the response was cancelled."""
        self._output.check()
        self._text += text
        if not self._speaks or self._settings.text_beside_transcript:
            self._send("response.output_text.delta", delta=text)
        if not self._speaks:
            return
        self._send("response.output_audio_transcript.delta", delta=text)
        unspoken = self._text[self._spoken_characters :]
        ends = [match.end() for match in _SENTENCE_END.finditer(unspoken)]
        if ends:
            self._speak(unspoken[: ends[-1]])

    def finish(self, status: str = "completed") -> None:
        """Speak the rest and end the message; raise Cancelled if the response was cancelled."""
        if self._speaks:
            self._speak(self._text[self._spoken_characters :])
        self.close(status)

    def close(self, status: str) -> None:
        """End the message without speaking the rest."""
        if self._speaks:
            self._send("response.output_audio.done")
            self._send("response.output_audio_transcript.done", transcript=self._text)
        if not self._speaks or self._settings.text_beside_transcript:
            self._send("response.output_text.done", text=self._text)
        if self._speaks:
            self._output.session.audio.end(self._output.response_id)
        self._send("response.content_part.done", part=self._part())
        part = self._part()
        if self._settings.openai_part_names:
            part["type"] = f"output_{part['type']}"
        item = {**self._item, "status": status, "content": [part]}
        self._output.close(self._index, item)

    def _speak(self, text: str) -> None:
        start_char = self._spoken_characters
        self._spoken_characters += len(text)
        options, began = self._output.options, self._seconds
        session = self._output.session
        if not options.audio_format.is_known:
            return
        place = {"response_id": self._output.response_id, **self._place}
        for piece in speak(text, options.voice, session.shared):
            self._output.check()
            audio = options.audio_format.from_speech(piece.audio)
            times = self._times(piece)
            self._words += [
                (start_char + word.end_char, began + word.start) for word in piece.words
            ]
            self._seconds += piece.duration
            # The words are remembered before the audio is sent, because the client may truncate
            # the reply as soon as it has the audio.
            spoken = SpokenText(tuple(self._words), self._seconds)
            session.conversation.remember_speech(str(self._item["id"]), spoken)
            session.audio.send(place, audio, times, self._output.cancelled)
            self._output.keep_pace(piece.duration)

    def _times(self, piece: AudioPiece) -> dict[str, object]:
        """Return the times of an audio delta, if the session has requested them."""
        settings = self._output.session.shared.settings
        info = timestamp_info(
            piece.words,
            self._output.options.timestamp_type,
            spaces=settings.spaces_in_words,
            tokens=settings.word_tokens,
        )
        if info is None:
            return {}
        if self._settings.camel_case_times:
            return {"timestampInfo": info}
        return {"timestamp_info": snake_case(info)}

    def _part(self) -> dict[str, object]:
        if self._speaks:
            return {"type": "audio", "transcript": self._text}
        return {"type": "text", "text": self._text}

    def _send(self, kind: str, **fields: object) -> None:
        self._output.send(kind, **self._place, **fields)


def write_call(output: ResponseOutput, call: ToolCall) -> None:
    """Send a function call; raise Cancelled if the response was cancelled."""
    output.check()
    settings = output.session.settings
    arguments = call.arguments
    if settings.empty_arguments and arguments.replace(" ", "") == "{}":
        arguments = ""
    item = new_item(
        "function_call", status="in_progress", call_id=new_id("call"), name=call.name, arguments=""
    )
    index = output.open(item, hides_previous=not settings.calls_have_previous)
    place = {"item_id": item["id"], "output_index": index}
    if settings.identified_calls:
        place["call_id"] = item["call_id"]
    _send_arguments(output, "response.function_call_arguments.delta", place, arguments)
    named = {"name": call.name} if settings.named_calls else {}
    output.send("response.function_call_arguments.done", **place, arguments=arguments, **named)
    output.close(index, {**item, "status": "completed", "arguments": arguments})


def write_mcp_call(
    output: ResponseOutput, server: McpServer, call: ToolCall, approved: str | None = None
) -> bool:
    """
    Call a tool of an MCP server, or request the client's approval for the call.

    Args:
        output: The response.
        server: The server with the tool.
        call: The call.
        approved: The approval request that the client approved, or None.

    Returns:
        Whether the tool was called.

    Raises:
        Cancelled: The response was cancelled.
    """
    output.check()
    named: Item = {"server_label": server.label, "name": call.name, "arguments": call.arguments}
    if approved is None and server.needs_approval(call.name):
        request_id = output.session.mcp.ask_approval(call)
        asked: Item = {"id": request_id, "object": "realtime.item", "type": "mcp_approval_request"}
        output.close(output.open({**asked, **named}), {**asked, **named})
        return False
    item = new_item("mcp_call", "mcp", **named)
    item.update(approval_request_id=approved, output=None, error=None)
    index = output.open({**item, "arguments": ""})
    place = {"item_id": item["id"], "output_index": index}
    _send_arguments(output, "response.mcp_call_arguments.delta", place, call.arguments)
    output.send("response.mcp_call_arguments.done", **place, arguments=call.arguments)
    output.session.events.send("response.mcp_call.in_progress", **place)
    try:
        item["output"] = server.call(call)
        output.session.events.send("response.mcp_call.completed", **place)
    except McpFailed as error:
        item["error"] = error.error
        output.session.events.send("response.mcp_call.failed", **place)
    output.close(index, item)
    return True


def _send_arguments(
    output: ResponseOutput, kind: str, place: dict[str, object], arguments: str
) -> None:
    for at in range(0, len(arguments), _ARGUMENT_PIECE):
        output.send(kind, **place, delta=arguments[at : at + _ARGUMENT_PIECE])
