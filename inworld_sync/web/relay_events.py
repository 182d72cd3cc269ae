"""Turns the events of a realtime session into text messages for a page."""

from __future__ import annotations

from inworld_sync.models.realtime import (
    AudioDelta,
    ErrorReported,
    ResponseDone,
    TextDelta,
    TextDone,
    TranscriptDelta,
    TranscriptDone,
    UserTranscriptCompleted,
    UserTranscriptUpdated,
)
from inworld_sync.sessions.realtime.events import SessionEvent
from inworld_sync.web.relay_messages import word_list
from inworld_sync.web.relay_output import PageOutput

__all__ = ["PageEvents"]

# The kind of text is remembered for this many items.
_MAX_ITEMS = 1000


class PageEvents:
    """
    The text messages of one conversation.

    Args:
        output: Sends the messages.
    """

    def __init__(self, output: PageOutput) -> None:
        self._output = output
        # The kind of text of each item, by the id of the item. The service may send the same words
        # as text and as transcript. The kind that arrives first is used.
        self._kinds: dict[str, str] = {}

    def handle(self, event: SessionEvent) -> None:
        """Send the message for an event, if the page needs the event."""
        if isinstance(event, AudioDelta):
            if event.words:
                self._output.send_about(event.item_id, "words", words=word_list(event.words))
        elif isinstance(event, (TranscriptDelta, TextDelta)):
            kind = "text" if isinstance(event, TextDelta) else "transcript"
            if self._kinds.setdefault(event.item_id, kind) == kind:
                self._output.send_about(event.item_id, "text", delta=event.delta)
        elif isinstance(event, (TranscriptDone, TextDone)):
            # Some services send no deltas, only the whole text.
            if event.item_id not in self._kinds:
                text = event.text if isinstance(event, TextDone) else event.transcript
                self._kinds[event.item_id] = "whole"
                self._output.send_about(event.item_id, "text", delta=text)
        elif isinstance(event, (UserTranscriptUpdated, UserTranscriptCompleted)):
            self._output.send(
                "user",
                item_id=event.item_id,
                text=event.transcript,
                final=isinstance(event, UserTranscriptCompleted),
            )
        elif isinstance(event, ErrorReported):
            self._send_error("model_error", "The model has reported an error.")
        elif isinstance(event, ResponseDone) and event.response.status == "failed":
            self._send_error("response_failed", "The model could not answer.")
        while len(self._kinds) > _MAX_ITEMS:
            del self._kinds[next(iter(self._kinds))]

    def _send_error(self, code: str, message: str) -> None:
        self._output.send("error", code=code, message=message, fatal=False)
