"""
The protocol of reply makers, which make a reply from a conversation.

A reply maker is any callable with this signature. ``rules`` has the built-in one, and ``chat`` has
one for OpenAI-compatible endpoints.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeAlias

import attrs

__all__ = ["ReplyMaker", "ReplyPart", "ReplyRequest", "ToolCall", "text_of"]


@attrs.frozen
class ToolCall:
    """
    A tool call.

    Attributes:
        name: The name of a tool of the request.
        arguments: A JSON object as text.
    """

    name: str
    arguments: str = "{}"


ReplyPart: TypeAlias = "str | ToolCall"


@attrs.frozen(kw_only=True)
class ReplyRequest:
    """
    The conversation and the settings for a reply.

    Attributes:
        items: The conversation, oldest first, in the service's JSON; speech is transcribed.
        instructions: The instructions of the session or the response.
        tools: The tools that may be called, in the service's JSON.
        tool_choice: ``auto``, ``none``, ``required``, or the name of a tool.
        model: The model, as the client wrote it.
        temperature: The temperature; None for the default of the reply maker.
        max_output_tokens: The maximum, or None for no limit; a longer reply is cut.
        cancelled: Set when the reply is interrupted; a reply maker that waits should check it.
    """

    items: Sequence[Mapping[str, object]]
    instructions: str = ""
    tools: Sequence[Mapping[str, object]] = ()
    tool_choice: str = "auto"
    model: str = ""
    temperature: float | None = None
    max_output_tokens: int | None = None
    cancelled: threading.Event = attrs.field(factory=threading.Event, eq=False, repr=False)


class ReplyMaker(Protocol):
    """
    A callable that makes replies.

    It yields text in pieces of any length, and tool calls. When the reply is interrupted, the
    iteration stops. If it raises an exception, the response fails.

    Thread safety: it is called from several threads at once.
    """

    def __call__(self, request: ReplyRequest) -> Iterable[ReplyPart]:
        """Reply to the last item."""
        ...


def text_of(item: Mapping[str, object]) -> str:
    """Return the text of a message, written or spoken."""
    content = item.get("content")
    parts = content if isinstance(content, list) else []
    found = [part.get("text") or part.get("transcript") for part in parts if isinstance(part, dict)]
    return " ".join(str(text) for text in found if text)
