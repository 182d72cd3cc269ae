"""If speech was truncated, a new session gets only the text that the user has heard."""

from __future__ import annotations

import pytest

from inworld_sync.models.realtime import ConversationEntry, Message, OutputAudio, OutputText
from inworld_sync.wire.realtime.replay import replay_of

# (transcript, heard share, text for the new session)
CUT = [
    ("One two three four", 0.5, "One two"),
    ("One two three four", 0.05, None),
    ("One two three four", 1.0, "One two three four"),
    ("今天天气很好，我们去公园吧。", 0.5, "今天天气很好，"),
    ("วันนี้อากาศดี", 0.4, "วัน"),
    ("नमस्ते दुनिया आप कैसे हैं", 0.5, "नमस्ते"),
]  # fmt: skip


@pytest.mark.parametrize(("transcript", "share", "text"), CUT)
def test_heard_text(transcript: str, share: float, text: str | None) -> None:
    """The text ends between two words, or between two characters in scripts without spaces."""
    item = Message(role="assistant", content=(OutputAudio(transcript=transcript),), id="a1")
    replay = replay_of([ConversationEntry(item)], [], {"a1": share})

    sent = [command.item for command in replay.commands]
    assert sent == (
        [Message(role="assistant", content=(OutputText(text),), id="a1")] if text else []
    )
