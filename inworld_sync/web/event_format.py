"""
Makes server-sent events from the words and transcripts of a context, stream or session.

The HTML standard describes the format in section 9.2.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Final, TypeAlias

from inworld_sync.models.realtime import (
    TextDelta,
    TextDone,
    TranscriptDelta,
    TranscriptDone,
    UserTranscriptCompleted,
    UserTranscriptUpdated,
)
from inworld_sync.models.stt import Transcription
from inworld_sync.models.words import WordJoiner
from inworld_sync.sessions.tts.speech import AudioChunk
from inworld_sync.web.failures import Failure

__all__ = [
    "END",
    "PING",
    "RETRY",
    "EventFormat",
    "SentEvent",
    "WordFormat",
    "failed",
    "write_event",
]

# The name and the data of a server-sent event.
SentEvent: TypeAlias = "tuple[str, Mapping[str, object]]"

# A browser that loses the connection connects again after this time.
RETRY: Final = b"retry: 2000\n\n"
# A comment, which browsers ignore.
PING: Final = b": ping\n\n"
# The last event of a complete stream.
END: Final[SentEvent] = ("end", {})


def failed(failure: Failure) -> SentEvent:
    """
    Return the last event of a stream that ends early.

    The name of the event is not "error", because browsers report a lost connection as "error".
    """
    return "failed", {"error": failure.code, "message": failure.message}


def write_event(event: SentEvent, number: int | None = None) -> bytes:
    """
    Return the bytes of an event.

    Args:
        event: The name and the data.
        number: The id of the event. A browser that connects again sends the id of the last event
            that it has received, and gets the events after it. None if this is not possible.
    """
    name, data = event
    head = "" if number is None else f"id: {number}\n"
    # A line break would end the field. ``json.dumps`` writes no line break.
    return f"{head}event: {name}\ndata: {json.dumps(data)}\n\n".encode()


class WordFormat:
    """
    Makes an event for each word of an utterance.

    A word that continues in a later chunk is sent again with the same index and its whole text.
    """

    def __init__(self) -> None:
        self._joiners: defaultdict[str, WordJoiner] = defaultdict(WordJoiner)
        self._count = 0
        self._last: dict[str, object] = {}
        self._last_text = ""
        self._last_end_ms = 0.0

    def add(self, chunk: AudioChunk) -> list[SentEvent]:
        """Return the events of the words in a chunk."""
        joiner = self._joiners[chunk.context_id]
        indexes = joiner.add(chunk.tokens)
        words = list(chunk.words)
        rest = "".join(t for t, i in zip(chunk.tokens, indexes, strict=True) if i == -1)
        end_ms = self._last_end_ms
        if words and joiner.continues:
            part = words.pop(0)
            rest, end_ms = rest + part.text, max(end_ms, part.end_ms)
        events: list[SentEvent] = []
        if rest and self._count:
            start_ms = self._last["start_ms"]
            events.append(self._word(self._count - 1, self._last_text + rest, start_ms, end_ms))
        for word in words:
            events.append(self._word(self._count, word.text, round(word.start_ms), word.end_ms))
            self._count += 1
        return events

    def _word(self, index: int, text: str, start_ms: object, end_ms: float) -> SentEvent:
        self._last_text, self._last_end_ms = text, end_ms
        self._last = {"index": index, "text": text, "start_ms": start_ms, "end_ms": round(end_ms)}
        return "word", self._last


class EventFormat:
    """Makes events for words and transcripts. All other events of the source have no effect."""

    def __init__(self) -> None:
        self._words = WordFormat()
        # For each content part that is not complete, the text so far.
        self._texts: dict[tuple[str, int], str] = {}

    def add(self, event: object) -> list[SentEvent]:
        """Return the server-sent events for one event of a context, stream or session."""
        if isinstance(event, AudioChunk):
            return self._words.add(event)
        if isinstance(event, Transcription):
            words = [
                {"text": each.text, "start_ms": each.start_ms, "end_ms": each.end_ms}
                for each in event.words
            ]
            return [_transcript("user", event.text, event.is_final, words=words)]
        if isinstance(event, (UserTranscriptUpdated, UserTranscriptCompleted)):
            is_final = isinstance(event, UserTranscriptCompleted)
            return [_transcript("user", event.transcript, is_final, item_id=event.item_id)]
        if isinstance(event, (TextDelta, TranscriptDelta)):
            part = event.item_id, event.content_index
            text = self._texts[part] = self._texts.get(part, "") + event.delta
            return [_transcript("assistant", text, is_final=False, item_id=event.item_id)]
        if isinstance(event, (TextDone, TranscriptDone)):
            self._texts.pop((event.item_id, event.content_index), None)
            text = event.text if isinstance(event, TextDone) else event.transcript
            return [_transcript("assistant", text, is_final=True, item_id=event.item_id)]
        return []


def _transcript(role: str, text: str, is_final: bool, **others: object) -> SentEvent:
    return "transcript", {"role": role, "text": text, "is_final": is_final, **others}
